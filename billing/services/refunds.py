"""Refunds of charges: credits go back to the lots that they came from, the lot that was spent last first.

A refund into a lot that has expired since is written off by the next sweep, as the credits would have been anyway.
A part that was paid on overdraft lowers what the wallet owes; where a deposit has settled that debt in the meantime, the
settlement is reversed as far as needed, so that the credits come back to the deposit's lot.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Sum

from billing.allocation import OVERDRAFT, Movement, OpenLot, share
from billing.errors import RefundExceedsCharge, UnknownEvent
from billing.events import Caller
from billing.models import EntryKind, LedgerEntry, Lot, UsageRecord
from billing.queries import wallets
from billing.services.charging import KeyTaken
from billing.services.idempotency import Call, find_effect
from billing.services.ledger import Journal, Posted, lock_wallet, lower_credit_limit, post, replayed
from config.base.database import retrying
from config.base.exact import ZERO, plain


def refund_event(
    *,
    caller: Caller,
    record_id: int,
    credits: Decimal | None,
    reason: str,
    now: datetime,
    call: Call | None = None,
    request_id: str = "",
) -> Posted:
    """Give back `credits` of an event's charge, or all that is left of it.

    Raises UnknownEvent, RefundExceedsCharge, IdempotencyMismatch.
    """
    if call and (effect := find_effect(call)):
        return replayed(effect.effect_id)  # also when the record has been dropped by retention since
    record = (
        UsageRecord.objects.filter(id=record_id, project_id=caller.project_id, environment=caller.environment)
        .select_related("customer__wallet")
        .first()
    )
    if record is None or record.customer is None:
        raise UnknownEvent("There is no such event with a customer in this project. Check the id that the event was answered with.")
    wallet_id = record.customer.wallet.pk

    def work() -> Posted:
        with transaction.atomic():
            wallet = lock_wallet(wallet_id, now=now)
            if call and (effect := find_effect(call)):
                return replayed(effect.effect_id)
            charges = list(LedgerEntry.objects.filter(transaction_id=record_id, kind=EntryKind.CHARGE).order_by("-id"))
            given_back = _given_back(charges)
            left = sum((-charge.credits - given_back[charge.pk][0] for charge in charges), ZERO)
            wanted = left if credits is None else credits
            if wanted > left or not left:
                raise RefundExceedsCharge(
                    f"{plain(left)} credits of this charge have not been refunded yet. Refund at most that.", refundable=plain(left)
                )
            journal = Journal(wallet, caller.actor, now, request_id, reason)
            for charge in charges:
                done_credits, done_value = given_back[charge.pk]
                remainder = -charge.credits - done_credits
                part = min(wanted, remainder)
                if part:
                    value = share(-charge.credits, -charge.value, part, left=remainder, value_left=-charge.value - done_value)
                    _give_back(journal, charge, part, value)
                    wanted -= part
            posted = post(journal, call=call)
            lower_credit_limit(wallet)
            return posted

    return retrying(work, also=(KeyTaken,))


def _given_back(charges: Iterable[LedgerEntry]) -> dict[int, tuple[Decimal, Decimal]]:
    """Return (credits, value) reversed so far per entry, as positive numbers."""
    sums = (
        LedgerEntry.objects.filter(reverses__in=list(charges)).values_list("reverses").annotate(credits=Sum("credits"), value=Sum("value"))
    )
    done = {entry_id: (abs(credits), abs(value)) for entry_id, credits, value in sums}
    return {charge.pk: done.get(charge.pk, (ZERO, ZERO)) for charge in charges}


def _give_back(journal: Journal, charge: LedgerEntry, credits: Decimal, value: Decimal) -> None:
    links = {"reverses": charge, "usage_record_id": charge.usage_record_id, "project_id": charge.project_id}
    about = {"event_type_id": charge.event_type_id, "model": charge.model, "price_version_id": charge.price_version_id}
    journal.enter(EntryKind.REFUND, Movement(charge.lot_id, credits, value), **links, **about)
    lot = _fill(journal, charge.lot_id, credits, value)
    if lot.kind == OVERDRAFT and lot.remaining > 0:
        _unsettle(journal, lot, lot.remaining)


def _fill(journal: Journal, lot_id: int, credits: Decimal, value: Decimal) -> OpenLot:
    """Follow an entry in the journal's wallet, so that its answer counts the credits. A lot that had run empty is open again."""
    lot = next((lot for lot in journal.wallet.lots if lot.id == lot_id), None)
    if lot is None:
        lot = wallets.open_lot(Lot.objects.get(pk=lot_id))
        journal.wallet.lots.append(lot)
    lot.remaining += credits
    lot.value_remaining += value
    return lot


def _unsettle(journal: Journal, overdraft: OpenLot, credits: Decimal) -> None:
    """Reverse settlements of the overdraft, the newest first, until `credits` are back in the lots that had paid it."""
    settled = LedgerEntry.objects.filter(lot_id=overdraft.id, kind=EntryKind.TRANSFER, credits__gt=0).order_by("-id")
    for into in settled.iterator(chunk_size=50):
        out = LedgerEntry.objects.get(
            transaction_id=into.transaction_id, kind=EntryKind.TRANSFER, wallet_id=into.wallet_id, credits=-into.credits
        )
        done = _given_back([into, out])
        left = into.credits - done[into.pk][0]
        part = min(credits, left)
        if not part:
            continue
        for entry, sign in ((into, -1), (out, 1)):
            value = share(abs(entry.credits), abs(entry.value), part, left=left, value_left=abs(entry.value) - done[entry.pk][1])
            journal.enter(EntryKind.TRANSFER, Movement(entry.lot_id, sign * part, sign * value), reverses=entry)
            _fill(journal, entry.lot_id, sign * part, sign * value)
        credits -= part
        if not credits:
            return
