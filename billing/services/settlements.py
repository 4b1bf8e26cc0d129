"""Fees, payouts and the balance at Stripe: what Stripe tells of them is kept as it came, once.

Three ways lead here, in any order and as often as they like: events of charges and payouts, the sweeper that asks for what
no event told, and files that a person imports. Each hands over facts (`billing.balance`) that are keyed by Stripe's ids.
Facts never change; what is told otherwise later is refused with `SettlementContradiction`. Nor does the mode: what is told
of real money never belongs to what is told of Stripe's test mode. What only a file told, Stripe's own word replaces
(`told_otherwise`). The sweeper goes on past what is refused, and notes it for the reconciliation.

A movement that belongs to a top-up, its refund or its dispute has its fee recorded with the payment (`platform_fees`), as
soon as both are known. A movement that only a file tells of has to agree with the payment for that (`_is_believed`): files
can be made up, and a fee that is recorded stays. A payout is reconciled when the movements that name it add up to it.

Stripe names a payout on its movements when it made the payout itself. So a payout of which it is not told who made it is
taken for automatic once a movement other than its own names it, and for nothing until then.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Final

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, Sum

from billing.balance import Category, Movement, PaidOut, category_of, comes_to, movement, paid_out
from billing.errors import SettlementContradiction, StripeRefused
from billing.models import (
    BalanceTransaction,
    Dispute,
    Payment,
    Payout,
    PlatformFee,
    SettlementSweep,
    StripeEvent,
    TopUp,
    TopUpRefund,
    UnappliedPayment,
)
from billing.models import TopUpStatus as Status
from billing.queries import stripe_modes
from billing.services import platform_fees, stripe_gateway, told_otherwise, unapplied_payments
from billing.services.stripe_gateway import Gateway
from billing.services.stripe_handling import Handler, NotOurs, NotYet, desk

log = logging.getLogger(__name__)

# A charge's fee is known within seconds, with some ways of paying within minutes.
FEE_IS_LATE: Final = timedelta(minutes=15)
# How far back the first sweep looks; what is older comes by files.
FIRST_LOOK: Final = timedelta(days=90)
# Movements appear in Stripe's lists a little after their time, and payouts change for days.
_OVERLAP: Final = timedelta(hours=1)
_PAYOUTS_CHANGE: Final = timedelta(days=14)
_AT_ONCE: Final = 500
_CHARGES_AT_ONCE: Final = 100
_SECONDS: Final = 120
# A payout's state never goes backwards; the bank may return one that was paid.
_ROAD: Final = {"pending": 0, "in_transit": 1, "paid": 2, "canceled": 3, "failed": 3}
_FEE_KINDS: Final = {Category.CHARGE: "payment", Category.REFUND: "refund", Category.DISPUTE: "dispute"}
_FACTS: Final = ("amount_minor", "fee_minor", "net_minor", "currency", "source")


@dataclass(frozen=True, slots=True)
class Kept:
    """How many were new here, and how many fees were recorded for them."""

    new: int
    fees: int


def keep(movements: Sequence[Movement], *, now: datetime) -> Kept:
    """Keep movements of the balance, all or none of them, and record their fees. Known ones add nothing.

    Raises SettlementContradiction.
    """
    movements = sorted(movements, key=lambda one: one.stripe_id)  # one order for all, since rivals wait for each other's rows
    with transaction.atomic():
        before = BalanceTransaction.objects.filter(stripe_id__in=[one.stripe_id for one in movements]).count()
        BalanceTransaction.objects.bulk_create([_row(one, now) for one in movements], ignore_conflicts=True)
        rows = BalanceTransaction.objects.select_for_update().order_by("pk").select_related(None)
        kept = {row.stripe_id: row for row in rows.filter(stripe_id__in=[one.stripe_id for one in movements])}
        wrong = {one.stripe_id: difference for one in movements if (difference := contradiction(kept[one.stripe_id], one))}
        for one in movements:
            if one.stripe_id in wrong and (one.is_from_file or not kept[one.stripe_id].is_from_file):
                raise SettlementContradiction(wrong[one.stripe_id])
        told_otherwise.forget_fees(kept[name] for name in wrong)
        _bring_up_to_date(kept, movements)
        return Kept(len(kept) - before, _record_fees(kept.values(), now))


def keep_each(movements: Sequence[Movement], *, now: datetime) -> Kept:
    """Keep what Stripe tells, and of what it told otherwise before only that it did: one movement holds up no other."""
    try:
        return keep(movements, now=now)
    except SettlementContradiction:
        new = fees = 0
    for one in movements:
        try:
            kept = keep([one], now=now)
        except SettlementContradiction as why:
            log.warning("a movement of the balance is told in two ways: %s", why)
            told_otherwise.note(one)
        else:
            new, fees = new + kept.new, fees + kept.fees
    return Kept(new, fees)


def keep_payout(told: PaidOut, *, now: datetime) -> Payout:
    """Keep a payout, or bring the state of a known one up to date. Raises SettlementContradiction."""
    with transaction.atomic():
        payout, _ = Payout.objects.select_for_update().get_or_create(
            stripe_id=told.stripe_id,
            defaults={
                "amount_minor": told.amount_minor,
                "currency": told.currency,
                "is_live": told.is_live,
                "status": told.status,
                "is_automatic": told.is_automatic,
                "failure": told.failure,
                "arrives_on": told.arrives_at.date(),
                "created_at": told.created_at,
                "received_at": now,
            },
        )
        if payout.is_live != told.is_live:
            raise SettlementContradiction(_of_other_mode(f"Payout {told.stripe_id}", is_live=payout.is_live))
        if (payout.amount_minor, payout.currency) != (told.amount_minor, told.currency):
            raise SettlementContradiction(
                f"Payout {told.stripe_id} is known here with {payout.amount_minor} {payout.currency}"
                f" in minor units, and this says {told.amount_minor} {told.currency}."
            )
        if _ROAD.get(told.status, 0) > _ROAD.get(payout.status, 0):
            payout.status, payout.failure = told.status, told.failure or payout.failure
            payout.save(update_fields=["status", "failure"])
        if payout.is_automatic is None and told.is_automatic is not None:
            payout.is_automatic = told.is_automatic
            payout.save(update_fields=["is_automatic"])
        waiting = BalanceTransaction.objects.filter(payout_id_at_stripe=told.stripe_id, payout=None, is_live=payout.is_live)
        waiting.update(payout=payout)
        _reconcile([payout])
        return payout


def take_apart(payout: Payout, *, gateway: Gateway, now: datetime) -> bool:
    """Ask Stripe which movements a payout took along; True when they add up to it.

    Raises StripeUnavailable, StripeRefused. Of a payout that a person made, Stripe does not know.
    """
    if payout.is_automatic and not payout.is_reconciled:
        listed = gateway.list_balance_transactions(payout=payout.stripe_id)
        for part in _parts(movement(told, payout=payout.stripe_id, is_live=gateway.is_live) for told in listed):
            keep_each(part, now=now)
        payout.refresh_from_db()
    return payout.is_reconciled


def sweep(*, now: datetime) -> int:
    """Ask Stripe for what no event told: movements and payouts since last, fees that are late; return how many were new.

    Raises StripeNotSetUp, StripeUnavailable, StripeRefused. The next sweep begins where this one did.
    """
    stripe = stripe_gateway.gateway()
    last = SettlementSweep.objects.filter(is_live=stripe.is_live).first()
    since = last.reached_at - _OVERLAP if last else now - FIRST_LOOK
    found = 0
    for part in _parts(movement(told, is_live=stripe.is_live) for told in stripe.list_balance_transactions(since=since)):
        found += keep_each(part, now=now).new
    for told in stripe.list_payouts(since=min(since, now - _PAYOUTS_CHANGE)):
        try:
            keep_payout(paid_out(told), now=now)
        except SettlementContradiction as why:  # its movements do not add up to it, which the reconciliation shows
            log.warning("a payout is told in two ways: %s", why)
    SettlementSweep.objects.update_or_create(is_live=stripe.is_live, defaults={"reached_at": now})
    found += ask_for_fees(gateway=stripe, now=now)
    waiting = Payout.objects.filter(is_automatic=True, is_reconciled=False, is_live=stripe.is_live, created_at__gte=now - FIRST_LOOK)
    for payout in waiting.order_by("pk"):
        try:
            take_apart(payout, gateway=stripe, now=now)
        except StripeRefused as why:  # one payout that nobody can take apart holds up no other
            log.warning("payout %s could not be taken apart: %s", payout.stripe_id, why)
    record_fees(now=now)
    return found


def ask_for_fees(*, gateway: Gateway, now: datetime) -> int:
    """Ask Stripe about charges that were paid a while ago and whose movement is not here; return how many now are."""
    booked = BalanceTransaction.objects.filter(source=OuterRef("charge"), is_live=gateway.is_live, is_from_file=False)
    late = TopUp.objects.filter(status=Status.PAID, is_live=gateway.is_live, paid_at__lt=now - FEE_IS_LATE)
    began, found = time.monotonic(), 0
    for topup in late.filter(Q(charge="") | ~Exists(booked)).order_by("-paid_at")[:_CHARGES_AT_ONCE]:
        if time.monotonic() - began > _SECONDS:
            break
        try:
            found += _ask_for_fee(topup, gateway, now)
        except (StripeRefused, SettlementContradiction) as refusal:
            log.warning("The fee of %s is not known: %s", topup, refusal)
    return found


def record_fees(*, now: datetime) -> int:
    """Record the fees of movements whose payment became known after them; return how many."""
    recorded = PlatformFee.objects.filter(balance_transaction=OuterRef("stripe_id"))
    without = BalanceTransaction.objects.exclude(fee_minor=0).filter(~Exists(recorded)).order_by("pk")
    return sum(_record_fees(part, now) for part in _parts(without.iterator(chunk_size=_AT_ONCE)))


@dataclass(frozen=True, slots=True)
class _Owner:
    """What a movement is about: a payment, and how much should have moved, without its sign."""

    payment: Payment
    amount_minor: int
    currency: str


def _owners(movements: Iterable[BalanceTransaction]) -> dict[str, _Owner]:
    rows = list(movements)
    about: dict[Category, dict[str, list[BalanceTransaction]]] = {category: {} for category in _FEE_KINDS}
    for row in rows:
        if (category := _category(row)) in about:
            about[category].setdefault(row.source, []).append(row)
    charges = about[Category.CHARGE]
    intents = {row.payment_intent: row for same in charges.values() for row in same if row.payment_intent}
    found: dict[str, _Owner] = {}
    for topup in TopUp.objects.filter(Q(charge__in=charges) | Q(payment_intent__in=intents), payment__isnull=False).select_related(
        "payment"
    ):
        assert topup.payment is not None
        named = [*charges.get(topup.charge or "-", ()), *([intents[topup.payment_intent]] if topup.payment_intent in intents else ())]
        owner = _Owner(topup.payment, topup.amount_minor, topup.currency)
        found |= {row.stripe_id: owner for row in named if row.is_live == topup.is_live}
    for model, category in ((TopUpRefund, Category.REFUND), (Dispute, Category.DISPUTE)):
        known: Any = model._default_manager.filter(stripe_id__in=[name for name in about[category] if name])
        for back in known.select_related("topup__payment"):
            if back.topup.payment is not None and getattr(back, "unapplied_id", None) is None:
                owner = _Owner(back.topup.payment, back.amount_minor, back.currency)
                found |= {row.stripe_id: owner for row in about[category][back.stripe_id] if row.is_live == back.topup.is_live}
    return found


def contradiction(row: BalanceTransaction, told: Movement) -> str:
    """Say what of a movement is told otherwise than it is known; empty where nothing is. What one side leaves empty is no contradiction."""
    if row.is_live != told.is_live:
        return _of_other_mode(row.stripe_id, is_live=row.is_live)
    for name in _FACTS:
        known, said = getattr(row, name), getattr(told, name)
        if known != said and not (name == "source" and "" in {known, said}):
            return f"{row.stripe_id} is known here with {name.replace('_', ' ')} {known}, and this says {said}."
    if told.payout and row.payout_id_at_stripe and told.payout != row.payout_id_at_stripe:
        return f"{row.stripe_id} went out with {row.payout_id_at_stripe}, and this says with {told.payout}."
    return ""


def of_other_mode(movements: Sequence[Movement]) -> dict[str, str]:
    """Say of each movement that names a top-up of the other mode what is wrong with it, by the movement's id."""
    paid: dict[str, TopUp] = {}
    names = {name for one in movements for name in (one.source, one.charge, one.payment_intent) if name}
    for topup in TopUp.objects.filter(Q(charge__in=names) | Q(payment_intent__in=names)):
        paid |= {name: topup for name in (topup.charge, topup.payment_intent) if name}
    wrong = {}
    for one in movements:
        for name in (one.source, one.charge, one.payment_intent):
            if name in paid and paid[name].is_live != one.is_live:
                wrong[one.stripe_id] = f"{name} paid {paid[name]}. " + _of_other_mode(str(paid[name]), is_live=not one.is_live)
    return wrong


def _of_other_mode(what: str, *, is_live: bool) -> str:
    return f"{what} is of {stripe_modes.words(is_live=is_live)}, and this was said to be of {stripe_modes.words(is_live=not is_live)}."


def _row(one: Movement, now: datetime) -> BalanceTransaction:
    return BalanceTransaction(
        stripe_id=one.stripe_id,
        type=one.kind,
        reporting_category=one.reporting_category,
        source=one.source,
        charge=one.charge,
        payment_intent=one.payment_intent,
        amount_minor=one.amount_minor,
        fee_minor=one.fee_minor,
        net_minor=one.net_minor,
        currency=one.currency,
        exchange_rate=one.exchange_rate,
        is_live=one.is_live,
        is_from_file=one.is_from_file,
        status=one.status,
        payout_id_at_stripe=one.payout,
        description=one.description,
        available_on=one.available_on,
        created_at=one.created_at,
        received_at=now,
    )


def _bring_up_to_date(kept: dict[str, BalanceTransaction], movements: Sequence[Movement]) -> None:
    """Write down what may be learned later: what Stripe itself says, that money is available, and which payout took it along."""
    named = {name for one in movements for name in (one.payout, kept[one.stripe_id].payout_id_at_stripe) if name}
    locked = Payout.objects.select_for_update().order_by("pk").filter(stripe_id__in=named)
    payouts = {(payout.stripe_id, payout.is_live): payout for payout in locked}
    changed, believed = [], []
    for one in movements:
        row = kept[one.stripe_id]
        before = (row.status, row.payout_id_at_stripe, row.payout_id)
        is_believed = row.is_from_file and not one.is_from_file
        if is_believed:
            told_otherwise.believe_stripe(row, one)
            row.is_from_file = False
        if one.status == "available":
            row.status = one.status
        row.payout_id_at_stripe = row.payout_id_at_stripe or one.payout
        if row.payout_id is None:
            row.payout = payouts.get((row.payout_id_at_stripe, row.is_live))
        if is_believed:
            believed.append(row)
        elif (row.status, row.payout_id_at_stripe, row.payout_id) != before:
            changed.append(row)
    learned = ("status", "payout_id_at_stripe", "payout")
    BalanceTransaction.objects.bulk_update(changed, learned, batch_size=_AT_ONCE)
    BalanceTransaction.objects.bulk_update(believed, (*learned, "is_from_file", *told_otherwise.COLUMNS), batch_size=_AT_ONCE)
    _reconcile(payouts.values())


def _reconcile(payouts: Iterable[Payout]) -> None:
    """Mark the payouts, which are locked, that their movements add up to. The payout's own movement is not one of them."""
    for payout in payouts:
        parts = payout.transactions.filter(currency=payout.currency).exclude(source=payout.stripe_id)
        if payout.is_automatic is None and parts.exists():
            payout.is_automatic = True
            payout.save(update_fields=["is_automatic"])
        adds_up = bool(payout.is_automatic) and parts.aggregate(sum=Sum("net_minor"))["sum"] == payout.amount_minor
        if payout.is_reconciled is not adds_up:  # it may add up no more, after a file was wrong about its movements
            payout.is_reconciled = adds_up
            payout.save(update_fields=["is_reconciled"])


def _record_fees(rows: Iterable[BalanceTransaction], now: datetime) -> int:
    # What Stripe told itself comes before what only files say.
    with_fee = sorted((row for row in rows if row.fee_minor), key=lambda row: row.is_from_file)
    owners = _owners(with_fee) if with_fee else {}
    return sum(
        platform_fees.record(
            payment=owners[row.stripe_id].payment,
            transaction={"id": row.stripe_id, "fee": row.fee_minor, "currency": row.currency, "created": row.created_at.timestamp()},
            kind=_FEE_KINDS[_category(row)],
            is_live=row.is_live,
            now=now,
        )
        for row in with_fee
        if row.stripe_id in owners and (not row.is_from_file or _is_believed(row, owners[row.stripe_id]))
    )


def _is_believed(row: BalanceTransaction, owner: _Owner) -> bool:
    """Say whether what only a file tells may have its fee recorded: it moved what it is about, and a payment has one fee.

    That fee is within the amount. What is not believed is a break, for a person; once Stripe itself tells it, it is recorded.
    """
    if not comes_to(
        abs(row.amount_minor),
        row.currency,
        expected_minor=owner.amount_minor,
        expected_currency=owner.currency,
        exchange_rate=row.exchange_rate,
    ):
        return False
    if _category(row) is not Category.CHARGE:
        return True
    others = PlatformFee.objects.filter(payment=owner.payment, kind="payment").exclude(balance_transaction=row.stripe_id)
    return 0 <= row.fee_minor <= row.amount_minor and not others.exists()


def _category(row: BalanceTransaction) -> Category:
    return category_of(kind=row.type, reporting_category=row.reporting_category, source=row.source)


def _ask_for_fee(topup: TopUp, gateway: Gateway, now: datetime) -> bool:
    charge = topup.charge
    if not charge:
        charge = gateway.retrieve_payment_intent(topup.payment_intent).get("latest_charge") or ""
    return bool(charge) and _keep_charge(gateway.retrieve_charge(charge), lambda: gateway, now) is not None


def _keep_charge(charge: dict[str, Any], gateway: Callable[[], Gateway], now: datetime) -> Kept | None:
    """Keep the movement of a charge, and its id with the top-up that it paid; None while Stripe has not booked it.

    Stripe is asked only where the charge merely names its movement.
    """
    intent = charge.get("payment_intent") or ""
    if intent and charge.get("paid"):
        TopUp.objects.filter(payment_intent=intent).exclude(charge=charge["id"]).update(charge=charge["id"])
        UnappliedPayment.objects.filter(payment_intent=intent, charge="").update(charge=charge["id"])
    told = charge.get("balance_transaction")
    if not told:
        return None
    if isinstance(told, str):
        told = gateway().retrieve_balance_transaction(told)
    return keep([movement(told, charge=charge["id"], payment_intent=intent, is_live=bool(charge.get("livemode")))], now=now)


def _on_charge(event: StripeEvent, now: datetime) -> str:
    """Stripe has booked a charge, or will soon: then another event comes, and else the sweeper asks."""
    charge = event.object
    kept = _keep_charge(charge, partial(desk, event), now)
    if kept is None:
        return f"Stripe has not booked {charge['id']} so far."
    topup = TopUp.objects.filter(Q(charge=charge["id"]) | Q(payment_intent=charge.get("payment_intent") or "-")).first()
    if topup is None and unapplied_payments.of_payment(payment_intent=charge.get("payment_intent"), charge=charge["id"]):
        return f"{charge['id']}, which was not credited, is booked."
    if topup is None:
        raise NotOurs(f"no top-up was paid by {charge['id']}; it is kept for reconciliation")
    if topup.payment is None and topup.status not in {Status.MISMATCH, Status.RETURNED}:
        raise NotYet(f"{topup} has not been credited so far")
    return f"Stripe has booked {charge['id']} of {topup}{', and its fee is recorded' if kept.fees else ''}."


def _on_payout(event: StripeEvent, now: datetime) -> str:
    payout = keep_payout(paid_out(event.object), now=now)
    if event.type in {"payout.paid", "payout.reconciliation_completed"} and payout.is_automatic and not payout.is_reconciled:
        take_apart(payout, gateway=desk(event), now=now)
    state = "is reconciled" if payout.is_reconciled else f"is {payout.status.replace('_', ' ')}"
    return f"Payout {payout.stripe_id} {state}."


def _parts(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield the items in parts of some hundred; Stripe's lists hold no more of a day's movements in memory than that."""
    iterator = iter(items)
    while part := list(islice(iterator, _AT_ONCE)):
        yield part


HANDLERS: Final[dict[str, Handler]] = {
    "charge.succeeded": _on_charge,
    "charge.updated": _on_charge,
    "payout.created": _on_payout,
    "payout.updated": _on_payout,
    "payout.paid": _on_payout,
    "payout.failed": _on_payout,
    "payout.canceled": _on_payout,
    "payout.reconciliation_completed": _on_payout,
}
