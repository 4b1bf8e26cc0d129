"""Giving credits back to the lots that they came from: the steps that refunds of charges and of top-ups share."""

from collections.abc import Iterable
from decimal import Decimal

from django.db.models import Sum

from billing.allocation import Movement, OpenLot, share
from billing.models import EntryKind, LedgerEntry, Lot
from billing.queries import wallets
from billing.services.journal import Journal
from config.base.exact import ZERO


def given_back(charges: Iterable[LedgerEntry]) -> dict[int, tuple[Decimal, Decimal]]:
    """Return (credits, value) reversed so far per entry, as positive numbers."""
    sums = (
        LedgerEntry.objects.filter(reverses__in=list(charges)).values_list("reverses").annotate(credits=Sum("credits"), value=Sum("value"))
    )
    done = {entry_id: (abs(credits), abs(value)) for entry_id, credits, value in sums}
    return {charge.pk: done.get(charge.pk, (ZERO, ZERO)) for charge in charges}


def fill(journal: Journal, lot_id: int, credits: Decimal, value: Decimal) -> OpenLot:
    """Follow an entry in the journal's wallet, so that its answer counts the credits. A lot that had run empty is open again."""
    lot = next((lot for lot in journal.wallet.lots if lot.id == lot_id), None)
    if lot is None:
        lot = wallets.open_lot(Lot.objects.get(pk=lot_id))
        journal.wallet.lots.append(lot)
    lot.remaining += credits
    lot.value_remaining += value
    return lot


def unsettle(journal: Journal, overdraft: OpenLot) -> None:
    """Reverse settlements of the overdraft, the newest first, until it is no longer above zero; the credits go back to the lots.

    The part that brings it to zero takes what is left of its value, so that a debt which is gone is worth nothing, whatever
    the debts were worth that had been settled together.
    """
    settled = LedgerEntry.objects.filter(lot_id=overdraft.id, kind=EntryKind.TRANSFER, credits__gt=0, reverses=None).order_by("-id")
    for into in settled.iterator(chunk_size=50):
        if overdraft.remaining <= 0:
            return
        out = _other_side(into)
        done = given_back([into, out])
        left = into.credits - done[into.pk][0]
        part = min(overdraft.remaining, left)
        if not part:
            continue
        worth_left = abs(into.value) - done[into.pk][1]
        worth = share(into.credits, abs(into.value), part, left=left, value_left=worth_left)
        if part == overdraft.remaining and into.value >= 0:
            worth = min(max(overdraft.value_remaining, ZERO), worth_left)
        worth_out = share(into.credits, abs(out.value), part, left=left, value_left=abs(out.value) - done[out.pk][1])
        journal.enter(EntryKind.TRANSFER, Movement(into.lot_id, -part, worth if into.value < 0 else -worth), reverses=into)
        fill(journal, into.lot_id, -part, worth if into.value < 0 else -worth)
        journal.enter(EntryKind.TRANSFER, Movement(out.lot_id, part, worth_out), reverses=out)
        fill(journal, out.lot_id, part, worth_out)


def _other_side(into: LedgerEntry) -> LedgerEntry:
    """Return the entry that took the credits of a settlement out of a lot: the one written just before."""
    same = LedgerEntry.objects.filter(transaction_id=into.transaction_id, wallet_id=into.wallet_id, kind=EntryKind.TRANSFER)
    return same.filter(credits=-into.credits, id__lt=into.pk).exclude(lot_id=into.lot_id).latest("id")
