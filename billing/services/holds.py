"""Holds: authorise an action before it starts, settle it when it ends.

Placing one takes the wallet's lock, so two holds never set aside the same credits. A capture is a charge and goes
through the one door that charges have.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import DatabaseError, transaction

from billing.budgeting import Counted
from billing.errors import (
    BudgetExceeded,
    HoldEnded,
    InsufficientCredits,
    InvalidRequest,
    NoPrice,
    UnknownEventType,
    UnknownHold,
    WalletFrozen,
)
from billing.events import Caller, Event, Overage, Result
from billing.metering import FROZEN, insufficient
from billing.models import Customer, Hold, HoldStatus
from billing.services import budget_gate, charging
from billing.services.charging import KeyTaken
from billing.services.customers import ensure_overdraft_lot
from billing.services.idempotency import Call, claim, find_effect, next_effect_id
from billing.services.journal import lock_wallet, settle_freed
from billing.services.ledger import write_off_expired
from config.base.database import retrying
from pricing import price_book
from pricing.rating import rate

log = logging.getLogger(__name__)
MAX_SECONDS = 7 * 24 * 3600
DEFAULT_SECONDS = 15 * 60


@dataclass(frozen=True, slots=True)
class Placed:
    """A hold as it was placed, and what the wallet had left then."""

    hold: Hold
    available: Decimal
    replayed: bool = False


def place(
    *,
    caller: Caller,
    customer: Customer,
    event: str,
    quantity: Decimal | None,
    credits: Decimal | None,
    expires_in: int,
    now: datetime,
    call: Call,
    request_id: str = "",
) -> Placed:
    """Set aside `credits`, or what `quantity` events cost now, for `expires_in` seconds.

    Raises UnknownEventType, NoPrice, InvalidRequest (a price of zero), WalletFrozen, InsufficientCredits, BudgetExceeded,
    IdempotencyMismatch.
    """

    def work() -> Placed:
        with transaction.atomic():
            wallet = lock_wallet(customer.wallet.pk, now=now)
            if call and (effect := find_effect(call)):
                hold = Hold.objects.get(pk=effect.effect_id)
                return Placed(hold, hold.available_after, replayed=True)
            book = price_book.current()
            kind = book.event_types.get(event)
            if kind is None or not kind.is_active:
                raise UnknownEventType(f"There is no active event type {event!r}. Create it in the admin under Event types.")
            needed = credits
            if needed is None:
                price = book.price_for(event_type_id=kind.id, customer_key=customer.price_key, plan=customer.plan, at=now)
                if price is None:
                    raise NoPrice(f"No price of {event!r} is in force. Publish one in the admin under Price rules.")
                needed = rate(price, quantity=quantity or Decimal(1), usage=None).credits
                if not needed:
                    raise InvalidRequest("credits", "must be given: the price of this event depends on what it will use")
            if wallet.is_frozen:
                raise WalletFrozen(FROZEN.detail)
            # What has expired already serves the holds that were placed before, never a new one.
            write_off_expired(wallet, now=now)
            if needed > wallet.available:
                refused = insufficient(wallet, needed)
                raise InsufficientCredits(refused.detail, **refused.figures)
            claimed = Event(caller, event, "", b"", customer=customer.external_id)
            meters = budget_gate.of_event(claimed, now=now)
            if over := budget_gate.refusal(meters, Counted(needed, None, None), is_dated=False, now=now):
                raise BudgetExceeded(over.detail, **over.figures)
            hold = Hold(
                id=next_effect_id(),
                project_id=caller.project_id,
                api_key_id=caller.api_key_id,
                wallet_id=wallet.id,
                event_type_id=kind.id,
                quantity=quantity,
                credits=needed,
                available_after=wallet.available - needed,
                request_id=request_id,
                created_at=now,
                first_expires_at=now + timedelta(seconds=expires_in),
                expires_at=now + timedelta(seconds=expires_in),
            )
            hold.save(force_insert=True)
            claim(call, effect_id=hold.pk, occurred_at=now)
            return Placed(hold, hold.available_after)

    return retrying(work, also=(KeyTaken,))


def capture(*, event: Event, customer: str, now: datetime) -> Result:
    """End a hold of `customer` by the event that it was placed for. Raises UnknownHold."""
    claim = event.capture
    assert claim is not None
    if claim.overage is Overage.ALLOW:
        with transaction.atomic():
            ensure_overdraft_lot(wallet_id=get(caller=event.caller, hold_id=claim.hold_id).wallet_id, now=now)
    [result] = charging.charge([event._replace(customer=customer)], now=now)
    return result


def release(*, caller: Caller, hold_id: int, now: datetime) -> Hold:
    """Give the credits of an open hold back; doing it again changes nothing. Raises UnknownHold, HoldEnded (captured)."""
    with transaction.atomic():
        hold = _locked(caller, hold_id, now)
        if hold.status == HoldStatus.OPEN:
            hold.status, hold.ended_at = HoldStatus.RELEASED, now
            hold.save(update_fields=["status", "ended_at"])
            settle_freed(lock_wallet(hold.wallet_id, now=now), now=now)
        elif hold.status == HoldStatus.CAPTURED:
            raise HoldEnded("The hold was captured. Refund the event instead.", hold_status=hold.status)
        return hold


def extend(*, caller: Caller, hold_id: int, expires_in: int, now: datetime) -> Hold:
    """Let an open hold last until `expires_in` seconds from now; never shortens it. Raises UnknownHold, HoldEnded."""
    with transaction.atomic():
        hold = _locked(caller, hold_id, now)
        if hold.status != HoldStatus.OPEN:
            raise HoldEnded(f"The hold is {hold.status}. Place a new one.", hold_status=hold.status)
        hold.expires_at = max(hold.expires_at, now + timedelta(seconds=expires_in))
        hold.save(update_fields=["expires_at"])
        return hold


def expire_due(*, now: datetime) -> int:
    """Give back all holds whose time is over; return of how many wallets."""
    due = Hold.objects.filter(status=HoldStatus.OPEN, expires_at__lte=now).values_list("wallet_id", flat=True).distinct()
    wallet_ids = sorted(due)
    for wallet_id in wallet_ids:
        try:
            with transaction.atomic():
                settle_freed(lock_wallet(wallet_id, now=now), now=now)
        except DatabaseError:
            log.exception("holds of wallet %s could not be ended; the next sweep tries again", wallet_id)
    return len(wallet_ids)


def get(*, caller: Caller, hold_id: int) -> Hold:
    """Return a hold of the caller's project and environment. Raises UnknownHold."""
    hold = (
        Hold.objects.filter(pk=hold_id, project_id=caller.project_id, wallet__customer__environment=caller.environment)
        .select_related("wallet__customer", "event_type")
        .first()
    )
    if hold is None:
        raise UnknownHold("There is no such hold in this project. Check the id that the hold was answered with.")
    return hold


def _locked(caller: Caller, hold_id: int, now: datetime) -> Hold:
    """Lock the hold's wallet, let overdue holds go, and return the hold as it is then."""
    wallet_id = get(caller=caller, hold_id=hold_id).wallet_id
    lock_wallet(wallet_id, now=now)
    return get(caller=caller, hold_id=hold_id)
