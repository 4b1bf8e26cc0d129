"""Movements that no payment and no usage stands behind: grants, adjustments, transfers, and what expires.

What is paid for comes by `sales`; refunds of charges and of sales are in `refunds` and `withdrawals`.
"""

from datetime import datetime
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import transaction

from billing.allocation import OVERDRAFT, Movement, take
from billing.errors import InvalidRequest, WalletFrozen
from billing.metering import FROZEN, WalletState
from billing.models import EntryKind, LotKind
from billing.services.journal import DEFAULT_PRIORITY, Journal, Posted, lock_wallet, open_lot, post, take_unheld
from config.base.database import retrying
from config.base.exact import ZERO


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
