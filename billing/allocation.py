"""Which lots pay: the arithmetic of burning, settling and giving back credits. Pure; no database.

Burn order (`DESIGN`: priority, then soonest expiry, then promotional before paid, then oldest), with the overdraft last.
Values follow the credits: an entry is worth its credits times the lot's unit value, and the entry that empties a lot
takes what value is left, so that the values of a lot's entries add up to the lot to the last place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from config.base.exact import CONTEXT, ZERO, round_money

OVERDRAFT = "overdraft"
PROMOTIONAL = "promotional"


@dataclass(slots=True)
class OpenLot:
    """A lot as the locked read returned it; `remaining` and `value_remaining` go down as a flush spends from it."""

    id: int
    kind: str
    remaining: Decimal
    value_remaining: Decimal
    unit_value: Decimal
    priority: int
    expires_at: datetime | None

    def burn_key(self) -> tuple[bool, int, bool, float, bool, int]:
        """Sort key of the burn order."""
        expires = self.expires_at
        return (
            self.kind == OVERDRAFT,
            self.priority,
            expires is None,
            expires.timestamp() if expires else 0.0,
            self.kind != PROMOTIONAL,
            self.id,
        )

    def is_expired(self, now: datetime) -> bool:
        """An expired lot pays for nothing; the sweep writes its expiry."""
        return self.expires_at is not None and self.expires_at <= now


class Movement(NamedTuple):
    """Credits and their value into (positive) or out of (negative) one lot."""

    lot_id: int
    credits: Decimal
    value: Decimal


def value_of(lot: OpenLot, credits: Decimal) -> Decimal:
    """Return what `credits` (positive) taken from `lot` are worth: all that is left of its value if they empty it."""
    if lot.kind != OVERDRAFT and credits == lot.remaining:
        return lot.value_remaining
    value = round_money(CONTEXT.multiply(credits, lot.unit_value))
    return value if lot.kind == OVERDRAFT else min(value, lot.value_remaining)


def take(lot: OpenLot, credits: Decimal) -> Movement:
    """Take `credits` (positive) out of `lot` and return the movement."""
    value = value_of(lot, credits)
    lot.remaining -= credits
    lot.value_remaining -= value
    return Movement(lot.id, -credits, -value)


def burn(lots: Sequence[OpenLot], credits: Decimal, *, now: datetime, reserved: Decimal = ZERO) -> tuple[list[Movement], Decimal]:
    """Take `credits` from `lots`, which are in burn order; return the movements and the part that no lot could pay.

    The overdraft lot is left alone: what a wallet may owe is the caller's decision. As many credits as were `reserved`
    by a hold before their lot expired may still come from expired lots.
    """
    if reserved:  # else a hold would take fresh credits and leave the expired ones, which then nobody may have
        lots = sorted(lots, key=lambda lot: not lot.is_expired(now))
    movements: list[Movement] = []
    missing = credits
    for lot in lots:
        if not missing:
            break
        is_expired = lot.is_expired(now)
        part = min(lot.remaining, missing, reserved) if is_expired else min(lot.remaining, missing)
        if lot.kind == OVERDRAFT or part <= 0:
            continue
        if is_expired:
            reserved -= part
        movements.append(take(lot, part))
        missing -= part
    return movements, missing


def spendable(lots: Iterable[OpenLot], *, held: Decimal, overdraft_limit: Decimal, now: datetime) -> Decimal:
    """Return the credits available for a new charge: unexpired lots and overdraft room, less what holds set aside.

    Expired lots can serve holds only, so they shield the others from being held: what a hold set aside before it expired
    is what would have been spent first. The sweep leaves as much of them as is held, so it never changes what is available.
    """
    fresh = expired = ZERO
    room = ZERO
    for lot in lots:
        if lot.kind == OVERDRAFT:
            room = max(overdraft_limit + lot.remaining, ZERO)
        elif lot.is_expired(now):
            expired += lot.remaining
        else:
            fresh += lot.remaining
    return max(fresh + room - max(held - expired, ZERO), ZERO)


def share(whole_credits: Decimal, whole_value: Decimal, part: Decimal, *, left: Decimal, value_left: Decimal) -> Decimal:
    """Return the value of giving back `part` of a movement of `whole_credits` worth `whole_value`, all signs positive.

    `left` and `value_left` are what has not been given back yet; the part that takes the last credit takes the rest.
    """
    if part == left:
        return value_left
    return min(round_money(CONTEXT.divide(CONTEXT.multiply(whole_value, part), whole_credits)), value_left)
