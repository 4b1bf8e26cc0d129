"""What every movement of credits that is not a charge is made of: a locked wallet, the journal of its entries, lots.

A command is one transaction: lock the wallet, read its lots in a statement of their own (they are then as the last
movement left them), work out movements, write entries. The trigger on entries moves lots and wallets. The commands are in
`sales`, `ledger`, `refunds` and `withdrawals`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User

from billing.allocation import Movement, OpenLot, burn, share, spendable, take
from billing.errors import InsufficientCredits
from billing.metering import WalletState
from billing.models import EntryKind, Hold, HoldStatus, LedgerEntry, Lot, LotKind, Payment, Wallet
from billing.queries import wallets
from billing.services import one_person
from billing.services.idempotency import Call, claim, next_effect_id
from config.base.exact import CONTEXT, ZERO, plain, round_money

DEFAULT_PRIORITY = 50


def lock_wallet(wallet_id: int, *, now: datetime) -> WalletState:
    """Lock a wallet until the transaction ends, let its overdue holds go, and read its lots in burn order.

    The lock protects balance, held and lots: whoever moves credits of the wallet waits here.
    """
    wallet = Wallet.objects.select_for_update(of=("self",)).select_related("customer").get(pk=wallet_id)
    if wallet.held:
        Hold.objects.filter(wallet=wallet, status=HoldStatus.OPEN, expires_at__lte=now).update(status=HoldStatus.EXPIRED, ended_at=now)
        wallet.refresh_from_db(fields=["held"])
    return wallets.state_of(wallet, now=now)


@dataclass(slots=True)
class Journal:
    """The entries of one transaction on one wallet, in the order in which they are entered."""

    wallet: WalletState
    actor: str
    now: datetime
    request_id: str = ""
    reason: str = ""
    approved_by: User | None = None
    transaction_id: int = field(default_factory=next_effect_id)
    entries: list[LedgerEntry] = field(default_factory=list)

    def enter(self, kind: EntryKind, movement: Movement, **links: Any) -> LedgerEntry:
        """Add one entry; `links` are further columns, such as payment or reverses."""
        self.wallet.balance += movement.credits
        entry = LedgerEntry(
            transaction_id=self.transaction_id,
            wallet_id=self.wallet.id,
            lot_id=movement.lot_id,
            kind=kind,
            credits=movement.credits,
            value=movement.value,
            balance_after=self.wallet.balance,
            **{"actor": self.actor, "reason": self.reason, "request_id": self.request_id, "occurred_at": self.now, **links},
            approved_by=self.approved_by,
            recorded_at=self.now,
        )
        self.entries.append(entry)
        return entry

    def write(self) -> list[LedgerEntry]:
        """Write all entries in one statement, so that the rules hold for them together."""
        return LedgerEntry.objects.bulk_create(self.entries)


@dataclass(frozen=True, slots=True)
class Posted:
    """What a command wrote, and how the wallet stood after it."""

    transaction_id: int
    entries: Sequence[LedgerEntry]
    balance: Decimal
    available: Decimal
    replayed: bool = False


def open_lot(
    wallet: WalletState,
    *,
    kind: LotKind,
    credits: Decimal,
    value: Decimal,
    now: datetime,
    expires_at: datetime | None = None,
    priority: int = DEFAULT_PRIORITY,
    payment: Payment | None = None,
    note: str = "",
) -> OpenLot:
    """Make an empty lot for `credits`; the entry that follows fills it."""
    unit_value = round_money(CONTEXT.divide(value, credits))
    lot = Lot.objects.create(
        wallet_id=wallet.id,
        kind=kind,
        granted=credits,
        unit_value=unit_value,
        value=value,
        priority=priority,
        expires_at=expires_at,
        payment=payment,
        note=note[:200],
        created_at=now,
    )
    state = OpenLot(lot.pk, kind, credits, value, unit_value, priority, expires_at)
    wallet.lots.append(state)
    return state


def settle_overdraft(journal: Journal, lot: OpenLot, *, most: Decimal | None = None) -> Decimal:
    """Pay what the wallet owes out of `lot`, as far as it reaches and up to `most` credits; return how many that were.

    Debts of several unit values (charges, refunds of several packs) are settled at their average, and the last part takes
    what is left, so that no fraction stays a receivable.
    """
    overdraft = journal.wallet.overdraft
    if overdraft is None or overdraft.remaining >= 0:
        return ZERO
    owed, worth_owed = -overdraft.remaining, -overdraft.value_remaining
    credits = min(owed, lot.remaining) if most is None else min(owed, lot.remaining, most)
    if credits <= 0:
        return ZERO
    journal.enter(EntryKind.TRANSFER, take(lot, credits))
    worth = share(owed, worth_owed, credits, left=owed, value_left=worth_owed)
    overdraft.remaining += credits
    overdraft.value_remaining += worth
    journal.enter(EntryKind.TRANSFER, Movement(overdraft.id, credits, worth))
    return credits


def settle_from_lots(journal: Journal) -> None:
    """Pay what the wallet owes out of the bought credits that it still has, in burn order, but for what is held."""
    wallet, now = journal.wallet, journal.now
    free = spendable(wallet.lots, held=wallet.held, overdraft_limit=ZERO, now=now)
    for lot in sorted(wallet.lots, key=OpenLot.burn_key):
        if lot.kind == LotKind.PAID and not lot.is_expired(now):
            free -= settle_overdraft(journal, lot, most=free)


def settle_excess(journal: Journal) -> None:
    """Pay what the wallet owes from bought credits that came back or became free, where it owes more than it may.

    Else they could be spent anew and the debt would stay; a debt within the limit takes away from what is available anyway.
    """
    overdraft = journal.wallet.overdraft
    if overdraft is not None and -overdraft.remaining > journal.wallet.overdraft_limit:
        settle_from_lots(journal)


def settle_freed(wallet: WalletState, *, now: datetime) -> None:
    """Do the same for a wallet that is locked, when holds that had set credits aside have ended."""
    journal = Journal(wallet, "system:debts", now)
    settle_excess(journal)
    if journal.entries:
        post(journal)
        lower_credit_limit(wallet)


def lower_credit_limit(wallet: WalletState) -> None:
    """Take back the room that captures above their hold had made in the overdraft lot, as far as it has been settled."""
    if overdraft := wallet.overdraft:
        limit = max(wallet.overdraft_limit, -overdraft.remaining)
        Lot.objects.filter(pk=overdraft.id).exclude(credit_limit=limit).update(credit_limit=limit)


def take_unheld(wallet: WalletState, credits: Decimal, *, now: datetime) -> list[Movement]:
    """Take `credits` in burn order without touching what is held or going into debt. Raises InsufficientCredits."""
    free = wallet.free(now)
    movements, missing = burn(wallet.lots, min(credits, free), now=now)
    assert not missing or credits > free, "what is free is in lots that may be burned"
    if credits > free:
        raise InsufficientCredits(
            f"{plain(credits)} credits were asked for and {plain(free)} are free.",
            balance=plain(wallet.balance),
            available=plain(wallet.available),
            needed=plain(credits),
        )
    return movements


def post(journal: Journal, *, call: Call | None = None) -> Posted:
    """Write a journal, with the idempotency key that it came under. Raises NeedsSecondPerson."""
    wallet = journal.wallet
    one_person.refuse_above_limit(journal.entries, now=journal.now)
    wallet.settle_view(journal.now)
    for entry in journal.entries:
        entry.available_after = wallet.available if entry.wallet_id == wallet.id else None
    entries = journal.write()
    if call:
        claim(call, effect_id=journal.transaction_id, occurred_at=journal.now)
    return Posted(journal.transaction_id, entries, wallet.balance, wallet.available)


def replayed(transaction_id: int) -> Posted:
    """Answer a repeated call from its entries."""
    entries = list(LedgerEntry.objects.filter(transaction_id=transaction_id).order_by("id"))
    last = entries[-1]
    assert last.available_after is not None
    return Posted(transaction_id, entries, last.balance_after, last.available_after, replayed=True)
