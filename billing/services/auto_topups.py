"""Auto top-up at work: orders for wallets that fell below their mark, paid with the saved card, once for one need.

**One order at a time.** The order is written with the row of the auto top-up locked, after the caps were counted, and the
row names it until its end has been looked at. A unique constraint holds that no wallet has two.

**Then Stripe is asked**, with nothing locked and the order's own key. What is asked never changes: who is charged, with
what and how much was kept with the order. So a call that was cut off anywhere, by whatever, is made again and finds what it
did. How an order ends is told by the answer, by an event, or by the sweeper, all through `topups`; here its end is
looked at, from the order alone, and a worker that was killed before has lost nothing.

**The key may change** between test mode and real money while an order is under way. Stripe then knows nothing of the order,
so it ends here, with that reason; money that it took after all is deposited as soon as the old key hears of it.

**It stops by itself**: after declines in a row, when a card will not work again, when money went back. Never silently.
"""

import logging
import time
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import F, Q, QuerySet

from billing import auto_charges, minor_units
from billing.errors import StripeNotSetUp, StripeRefused, StripeUnavailable
from billing.models import (
    AutoTopUp,
    AutoTopUpState,
    BillingNoticeKind,
    EventState,
    EventSweep,
    StripeCustomer,
    StripeEvent,
    TopUp,
    TopUpChannel,
    TopUpStatus,
)
from billing.models.fields import save_with_reason
from billing.queries import auto_topups as queries
from billing.services import auto_topup_ends, auto_topup_terms, notices, stripe_gateway, topup_events, topup_orders, topups
from billing.services.auto_topup_ends import Refusal
from billing.services.packs import Purchase
from billing.services.stripe_gateway import Gateway
from billing.services.topup_orders import Order, Wanted
from billing.services.topup_sweeping import LAST_CALL
from billing.services.topups import Facts
from config.base.database import retrying
from config.base.errors import DomainError
from config.base.exact import plain
from pricing.queries import workspace

log = logging.getLogger(__name__)

ACTOR: Final = "system:auto-topup"
# Longer than one call to Stripe may take.
ASK_AGAIN: Final = timedelta(minutes=1)
# Stripe lists an event a little after it happened; what was asked for that much later is complete.
_ALL_HEARD: Final = timedelta(hours=1)
_AT_ONCE: Final = 500
_LONGEST_RUN: Final = 45
# A Stripe that does not answer is left alone until the next run; one order that it cannot answer does not stop the others.
_MOST_UNANSWERED: Final = 3


class _Run:
    """One run: the key that it calls with, the time, and how often Stripe has not answered."""

    def __init__(self, desk: Gateway, now: datetime) -> None:
        self.desk = desk
        self._began = time.monotonic()
        self._now = now
        self.unanswered = 0

    @property
    def now(self) -> datetime:
        return self._now + timedelta(seconds=time.monotonic() - self._began)

    @property
    def is_over(self) -> bool:
        return self.unanswered >= _MOST_UNANSWERED or time.monotonic() - self._began > _LONGEST_RUN


def run_due(*, now: datetime) -> int:
    """Look at what was ordered, and top up what is below its mark; return how many orders were made.

    Safe beside itself any number of times, and through a kill at any moment.
    """
    try:
        run = _Run(stripe_gateway.gateway(), now)
    except StripeNotSetUp:
        return 0
    for auto in list(ordering().order_by("order__changed_at")[:_AT_ONCE]):
        if run.is_over:
            return 0
        _safely(auto.pk, run, _follow)
    made = 0
    # In no order: whatever it is that holds one of them up must not hold up the same others each time.
    for pk in list(due(now=now).order_by("?").values_list("pk", flat=True)[:_AT_ONCE]):
        if run.is_over:
            break
        made += _safely(pk, run, _top_up)
    return made


def due(*, now: datetime) -> "QuerySet[AutoTopUp]":
    """Return what is to be topped up now, as far as one statement can tell: caps and what stops it are looked at one by one."""
    return queries.free_to_charge().filter(
        Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=now),
        order__isnull=True,
        threshold__gt=F("wallet__balance") - F("wallet__held"),
    )


def ordering() -> "QuerySet[AutoTopUp]":
    """Return those whose order has not been looked at since it ended, or has not ended."""
    return AutoTopUp.objects.filter(order__isnull=False).select_related("order")


def _safely(pk: int, run: _Run, step: Any) -> bool:
    """Take a step of one auto top-up; whatever goes wrong, the others go on."""
    try:
        return bool(step(pk, run))
    except (StripeUnavailable, StripeNotSetUp) as error:
        run.unanswered += 1
        log.warning("Stripe did not answer about auto top-up %s; the next run asks again: %s", pk, error)
    except Exception:
        log.exception("auto top-up %s failed; the next run tries again", pk)
    return False


def _top_up(pk: int, run: _Run) -> bool:
    """Order, and charge. Raises StripeUnavailable, StripeNotSetUp."""
    now = run.now
    if not retrying(lambda: _place(pk, is_live=run.desk.is_live, now=now)):
        return False
    _charge(pk, run)
    return True


@transaction.atomic
def _place(pk: int, *, is_live: bool, now: datetime) -> bool:
    """Write the order, if it is still needed and within the caps; or say why not. Nobody has told Stripe of it yet."""
    # Whoever else orders for this wallet, changes its terms or looks at its last order has this row.
    auto = AutoTopUp.objects.select_for_update(skip_locked=True, of=("self",)).select_related("pack").filter(pk=pk).first()
    if auto is None or not due(now=now).filter(pk=pk).exists():  # asked again now that the row is ours
        return False
    account = StripeCustomer.objects.filter(customer__wallet=auto.wallet_id).first()
    if why := _against(auto, account, is_live=is_live):
        auto_topup_terms.stop(auto, why=why, now=now)
        return False
    assert account is not None
    try:
        bought = auto_topup_terms.purchase_of(auto, now=now)
        if _is_capped(auto, bought, now):
            return False
        # With a savepoint: what the order refuses must not undo that it stops.
        with transaction.atomic():
            topup = topup_orders.place(_order(auto), bought, is_live=is_live, now=now)
    except DomainError as refusal:
        auto_topup_terms.stop(auto, why=refusal.detail, now=now)
        return False
    # Not through the history, which tells what people and declines changed.
    ours = AutoTopUp.objects.filter(pk=pk)
    ours.update(order=topup, order_customer=account.stripe_id, order_method=account.payment_method)
    if auto.state == AutoTopUpState.ACTIVE:
        ours.update(why="", next_attempt_at=None)
    return True


def _order(auto: AutoTopUp) -> Order:
    reason = f"Fewer than {plain(auto.threshold)} credits were available"
    return Order(auto.wallet.customer, Wanted(), TopUpChannel.AUTO, ACTOR, success_url="", reason=reason)


def _against(auto: AutoTopUp, account: StripeCustomer | None, *, is_live: bool) -> str:
    """Say what happened that a person must look at before the card is charged again; empty if nothing."""
    if account is None or not account.payment_method:
        return "There is no saved card. Have one saved."
    if account.is_live != is_live:
        return "The card was saved while Stripe's key was of another mode, test or live. Have one saved anew."
    return queries.money_that_left(auto)


def _is_capped(auto: AutoTopUp, bought: Purchase, now: datetime) -> bool:
    """Put the next attempt off to when the caps allow it, if they do not now. A price above a cap never fits: it stops."""
    zone = ZoneInfo(workspace.load().time_zone)
    caps = (
        ("month", auto_charges.month_of(now, zone), auto.month_cap_minor),
        ("day", auto_charges.day_of(now, zone), auto.day_cap_minor),
    )
    for name, period, cap in caps:
        if bought.amount_minor > cap:
            price, at_most = (plain(minor_units.to_major(minor, auto.currency)) for minor in (bought.amount_minor, cap))
            why = f"One top-up costs {price} {auto.currency} by now, more than the cap of {at_most} {auto.currency} a {name}."
            auto_topup_terms.stop(auto, why=why, now=now)
            return True
        if (charged := queries.charged(auto, period)) + bought.amount_minor > cap:
            figures = (plain(minor_units.to_major(minor, auto.currency)) for minor in (charged, cap, bought.amount_minor))
            auto.why = auto_charges.cap_reached(name, auto.currency, *figures)
            auto.next_attempt_at = period.end
            save_with_reason(auto, "why", "next_attempt_at", reason=auto.why)
            cause = f"{auto.pk}:{name}:{period.start.isoformat()}"
            notices.owe(kind=BillingNoticeKind.AUTO_TOPUP_CAPPED, about=auto, now=now, cause=cause)
            return True
    return False


def _follow(pk: int, run: _Run) -> bool:
    """Look at an order: what ended, counts; of what Stripe may not have heard, it is told again. Raises StripeUnavailable."""
    auto = ordering().filter(pk=pk).first()
    topup = auto.order if auto else None
    if topup is None:
        return False
    if topup.is_live != run.desk.is_live:
        topups.fail(topup_id=topup.pk, why=topup_orders.other_mode(topup), now=run.now)  # where it has not ended by itself
        auto_topup_ends.conclude(pk, Refusal(), run.now, has_key_changed=True)
    elif topup.status not in topups.UNDER_WAY:
        auto_topup_ends.conclude(pk, _refusal_at_stripe(topup, run), run.now)
    elif topup.status == TopUpStatus.NEW and not topup.payment_intent and topup.changed_at <= run.now - ASK_AGAIN:
        _tell_again(pk, topup, run)
    return False


def _refusal_at_stripe(topup: TopUp, run: _Run) -> Refusal:
    """Ask with which codes an order failed. Raises StripeUnavailable; a payment that Stripe forgot has none."""
    if topup.status != TopUpStatus.FAILED or not topup.payment_intent:
        return Refusal()
    try:
        return _refusal_of(run.desk.retrieve_payment_intent(topup.payment_intent))
    except StripeRefused as refused:
        log.warning("Stripe would not tell why %s failed: %s", topup, refused)
        return Refusal()


def _tell_again(pk: int, topup: TopUp, run: _Run) -> None:
    """Make the call that may never have been made, or whose answer was lost, as long as Stripe knows its key."""
    now = run.now
    # Stopped, frozen or disputed meanwhile: whether the first call was heard is found out, and no second one is made.
    if now - topup.created_at > LAST_CALL or not _may_go_on(pk):
        if _would_be_known(topup):
            topups.fail(topup_id=topup.pk, why="Stripe could not be told of it in time; nothing was charged.", now=now)
            auto_topup_ends.conclude(pk, Refusal(), now)
        return
    # Whoever puts it off first asks; the others leave it alone.
    if TopUp.objects.filter(pk=topup.pk, status=TopUpStatus.NEW, changed_at=topup.changed_at).update(changed_at=now):
        _charge(pk, run)


def _may_go_on(pk: int) -> bool:
    """Say whether nothing has come up since the order was placed that would have kept it from being placed."""
    return queries.free_to_charge().filter(pk=pk).exists()


def _would_be_known(topup: TopUp) -> bool:
    """Say whether a payment of this order, had there been one, would have been heard of: everything since has been asked for."""
    heard_of = EventSweep.objects.filter(is_live=topup.is_live, reached_at__gte=topup.changed_at + _ALL_HEARD)
    waiting = StripeEvent.objects.filter(
        type__startswith="payment_intent.", state__in=(EventState.DUE, EventState.DEAD), happened_at__gte=topup.created_at
    )
    return heard_of.exists() and not waiting.exists()


def _charge(pk: int, run: _Run) -> None:
    """Have Stripe charge the order of an auto top-up, or find what it charged before; take over what came of it.

    Raises StripeUnavailable, StripeNotSetUp: whether it was charged is not known, and it is asked again.
    """
    auto = ordering().filter(pk=pk).first()
    if auto is None or auto.order is None:
        return
    topup = auto.order
    try:
        intent = run.desk.create_payment_intent(_payment(auto, topup), key=topup_orders.stripe_key(topup))
    except StripeRefused as refused:
        codes = refused.figures
        if "idempotency" in str(codes.get("stripe_code")):  # nobody knows what the first call with this key did: events will tell
            log.exception("%s was told to Stripe in two ways", topup)
            return
        topups.fail(topup_id=topup.pk, why=refused.detail, now=run.now, facts=Facts(payment_intent=str(codes.get("payment_intent") or "")))
        refusal = Refusal(str(codes.get("stripe_code") or ""), str(codes.get("decline_code") or ""))
        is_of_the_card = bool(codes.get("payment_intent") or refusal.decline_code)
        auto_topup_ends.conclude(pk, refusal, run.now, will_be_refused_again=not is_of_the_card)
        return
    _take_over(topup, intent, run.now)
    auto_topup_ends.conclude(pk, _refusal_of(intent), run.now)


def _payment(auto: AutoTopUp, topup: TopUp) -> dict[str, Any]:
    """Return what Stripe is asked for. Made of what never changes about an order: a repeated call must be the same call."""
    return {
        "amount": topup.amount_minor,
        "currency": topup.currency.lower(),
        "customer": auto.order_customer,
        "payment_method": auto.order_method,
        # The buyer is not here: ways to pay that would send him elsewhere are none.
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        "off_session": True,
        "confirm": True,
        "description": f"topup_{topup.pk}: {topup.title}",
        "metadata": topups.metadata_of(topup),
    }


def _take_over(topup: TopUp, intent: dict[str, Any], now: datetime) -> None:
    if intent.get("status") in {"succeeded", "processing", "canceled"}:
        topup_events.look_at_intent(topup, intent, now)
        return
    error = intent.get("last_payment_error") or {}
    why = error.get("message") or "The bank wants to ask the buyer, who is not here."
    topups.fail(topup_id=topup.pk, why=why, now=now, facts=Facts(payment_intent=intent["id"]))


def _refusal_of(intent: dict[str, Any]) -> Refusal:
    if intent.get("status") == "requires_action":
        return Refusal("authentication_required")
    error = intent.get("last_payment_error") or {}
    return Refusal(error.get("code") or "", error.get("decline_code") or "")
