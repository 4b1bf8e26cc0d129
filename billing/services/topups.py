"""What becomes of orders: each step is made once, whatever comes first, twice or late.

The deposit is made when Stripe says that exactly what was ordered was paid, and never again: whoever wants to make it locks
the order first, then the wallet. A state never goes backwards, since an event is a snapshot and may be old; only money that
arrives after all makes a failed or expired order a paid one.

How an order is made is told in `topup_orders`, what Stripe says of it is read in `topup_events`, and what happens when no
event arrives is in `topup_sweeping`.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import transaction

from billing.errors import UnknownTopUp
from billing.events import Caller
from billing.minor_units import to_major, written
from billing.models import BillingNoticeKind, Payment, PaymentSource, TopUp, TopUpChannel, TopUpStatus, UnappliedKind, UnappliedPayment
from billing.services import auto_topup_terms, notices, unapplied_payments
from billing.services.journal import Journal, lock_wallet
from billing.services.sales import Sale, credit_sale
from billing.services.stripe_handling import NotOurs
from config.base.database import retrying
from config.base.exact import plain
from pricing.queries import workspace

log = logging.getLogger(__name__)

ACTOR: Final = "system:stripe"
_LONGEST: Final = 500
_CANCELLED: Final = "Cancelled by "
UNDER_WAY: Final = (TopUpStatus.NEW, TopUpStatus.OPEN, TopUpStatus.PROCESSING)
# What arrives now is not what they wait for.
_HAS_ITS_PAYMENT: Final = (TopUpStatus.PAID, TopUpStatus.MISMATCH, TopUpStatus.RETURNED)
# From where each state may be reached.
_BEFORE: Final[dict[TopUpStatus, tuple[TopUpStatus, ...]]] = {
    TopUpStatus.OPEN: (TopUpStatus.NEW,),
    TopUpStatus.PROCESSING: (TopUpStatus.NEW, TopUpStatus.OPEN),
    TopUpStatus.FAILED: UNDER_WAY,
    TopUpStatus.EXPIRED: (TopUpStatus.NEW, TopUpStatus.OPEN),
    TopUpStatus.MISMATCH: (*UNDER_WAY, TopUpStatus.FAILED, TopUpStatus.EXPIRED),
    TopUpStatus.PAID: (*UNDER_WAY, TopUpStatus.FAILED, TopUpStatus.EXPIRED),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What Stripe said of an order: its ids there, where it named them. `charge` is the one that paid."""

    session: str = ""
    payment_intent: str = ""
    charge: str = ""


@dataclass(frozen=True, slots=True)
class Paid:
    """What Stripe says was paid, in the smallest unit of `currency`."""

    amount_minor: int
    currency: str
    is_live: bool
    facts: Facts


def metadata_of(topup: TopUp) -> dict[str, str]:
    """Return what Stripe's objects carry, so that each event finds its order.

    The time tells the order from that of another desk, or of an emptied database, on the same account.
    """
    return {"topup": str(topup.pk), "ordered_at": topup.created_at.isoformat()}


def get(*, caller: Caller, topup_id: int) -> TopUp:
    """Return an order of the caller's project and environment. Raises UnknownTopUp."""
    rows = TopUp.objects.filter(pk=topup_id, project_id=caller.project_id, environment=caller.environment)
    if (topup := rows.select_related("wallet__customer", "pack").first()) is None:
        raise UnknownTopUp("There is no such top-up in this project. Check the id that the order was answered with.")
    return topup


def settle(*, topup_id: int, paid: Paid, now: datetime) -> str:
    """Deposit what was ordered, once; say what was done. Lots last from now, however late the payment is heard of.

    What was not ordered like this is not deposited: the order then waits for a person (MISMATCH).
    Raises NotOurs when real money and Stripe's test mode were mixed up.
    """

    def work() -> str:
        with transaction.atomic():
            topup = locked(topup_id)
            if paid.is_live != topup.is_live:
                raise NotOurs(f"{topup} is an order of {_mode(is_live=topup.is_live)}, this is of {_mode(is_live=paid.is_live)}.")
            if topup.status in _HAS_ITS_PAYMENT:
                return _again(topup, paid, now)
            if wrong := _difference(topup, paid):
                _go(topup, TopUpStatus.MISMATCH, paid.facts, now, failure=wrong)
                _set_aside(topup, paid, UnappliedKind.OTHERWISE, now)
                log.error("%s was not deposited: %s", topup, wrong)
                return f"{topup} was not deposited. {wrong}"
            _learn(topup, paid.facts)
            payment = _deposit(topup, actor=ACTOR, reason="Top-up", now=now)
            _go(topup, TopUpStatus.PAID, paid.facts, now, payment=payment, paid_at=now, failure="")
            return f"{topup} is paid: {plain(topup.credits)} credits were deposited."

    return retrying(work)


def processing(*, topup_id: int, facts: Facts, now: datetime) -> str:
    """Note that the buyer is done and the bank is not."""
    return _step(topup_id, TopUpStatus.PROCESSING, facts, now)


def fail(*, topup_id: int, why: str, now: datetime, facts: Facts | None = None) -> str:
    """End an order that was not paid. Money that arrives after all is still deposited."""
    return _step(topup_id, TopUpStatus.FAILED, facts or Facts(), now, failure=why[:_LONGEST])


def expire(*, topup_id: int, now: datetime, facts: Facts | None = None, why: str = "") -> str:
    """End an order whose link has ended. Money that arrives after all is still deposited."""
    changes = {"failure": why[:_LONGEST]} if why else {}
    return _step(topup_id, TopUpStatus.EXPIRED, facts or Facts(), now, **changes)


def cancel(*, topup_id: int, actor: str, reason: str, now: datetime) -> bool:
    """Note who ended an order's link, and why; False where the order has come further meanwhile."""
    with transaction.atomic():
        topup = locked(topup_id)
        why = f"{_CANCELLED}{actor}: {reason}"[:_LONGEST]
        # The event of the ended link may have been here first, and so may another person.
        if not _go(topup, TopUpStatus.EXPIRED, Facts(), now, failure=why) and topup.status == TopUpStatus.EXPIRED:
            topup.failure = topup.failure if topup.failure.startswith(_CANCELLED) else why
            topup.save(update_fields=["failure"])
        return topup.status == TopUpStatus.EXPIRED and topup.failure == why


def opened(*, topup_id: int, session: dict[str, Any], now: datetime) -> TopUp:
    """Keep what Stripe answered to an order: its session, and where the buyer pays."""
    with transaction.atomic():
        topup = locked(topup_id)
        _learn(topup, Facts(session=session["id"]))
        topup.url = topup.url or session.get("url") or ""
        topup.expires_at = topup.expires_at or _time(session.get("expires_at"))
        if topup.status == TopUpStatus.NEW:
            topup.status = TopUpStatus.OPEN
        topup.changed_at = now
        topup.save()
        return topup


def not_paid_yet(*, topup_id: int, why: str, facts: Facts, now: datetime) -> str:
    """Note a try that failed. The buyer of a link may try another card; what nobody tries again has failed."""
    topup = TopUp.objects.get(pk=topup_id)
    if topup.channel == TopUpChannel.AUTO or topup.status == TopUpStatus.PROCESSING:
        return fail(topup_id=topup_id, why=why, now=now, facts=facts)
    with transaction.atomic():
        topup = locked(topup_id)
        if topup.status not in UNDER_WAY:
            return f"{topup} is {topup.get_status_display().lower()} already."
        _learn(topup, facts)
        topup.failure = why[:_LONGEST]
        topup.changed_at = now
        topup.save()
    return f"A try to pay {topup} failed: {why}"[:_LONGEST]


def flag(*, topup_id: int, now: datetime) -> str:
    """Mark an order of which Stripe believes that the card's owner knows nothing; nothing more is charged unasked."""
    with transaction.atomic():
        topup = locked(topup_id)
        if not topup.is_suspicious:
            topup.is_suspicious = True
            topup.save(update_fields=["is_suspicious"])
            why = f"Stripe gave an early fraud warning about {topup}."
            auto_topup_terms.stop_wallet(wallet_id=topup.wallet_id, why=why, now=now)
    return f"{topup} is marked as suspicious."


def locked(topup_id: int) -> TopUp:
    """Lock an order until the transaction ends, before its wallet: whoever settles, refunds or disputes it waits here."""
    return TopUp.objects.select_for_update(of=("self",)).select_related("wallet").get(pk=topup_id)


def _step(topup_id: int, status: TopUpStatus, facts: Facts, now: datetime, **changes: Any) -> str:
    def work() -> str:
        with transaction.atomic():
            topup = locked(topup_id)
            if _go(topup, status, facts, now, **changes):
                return f"{topup} is {status.label.lower()}."
            return f"{topup} is {topup.get_status_display().lower()} already."

    return retrying(work)


def _go(topup: TopUp, status: TopUpStatus, facts: Facts, now: datetime, **changes: Any) -> bool:
    """Bring a locked order into a state that may follow its own; what is learned about it is kept anyway."""
    _learn(topup, facts)
    may_go = topup.status in _BEFORE[status]
    if may_go:
        topup.status, topup.changed_at = status, now
        for name, value in changes.items():
            setattr(topup, name, value)
    topup.save()
    return may_go


def _learn(topup: TopUp, facts: Facts) -> None:
    """Take over ids that the order does not know yet; it is not saved."""
    topup.checkout_session = topup.checkout_session or facts.session
    topup.payment_intent = topup.payment_intent or facts.payment_intent
    topup.charge = facts.charge or topup.charge


def _again(topup: TopUp, paid: Paid, now: datetime) -> str:
    """Take note of what is paid of an order that has its payment: nothing is deposited a second time."""
    if paid.facts.payment_intent in {"", topup.payment_intent}:
        _learn(topup, paid.facts)
        topup.save()
        if topup.status == TopUpStatus.PAID:
            return f"{topup} was deposited before."
        _set_aside(topup, paid, UnappliedKind.OTHERWISE, now)
        return f"{topup} is {topup.get_status_display().lower()} already. {topup.failure}".strip()
    row, is_new = _set_aside(topup, paid, UnappliedKind.AGAIN, now)
    if is_new:
        log.error("%s was paid by %s and again by %s", topup, topup.payment_intent, row.payment_intent)
    return f"{topup} was paid a second time, by {row.payment_intent}: {written(row.amount_minor, row.currency)} wait for a person."


def _set_aside(topup: TopUp, paid: Paid, kind: UnappliedKind, now: datetime) -> tuple[UnappliedPayment, bool]:
    """Keep money that is not deposited, once, and tell who decides about it."""
    row, is_new = unapplied_payments.keep(
        topup,
        kind=kind,
        payment_intent=paid.facts.payment_intent,
        charge=paid.facts.charge,
        amount_minor=paid.amount_minor,
        currency=paid.currency,
        now=now,
    )
    if is_new:
        cause = "" if kind == UnappliedKind.OTHERWISE else f"{topup.pk}:{row.pk}"
        notices.owe(kind=BillingNoticeKind.TOPUP_MISMATCH, about=topup, now=now, cause=cause)
    return row, is_new


def become_what_was_paid(topup: TopUp, row: UnappliedPayment, *, actor: str, reason: str, now: datetime) -> None:
    """Make a locked order what was paid for it instead, and deposit that: as a person decided, of whom `row` tells."""
    assert row.credits is not None and row.bonus_credits is not None and row.book_value is not None  # noqa: PT018 - as asked for
    topup.amount_minor, topup.book_value = row.amount_minor, row.book_value
    topup.credits, topup.bonus_credits = row.credits, row.bonus_credits
    topup.payment = _deposit(topup, actor=actor, reason=reason, now=now)
    topup.status, topup.paid_at, topup.changed_at, topup.failure = TopUpStatus.PAID, now, now, ""
    topup.save()


def _difference(topup: TopUp, paid: Paid) -> str:
    """Say what was paid instead of what was ordered; empty when it is the same."""
    if not paid.facts.payment_intent:
        return "Stripe says that it is paid, but names no payment."
    if (paid.amount_minor, paid.currency) == (topup.amount_minor, topup.currency):
        return ""
    return f"{written(paid.amount_minor, paid.currency)} came in and {written(topup.amount_minor, topup.currency)} was ordered."


def _deposit(topup: TopUp, *, actor: str, reason: str, now: datetime) -> Payment:
    """Put what was sold into the wallet, which is locked now, after the order."""
    journal = Journal(lock_wallet(topup.wallet_id, now=now), actor, now, topup.request_id, reason)
    sale = Sale(
        credits=topup.credits,
        amount=topup.book_value,
        currency=workspace.load().currency,
        source=PaymentSource.STRIPE,
        payment_id=topup.payment_intent,
        expires_at=_end(topup.expires_after_days, now),
        metadata={
            "topup": f"topup_{topup.pk}",
            "amount": plain(to_major(topup.amount_minor, topup.currency)),
            "currency": topup.currency,
            "live": topup.is_live,
        },
        bonus_credits=topup.bonus_credits,
        bonus_expires_at=_end(topup.bonus_expires_after_days, now),
    )
    credit_sale(journal, sale)
    return Payment.objects.get(wallet_id=topup.wallet_id, source=PaymentSource.STRIPE, external_id=topup.payment_intent)


def _end(days: int | None, now: datetime) -> datetime | None:
    return now + timedelta(days=days) if days else None


def _mode(*, is_live: bool) -> str:
    return "real money" if is_live else "Stripe's test mode"


def _time(seconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
