"""Orders for credits: written first, then told to Stripe, which answers with the page where the buyer pays.

An order is committed before Stripe hears of it. Stripe is asked with a key of the order's own, so a call that was cut off
anywhere, by whatever, is made again and finds what it made: one order has one Checkout session. Nothing is locked while
Stripe takes its time; who comes with the same key meanwhile waits for the answer that the first is getting.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import transaction

from billing.errors import DecisionRefused, InvalidRequest, StripeRefused, StripeUnavailable
from billing.models import Customer, Environment, TopUp, TopUpChannel, TopUpStatus
from billing.services import packs, saved_cards, stripe_gateway, topup_events, topups
from billing.services.charging import KeyTaken
from billing.services.idempotency import Call, claim, find_effect
from billing.services.packs import Purchase
from billing.services.stripe_gateway import Gateway
from config.base.database import retrying

# How long a repeated call waits for the first one's answer. Stripe itself is given longer; then it is asked again, with the
# same key.
_PATIENCE: Final = timedelta(seconds=8)
_LOOK_EVERY: Final = 0.05


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: a pack, with a currency or in its usual one, or an amount in a currency."""

    pack: str = ""
    amount: Decimal | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Ordered:
    """An order whose link can be used; `replayed` when it had been answered with before."""

    topup: TopUp
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """Who orders what, and where the buyer goes afterwards."""

    customer: Customer
    wanted: Wanted
    channel: TopUpChannel
    actor: str
    success_url: str
    cancel_url: str = ""
    reason: str = ""
    request_id: str = ""


def order(order: Order, *, now: datetime, call: Call | None = None) -> Ordered:
    """Order credits and return the order with its link. `call` makes it repeatable: the same call goes on with the same order.

    Raises InvalidRequest (amount, currency, customer), UnknownPack, PackNotOnSale, IdempotencyMismatch, StripeNotSetUp,
    StripeUnavailable (send the same call again), StripeRefused.
    """
    saved_cards.prepare(customer=order.customer, now=now)
    topup, is_new = _placed_once(order, call, now)
    if not is_new:
        topup = _answered(topup, now)
    if topup.checkout_session:
        return Ordered(topup, replayed=not is_new)
    if topup.status == TopUpStatus.FAILED:
        raise StripeRefused(f"{topup.failure} This order has ended: order anew, with another idempotency key.")
    return Ordered(tell_stripe(topup, desk=stripe_gateway.gateway(), now=now))


def place(order: Order, purchase: Purchase, *, is_live: bool, now: datetime) -> TopUp:
    """Write an order. Inside the caller's transaction; nobody has told Stripe of it yet. Raises InvalidRequest (customer)."""
    customer = order.customer
    if is_live and customer.environment != Environment.PRODUCTION:
        raise InvalidRequest("customer", f"is of {customer.environment}: with Stripe's live key only customers of production buy")
    return TopUp.objects.create(
        wallet=customer.wallet,
        project_id=customer.project_id,
        environment=customer.environment,
        channel=order.channel,
        pack=purchase.pack,
        title=purchase.title,
        credits=purchase.credits,
        bonus_credits=purchase.bonus_credits,
        expires_after_days=purchase.expires_after_days,
        bonus_expires_after_days=purchase.bonus_expires_after_days,
        amount_minor=purchase.amount_minor,
        currency=purchase.currency,
        book_value=purchase.book_value,
        success_url=order.success_url,
        cancel_url=order.cancel_url,
        is_live=is_live,
        saves_card_for=saved_cards.wanted_for(customer, is_live=is_live),
        actor=order.actor,
        reason=order.reason,
        request_id=order.request_id,
        created_at=now,
        changed_at=now,
    )


def tell_stripe(topup: TopUp, *, desk: Gateway, now: datetime) -> TopUp:
    """Have Stripe make the order's page, or find the one that it made before; keep its answer.

    Raises StripeUnavailable, and StripeRefused, which ends the order.
    """
    if topup.is_live != desk.is_live:
        why = other_mode(topup)
        topups.fail(topup_id=topup.pk, why=why, now=now)
        raise StripeRefused(why)
    try:
        session = desk.create_checkout_session(_session_for(topup), key=stripe_key(topup))
    except StripeRefused as refusal:
        topups.fail(topup_id=topup.pk, why=refusal.detail, now=now)
        raise
    except StripeUnavailable:
        # Whoever waits for this answer need not wait any longer.
        TopUp.objects.filter(pk=topup.pk, changed_at=topup.created_at).update(changed_at=now + timedelta(microseconds=1))
        raise
    return topups.opened(topup_id=topup.pk, session=session, now=now)


def cancel(*, topup_id: int, reason: str, actor: str, now: datetime) -> TopUp:
    """End an order that nobody has paid, at Stripe first: its old link can then not be paid any more.

    Raises DecisionRefused (it is paid, under way or over), StripeUnavailable, StripeRefused, StripeNotSetUp: nothing has changed.
    """
    topup = TopUp.objects.get(pk=topup_id)
    if topup.status != TopUpStatus.OPEN or not topup.checkout_session:
        raise DecisionRefused(f"Only an order that waits for payment can be cancelled. This one: {topup.get_status_display().lower()}.")
    desk = stripe_gateway.gateway()
    try:
        desk.expire_checkout_session(topup.checkout_session)
    except StripeRefused:  # somebody was faster: the buyer, another person, or the clock
        topup_events.look_at_session(topup, desk.retrieve_checkout_session(topup.checkout_session), now)
    is_cancelled = topups.cancel(topup_id=topup.pk, actor=actor, reason=reason, now=now)
    topup.refresh_from_db()
    if not is_cancelled:
        state = topup.get_status_display().lower()
        raise DecisionRefused(f"It cannot be cancelled any more. It is now: {state}. {topup.failure}".strip())
    return topup


def other_mode(topup: TopUp) -> str:
    """Say why an order ends that was made with a key of the other mode."""
    before, after = ("real money", "test mode") if topup.is_live else ("test mode", "real money")
    return f"Stripe's key has changed from {before} to {after} since it was ordered, so that Stripe cannot be asked about it."


def stripe_key(topup: TopUp) -> str:
    """Return the key under which Stripe is told of an order. With its time, since another desk may count on the same account."""
    return f"topup-{topup.pk}-{topup.created_at:%Y%m%dT%H%M%S%f}"


def _placed_once(order: Order, call: Call | None, now: datetime) -> tuple[TopUp, bool]:
    """Return the order of this call, and whether it is new."""

    def work() -> tuple[TopUp, bool]:
        with transaction.atomic():
            if call and (effect := find_effect(call)):
                return TopUp.objects.get(pk=effect.effect_id), False
            purchase = _purchase(order.wanted, now)
            topup = place(order, purchase, is_live=stripe_gateway.gateway().is_live, now=now)
            if call:
                claim(call, effect_id=topup.pk, occurred_at=now)
            return topup, True

    return retrying(work, also=(KeyTaken,))


def _purchase(wanted: Wanted, now: datetime) -> Purchase:
    if wanted.pack:
        if wanted.amount is not None:
            raise InvalidRequest("amount", "and pack cannot be given together")
        return packs.of_pack(key=wanted.pack, currency=wanted.currency, now=now)
    if wanted.amount is None:
        raise InvalidRequest("pack", "is required, or amount and currency")
    if not wanted.currency:
        raise InvalidRequest("currency", "is required with amount")
    return packs.of_amount(amount=wanted.amount, currency=wanted.currency)


def _answered(topup: TopUp, now: datetime) -> TopUp:
    """Wait for the answer that another caller is just getting from Stripe, if there is one; return the order as it is then."""
    until = time.monotonic() + (topup.created_at + _PATIENCE - now).total_seconds()
    while topup.status == TopUpStatus.NEW and topup.changed_at == topup.created_at and time.monotonic() < until:
        time.sleep(_LOOK_EVERY)
        topup.refresh_from_db()
    return topup


def _session_for(topup: TopUp) -> dict[str, Any]:
    """Return what Stripe is asked for. Made of what never changes about an order: a repeated call must be the same call."""
    product = {"name": topup.title, "description": packs.described(topup.credits, topup.bonus_credits)}
    price = {"currency": topup.currency.lower(), "unit_amount": topup.amount_minor, "product_data": product}
    metadata = topups.metadata_of(topup)
    params: dict[str, Any] = {
        "mode": "payment",
        "client_reference_id": str(topup.pk),
        "metadata": metadata,
        "payment_intent_data": {"metadata": metadata, "description": f"topup_{topup.pk}: {topup.title}"},
        "line_items": [{"quantity": 1, "price_data": price}],
        # Buyers pay what was ordered, in its currency: anything else would not match the order.
        "adaptive_pricing": {"enabled": False},
        "success_url": topup.success_url,
    }
    if topup.saves_card_for:
        params["customer"] = topup.saves_card_for
        params["payment_intent_data"]["setup_future_usage"] = "off_session"
    return params | ({"cancel_url": topup.cancel_url} if topup.cancel_url else {})
