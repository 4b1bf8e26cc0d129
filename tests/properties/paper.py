"""The oracle: wallets on paper. Plain lists and whole numbers, written from the money rules and not from the code.

Credits are counted in millionths (`micro`), money in millionths of a millionth (`pico`), so that every rounding is an
integer division in plain sight. A command that is refused raises `No` with the code that the caller must hear.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

MICRO = 10**6
PICO = 10**12


class No(Exception):
    """The command is refused; the argument is the code."""


class Line(NamedTuple):
    """One entry: kind, number of the lot in its wallet (0: what is owed), micro-credits, pico-money, balance after."""

    kind: str
    lot: int
    credits: int
    worth: int
    balance: int


@dataclass(eq=False)
class PaperLot:
    number: int
    left: int = 0
    worth: int = 0
    unit: int = 0  # pico per credit
    is_gift: bool = False
    priority: int = 50
    ends: datetime | None = None

    def gone(self, now: datetime) -> bool:
        return self.ends is not None and self.ends <= now


@dataclass(eq=False)
class PaperHold:
    credits: int
    ends: datetime
    state: str = "open"

    def is_open(self, now: datetime) -> bool:
        return self.state == "open" and now < self.ends


@dataclass(eq=False)
class Part:
    """One entry of a charge or a settlement, and what of it has been given back."""

    lot: PaperLot
    credits: int
    worth: int
    back: int = 0
    worth_back: int = 0

    def give(self, credits: int, *, worth: int | None = None) -> int:
        """Note that `credits` go back; return what they are worth: what they are said to be, or with the last credit all the rest."""
        rest = self.worth - self.worth_back
        if worth is not None:
            worth = min(max(worth, 0), rest)
        else:
            worth = rest if credits == self.credits - self.back else min(half_up(self.worth * credits, self.credits), rest)
        self.back += credits
        self.worth_back += worth
        return worth


@dataclass(eq=False)
class PaperWallet:
    debt: PaperLot
    plan: str = ""
    limit: int = 0
    is_frozen: bool = False
    lots: list[PaperLot] = field(default_factory=list)
    holds: list[PaperHold] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    settlements: list[tuple[Part, Part]] = field(default_factory=list)

    @property
    def balance(self) -> int:
        return sum(lot.left for lot in self.lots) + self.debt.left

    def held(self, now: datetime) -> int:
        return sum(hold.credits for hold in self.holds if hold.is_open(now))

    def available(self, now: datetime) -> int:
        """Lots that last and room to owe, less what holds need of them after using up what has expired."""
        lasting = sum(lot.left for lot in self.lots if not lot.gone(now))
        return max(0, lasting + self.room - max(0, self.held(now) - self.expired(now)))

    def expired(self, now: datetime) -> int:
        return sum(lot.left for lot in self.lots if lot.gone(now))

    @property
    def room(self) -> int:
        return max(0, self.limit + self.debt.left)

    def free(self, now: datetime) -> int:
        """What may leave by hand: neither held nor owed."""
        fresh = sum(lot.left for lot in self.lots if not lot.gone(now))
        return min(max(0, fresh - max(0, self.held(now) - self.expired(now))), max(0, self.balance - self.held(now)))

    def write(self, kind: str, lot: PaperLot, credits: int, worth: int) -> Part:
        lot.left += credits
        lot.worth += worth
        self.lines.append(Line(kind, lot.number, credits, worth, self.balance))
        return Part(lot, abs(credits), abs(worth))

    def new_lot(self, credits: int, worth: int, *, is_gift: bool, ends: datetime | None = None, priority: int = 50) -> PaperLot:
        unit = half_up(worth * MICRO, credits)
        lot = PaperLot(len(self.lots) + 1, unit=unit, is_gift=is_gift, priority=priority, ends=ends)
        self.lots.append(lot)
        return lot

    def next_to_burn(self, now: datetime, *, expired_too: bool) -> PaperLot | None:
        best = None
        for lot in self.lots:
            usable = lot.left > 0 and (expired_too or not lot.gone(now))
            if not usable:
                continue
            # What a hold may take of the expired lots goes first: nobody else may have it.
            sooner = best is not None and (lot.gone(now), best.gone(now)) in {(True, False), (False, True)}
            if best is None or (lot.gone(now) if sooner and expired_too else goes_before(lot, best)):
                best = lot
        return best

    def spend(self, kind: str, credits: int, now: datetime, *, from_expired: int = 0, may_owe: bool = False) -> list[Part]:
        parts = []
        while credits and (lot := self.next_to_burn(now, expired_too=from_expired > 0)):
            part = min(credits, lot.left, from_expired) if lot.gone(now) else min(credits, lot.left)
            from_expired -= part if lot.gone(now) else 0
            worth = lot.worth if part == lot.left else min(half_up(part * lot.unit, MICRO), lot.worth)
            parts.append(self.write(kind, lot, -part, -worth))
            credits -= part
        if credits:
            assert may_owe, "spent more than there is"
            parts.append(self.write(kind, self.debt, -credits, -half_up(credits * self.debt.unit, MICRO)))
        return parts

    def charge(self, credits: int, now: datetime) -> list[Part]:
        if self.is_frozen:
            raise No("wallet_frozen")
        if credits > self.available(now):
            raise No("insufficient_credits")
        return self.spend("charge", credits, now, may_owe=True)

    def capture(self, hold: PaperHold | None, credits: int, overage: str, now: datetime) -> list[Part]:
        if hold not in self.holds or hold is None:
            raise No("unknown_hold")
        if not hold.is_open(now):
            raise No("hold_ended")
        if self.is_frozen and credits > hold.credits:
            raise No("wallet_frozen")
        if credits > hold.credits and overage == "refuse":
            raise No("insufficient_credits")
        reach = hold.credits + self.available(now)
        if overage == "available":
            credits = min(credits, reach)
        hold.state = "captured"
        in_lots = sum(lot.left for lot in self.lots if not lot.gone(now)) + min(self.expired(now), hold.credits)
        from_lots = min(credits, reach, in_lots)
        parts = self.spend("charge", from_lots, now, from_expired=hold.credits)
        owed = credits - from_lots
        if owed:
            parts.append(self.write("charge", self.debt, -owed, -half_up(owed * self.debt.unit, MICRO)))
        return parts

    def deposit(self, credits: int, worth: int, *, is_gift: bool, ends: datetime | None, priority: int) -> None:
        lot = self.new_lot(credits, worth, is_gift=is_gift, ends=ends, priority=priority)
        self.write("deposit", lot, credits, worth)
        if self.debt.left < 0:
            part = min(-self.debt.left, credits)
            out = self.write("transfer", lot, -part, -(lot.worth if part == lot.left else min(half_up(part * lot.unit, MICRO), lot.worth)))
            into_worth = -self.debt.worth if part == -self.debt.left else half_up(-self.debt.worth * part, -self.debt.left)
            self.settlements.append((self.write("transfer", self.debt, part, into_worth), out))

    def refund(self, parts: list[Part], wanted: int | None) -> None:
        """Give a charge back, what was spent last first; a debt that is settled by now is unsettled, the newest first."""
        left = sum(part.credits - part.back for part in parts)
        wanted = left if wanted is None else wanted
        if wanted > left or not left:
            raise No("refund_exceeds_charge")
        for part in reversed(parts):
            credits = min(wanted, part.credits - part.back)
            if not credits:
                continue
            wanted -= credits
            self.write("refund", part.lot, credits, part.give(credits))
            for into, out in reversed(self.settlements):
                undone = min(self.debt.left, into.credits - into.back)
                if undone > 0:
                    is_last = undone == self.debt.left  # then nothing may be left of the debt's worth either
                    self.write("transfer", self.debt, -undone, -into.give(undone, worth=self.debt.worth if is_last else None))
                    self.write("transfer", out.lot, undone, out.give(undone))

    def adjust(self, credits: int, now: datetime) -> None:
        if credits > 0:
            self.write("adjustment", self.new_lot(credits, 0, is_gift=True), credits, 0)
        elif -credits > self.free(now):
            raise No("insufficient_credits")
        else:
            self.spend("adjustment", -credits, now)

    def give(self, other: "PaperWallet", credits: int, now: datetime) -> None:
        if self.is_frozen:
            raise No("wallet_frozen")
        if credits > self.free(now):
            raise No("insufficient_credits")
        for part in self.spend("transfer", credits, now):
            lot = other.new_lot(part.credits, part.worth, is_gift=part.lot.is_gift, ends=part.lot.ends, priority=part.lot.priority)
            other.write("transfer", lot, part.credits, part.worth)

    def expire(self, now: datetime) -> None:
        """Write off what has expired, except as much as is held; what may be spent stays the same."""
        needed, before = self.held(now), self.available(now)
        writable = [lot for lot in self.lots if lot.gone(now) and lot.left > 0]
        while writable:
            lot = writable[0]
            for other in writable:
                lot = other if goes_before(other, lot) else lot
            writable.remove(lot)
            kept = min(needed, lot.left)
            needed -= kept
            if part := lot.left - kept:
                self.write("expiry", lot, -part, -(lot.worth if not kept else min(half_up(part * lot.unit, MICRO), lot.worth)))
        assert self.available(now) == before


def goes_before(one: PaperLot, other: PaperLot) -> bool:
    """Say which of two lots is spent first: priority, then soonest expiry, then promotional before paid, then oldest."""
    if one.priority != other.priority:
        return one.priority < other.priority
    if one.ends != other.ends:
        return one.ends is not None and (other.ends is None or one.ends < other.ends)
    if one.is_gift != other.is_gift:
        return one.is_gift
    return one.number < other.number


def half_up(top: int, bottom: int) -> int:
    """Divide and round half up; nothing here is negative."""
    return (2 * top + bottom) // (2 * bottom)


def micro(credits: Decimal) -> int:
    """Count credits in millionths, exactly."""
    scaled = credits.scaleb(6)
    assert scaled == int(scaled)
    return int(scaled)


def pico(money: Decimal) -> int:
    """Count money in millionths of a millionth, exactly."""
    scaled = money.scaleb(12)
    assert scaled == int(scaled)
    return int(scaled)
