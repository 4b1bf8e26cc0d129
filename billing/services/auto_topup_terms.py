"""What was agreed on auto top-up, and whether it runs.

People set it up, change it, switch it off and start it again; what stops it by itself, somebody is told. What it does while
it runs is told in `auto_topups`.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing import minor_units
from billing.errors import InvalidRequest
from billing.models import AutoTopUp, AutoTopUpState, BillingNoticeKind, CreditPack, StripeCustomer, Wallet
from billing.models.fields import save_with_reason
from billing.services import notices, packs
from billing.services.packs import Purchase
from config.base.exact import plain

_RUN = ("state", "why", "failures", "next_attempt_at")


@dataclass(frozen=True, slots=True)
class Terms:
    """What is bought when fewer than `threshold` credits are available: a pack or an amount; at most how much of it.

    Caps are amounts in `currency`, for a day and a month by the workspace's clock.
    """

    threshold: Decimal
    currency: str
    day_cap: Decimal
    month_cap: Decimal
    pack: str = ""
    amount: Decimal | None = None


def set_up(*, wallet_id: int, terms: Terms, actor: str, reason: str, now: datetime) -> AutoTopUp:
    """Agree on auto top-up, or on other terms. New, it runs as soon as there is a card; changed, it runs or not as before.

    Raises InvalidRequest, UnknownPack, PackNotOnSale.
    """
    bought = purchase(pack=terms.pack, amount=terms.amount, currency=terms.currency, now=now)
    day_cap, month_cap = _minor("day_cap", terms.day_cap, bought), _minor("month_cap", terms.month_cap, bought)
    if terms.threshold <= 0:
        raise InvalidRequest("threshold", "must be above 0: at 0 the wallet is empty before it is topped up")
    if day_cap < bought.amount_minor:
        raise InvalidRequest("day_cap", f"must be at least {_price(bought)}, the price of one top-up")
    if month_cap < day_cap:
        raise InvalidRequest("month_cap", "must be at least the cap of a day")
    agreed = {
        "threshold": terms.threshold,
        "pack": bought.pack,
        "amount_minor": None if bought.pack else bought.amount_minor,
        "currency": bought.currency,
        "day_cap_minor": day_cap,
        "month_cap_minor": month_cap,
        "set_up_by": actor,
        "set_up_at": now,
    }
    with transaction.atomic():
        auto = AutoTopUp.objects.select_for_update().filter(wallet_id=wallet_id).first()
        if auto is None:
            auto = AutoTopUp(wallet=Wallet.objects.get(pk=wallet_id), state=_waiting_or_active(wallet_id), started_at=now)
        for name, value in agreed.items():
            setattr(auto, name, value)
        if auto.state == AutoTopUpState.ACTIVE:  # what held it back may hold no more
            auto.why, auto.next_attempt_at = "", None
        setattr(auto, "_change_reason", reason)  # noqa: B010 - simple-history reads the reason from here
        auto.save()
        return auto


def switch_off(*, wallet_id: int, reason: str) -> AutoTopUp:
    """Order nothing more. An order that Stripe has been told of is finished. Raises InvalidRequest."""
    with transaction.atomic():
        auto = _locked(wallet_id)
        auto.state, auto.why, auto.next_attempt_at = AutoTopUpState.OFF, reason, None
        save_with_reason(auto, *_RUN, reason=reason)
        return auto


def start_again(*, wallet_id: int, reason: str, now: datetime) -> AutoTopUp:
    """Run again, as if nothing had failed. Caps go on counting. What runs already goes on. Raises InvalidRequest."""
    with transaction.atomic():
        auto = _locked(wallet_id)
        if not auto.is_on:
            auto.state, auto.why, auto.failures, auto.next_attempt_at = _waiting_or_active(wallet_id), "", 0, None
            auto.started_at = now
            save_with_reason(auto, *_RUN, "started_at", reason=reason)
        return auto


def has_card(*, wallet_id: int) -> None:
    """Begin, now that there is a card to charge, or try the new one at once where the old one was declined."""
    auto = AutoTopUp.objects.select_for_update().filter(wallet_id=wallet_id).first()
    if auto is not None and auto.state in {AutoTopUpState.WAITING, AutoTopUpState.BACKING_OFF}:
        auto.state, auto.why, auto.failures, auto.next_attempt_at = AutoTopUpState.ACTIVE, "", 0, None
        save_with_reason(auto, *_RUN, reason="A card was saved")


def stop_wallet(*, wallet_id: int, why: str, now: datetime) -> None:
    """Stop a wallet's auto top-up, if it runs, and tell somebody. Inside the caller's transaction."""
    auto = AutoTopUp.objects.select_for_update().filter(wallet_id=wallet_id).first()
    if auto is not None and auto.is_on:
        stop(auto, why=why, now=now)


def stop(auto: AutoTopUp, *, why: str, now: datetime) -> None:
    """Stop a locked auto top-up and tell somebody: only a person starts it again."""
    auto.state, auto.why, auto.next_attempt_at = AutoTopUpState.STOPPED, why[:500], None
    save_with_reason(auto, *_RUN, reason=f"Stopped by itself: {why}"[:500])
    notices.owe(kind=BillingNoticeKind.AUTO_TOPUP_STOPPED, about=auto, now=now, cause=f"{auto.pk}:{now.isoformat()}")


def purchase(*, pack: str, amount: Decimal | None, currency: str, now: datetime) -> Purchase:
    """Return what one top-up buys now. Raises InvalidRequest, UnknownPack, PackNotOnSale."""
    if pack:
        if amount is not None:
            raise InvalidRequest("amount", "and pack cannot be given together")
        return packs.of_pack(key=pack, currency=currency, now=now)
    if amount is None:
        raise InvalidRequest("pack", "is required, or amount")
    return packs.of_amount(amount=amount, currency=currency)


def purchase_of(auto: AutoTopUp, *, now: datetime) -> Purchase:
    """Return what was agreed, at today's price. Raises InvalidRequest, UnknownPack, PackNotOnSale."""
    pack: CreditPack | None = auto.pack
    amount = None if auto.amount_minor is None else minor_units.to_major(auto.amount_minor, auto.currency)
    return purchase(pack=pack.key if pack else "", amount=amount, currency=auto.currency, now=now)


def _locked(wallet_id: int) -> AutoTopUp:
    auto = AutoTopUp.objects.select_for_update().filter(wallet_id=wallet_id).first()
    if auto is None:
        raise InvalidRequest("customer", "has no auto top-up: set it up first")
    return auto


def _waiting_or_active(wallet_id: int) -> AutoTopUpState:
    has_one = StripeCustomer.objects.filter(customer__wallet=wallet_id).exclude(payment_method="").exists()
    return AutoTopUpState.ACTIVE if has_one else AutoTopUpState.WAITING


def _minor(field: str, cap: Decimal, bought: Purchase) -> int:
    """Return a cap in minor units. It need not be an amount that Stripe would charge."""
    places = minor_units.exponent(bought.currency)
    shifted = cap.scaleb(places)
    if shifted != shifted.to_integral_value():
        raise InvalidRequest(field, f"has more places than {bought.currency} has: at most {places}")
    if not 0 < shifted < 2**63:
        raise InvalidRequest(field, "must be above 0 and an amount that is ever reached")
    return int(shifted)


def _price(bought: Purchase) -> str:
    return f"{plain(minor_units.to_major(bought.amount_minor, bought.currency))} {bought.currency}"
