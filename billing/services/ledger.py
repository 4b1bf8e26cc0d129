"""Every movement of credits that is not a charge: deposits, grants, adjustments, transfers, expiries, refunds.

Each command is one transaction: lock the wallet, read its lots in a statement of their own (they are then as the last
movement left them), work out movements, write entries. The trigger on entries moves lots and wallets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from billing.allocation import OVERDRAFT, Movement, OpenLot, burn, share, spendable, take
from billing.errors import InsufficientCredits, InvalidRequest, PaymentAlreadyCredited, WalletFrozen
from billing.metering import FROZEN, WalletState
from billing.models import Customer, EntryKind, Hold, HoldStatus, LedgerEntry, Lot, LotKind, Payment, PaymentSource, Wallet
from billing.queries import wallets
from billing.services import one_person
from billing.services.charging import KeyTaken
from billing.services.idempotency import Call, claim, find_effect, next_effect_id
from config.base.database import retrying
from config.base.exact import CONTEXT, MAX_MONEY, ZERO, plain, round_money
from pricing.queries import workspace

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


def deposit(
    *,
    wallet_id: int,
    credits: Decimal,
    amount: Decimal,
    currency: str,
    source: PaymentSource,
    payment_id: str,
    actor: str,
    now: datetime,
    is_promotional: bool = False,
    expires_at: datetime | None = None,
    priority: int = DEFAULT_PRIORITY,
    metadata: dict[str, Any] | None = None,
    request_id: str = "",
    call: Call | None = None,
) -> Posted:
    """Put bought credits into a lot of their own, and settle what the wallet owes from it.

    `amount` is in the book currency and becomes the lot's value. `call` makes it repeatable.
    Raises InvalidRequest (currency, expiry), IdempotencyMismatch, PaymentAlreadyCredited.
    """

    def work() -> Posted:
        with transaction.atomic():
            wallet = lock_wallet(wallet_id, now=now)
            if call and (effect := find_effect(call)):
                return replayed(effect.effect_id)
            sale = Sale(credits, amount, currency, source, payment_id, is_promotional, expires_at, priority, metadata or {})
            return credit_sale(Journal(wallet, actor, now, request_id), sale, call=call)

    return retrying(work, also=(KeyTaken,))


@dataclass(frozen=True, slots=True)
class Sale:
    """Credits that were paid for: `amount` in the book currency becomes their value; the bonus comes on top, worth nothing."""

    credits: Decimal
    amount: Decimal
    currency: str
    source: PaymentSource
    payment_id: str
    is_promotional: bool = False
    expires_at: datetime | None = None
    priority: int = DEFAULT_PRIORITY
    metadata: dict[str, Any] = field(default_factory=dict)
    bonus_credits: Decimal = ZERO
    bonus_expires_at: datetime | None = None


def credit_sale(journal: Journal, sale: Sale, *, call: Call | None = None) -> Posted:
    """Put what was sold into lots of the journal's wallet, which is locked, and settle what the wallet owes.

    Raises InvalidRequest (currency, expiry), PaymentAlreadyCredited.
    """
    wallet, now = journal.wallet, journal.now
    books = workspace.load().currency
    if sale.currency != books:
        raise InvalidRequest("currency", f"must be {books}, the currency of the books")
    if sale.expires_at and sale.expires_at <= now:
        raise InvalidRequest("expires_at", "must lie in the future")
    if sale.amount > sale.credits * MAX_MONEY:
        raise InvalidRequest("amount", "is more per credit than can be recorded")
    customer = Customer.objects.get(wallet=wallet.id)
    payment, is_new = Payment.objects.get_or_create(
        project_id=customer.project_id,
        environment=customer.environment,
        source=sale.source,
        external_id=sale.payment_id,
        defaults={
            "wallet_id": wallet.id,
            "amount": sale.amount,
            "currency": sale.currency,
            "metadata": sale.metadata,
            "received_at": now,
        },
    )
    if not is_new:
        raise PaymentAlreadyCredited(
            f"Payment {sale.payment_id} has been credited already. To repeat the call, use its own idempotency key."
        )
    kind = LotKind.PROMOTIONAL if sale.is_promotional else LotKind.PAID
    lot = open_lot(
        wallet,
        kind=kind,
        credits=sale.credits,
        value=sale.amount,
        now=now,
        expires_at=sale.expires_at,
        priority=sale.priority,
        payment=payment,
    )
    journal.enter(EntryKind.DEPOSIT, Movement(lot.id, sale.credits, sale.amount), payment=payment)
    settle_overdraft(journal, lot)
    if sale.bonus_credits:
        bonus = open_lot(
            wallet,
            kind=LotKind.PROMOTIONAL,
            credits=sale.bonus_credits,
            value=ZERO,
            now=now,
            expires_at=sale.bonus_expires_at,
            priority=sale.priority,
            payment=payment,
            note="Bonus",
        )
        journal.enter(EntryKind.GRANT, Movement(bonus.id, sale.bonus_credits, ZERO), payment=payment, reason="Bonus")
    posted = post(journal, call=call)
    lower_credit_limit(wallet)
    return posted


def grant(
    *,
    wallet_id: int,
    credits: Decimal,
    reason: str,
    actor: str,
    now: datetime,
    expires_at: datetime | None = None,
    priority: int = DEFAULT_PRIORITY,
    approved_by: User | None = None,
) -> Posted:
    """Give credits. They are worth nothing in the books and are spent before paid ones of the same expiry.

    Raises InvalidRequest (expiry), NeedsSecondPerson.
    """
    if expires_at and expires_at <= now:
        raise InvalidRequest("expires_at", "must lie in the future")
    with transaction.atomic():
        wallet = lock_wallet(wallet_id, now=now)
        journal = Journal(wallet, actor, now, reason=reason, approved_by=approved_by)
        lot = open_lot(
            wallet, kind=LotKind.PROMOTIONAL, credits=credits, value=ZERO, now=now, expires_at=expires_at, priority=priority, note=reason
        )
        journal.enter(EntryKind.GRANT, Movement(lot.id, credits, ZERO))
        return post(journal)


def adjust(*, wallet_id: int, credits: Decimal, reason: str, actor: str, now: datetime, approved_by: User | None = None) -> Posted:
    """Correct a wallet by hand: positive credits come as a lot without value, negative ones leave in burn order.

    Raises InsufficientCredits when more would be taken than is neither held nor owed; NeedsSecondPerson.
    """
    with transaction.atomic():
        wallet = lock_wallet(wallet_id, now=now)
        journal = Journal(wallet, actor, now, reason=reason, approved_by=approved_by)
        if credits > 0:
            lot = open_lot(wallet, kind=LotKind.PROMOTIONAL, credits=credits, value=ZERO, now=now, note=reason)
            journal.enter(EntryKind.ADJUSTMENT, Movement(lot.id, credits, ZERO))
        else:
            for movement in take_unheld(wallet, -credits, now=now):
                journal.enter(EntryKind.ADJUSTMENT, movement)
        return post(journal)


def transfer(
    *,
    from_wallet_id: int,
    to_wallet_id: int,
    credits: Decimal,
    reason: str,
    actor: str,
    now: datetime,
    approved_by: User | None = None,
) -> Posted:
    """Move credits to another wallet with their value, expiry and priority; return how the giving wallet stands.

    Raises InsufficientCredits, WalletFrozen, InvalidRequest (same wallet), NeedsSecondPerson.
    """
    if from_wallet_id == to_wallet_id:
        raise InvalidRequest("wallet", "must be another wallet than the one that the credits leave")

    def work() -> Posted:
        with transaction.atomic():
            states = {wallet_id: lock_wallet(wallet_id, now=now) for wallet_id in sorted((from_wallet_id, to_wallet_id))}
            giving, taking = states[from_wallet_id], states[to_wallet_id]
            if giving.is_frozen:
                raise WalletFrozen(FROZEN.detail)
            origins = {lot.id: lot for lot in giving.lots}
            out = Journal(giving, actor, now, reason=reason, approved_by=approved_by)
            into = Journal(taking, actor, now, reason=reason, approved_by=approved_by, transaction_id=out.transaction_id)
            for movement in take_unheld(giving, credits, now=now):
                origin = origins[movement.lot_id]
                out.enter(EntryKind.TRANSFER, movement)
                lot = open_lot(
                    taking,
                    kind=LotKind(origin.kind),
                    credits=-movement.credits,
                    value=-movement.value,
                    now=now,
                    expires_at=origin.expires_at,
                    priority=origin.priority,
                    note=reason,
                )
                into.enter(EntryKind.TRANSFER, Movement(lot.id, -movement.credits, -movement.value))
            out.entries += into.entries
            return post(out)

    return retrying(work)


def expire(*, wallet_id: int, now: datetime) -> Posted | None:
    """Write off what is left in the wallet's expired lots, except what open holds have set aside; None if nothing is."""
    with transaction.atomic():
        return write_off_expired(lock_wallet(wallet_id, now=now), now=now)


def write_off_expired(wallet: WalletState, *, now: datetime) -> Posted | None:
    """Do the same for a wallet that is locked."""
    reserve = wallet.held
    journal = Journal(wallet, "system:expiry", now)
    for lot in wallet.lots:
        if lot.kind == OVERDRAFT or lot.remaining <= 0 or not lot.is_expired(now):
            continue
        kept = min(reserve, lot.remaining)
        reserve -= kept
        if lot.remaining > kept:
            journal.enter(EntryKind.EXPIRY, take(lot, lot.remaining - kept), occurred_at=lot.expires_at)
    return post(journal) if journal.entries else None


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
