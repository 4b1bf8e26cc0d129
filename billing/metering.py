"""Deciding what one event costs and which lots pay. Pure arithmetic on what the locked read returned; no database.

`Decider` goes through the events of one flush in order. Wallets are mutable here: each decision leaves the wallet as the
next event finds it, so a thousand events on one wallet cost one lock and one read.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from billing.allocation import OVERDRAFT, Movement, OpenLot, burn, spendable, take
from billing.events import Event, Overage, Refused
from config.base.exact import CONTEXT, ZERO, plain
from pricing.price import EVENT_UNIT, LineKind, PriceLine


@dataclass(slots=True)
class WalletState:
    """One locked wallet. `available` is kept in step with the lots and the holds."""

    id: int
    customer_id: int
    plan: str
    balance: Decimal
    held: Decimal
    overdraft_limit: Decimal
    is_frozen: bool
    lots: list[OpenLot] = field(default_factory=list)
    available: Decimal = ZERO

    def settle_view(self, now: datetime) -> None:
        """Put the lots in burn order and work out what is available."""
        self.lots.sort(key=OpenLot.burn_key)
        self.available = spendable(self.lots, held=self.held, overdraft_limit=self.overdraft_limit, now=now)

    def free(self, now: datetime) -> Decimal:
        """Return the credits that are neither held nor owed nor expired: what may be taken by hand."""
        fresh = spendable(self.lots, held=self.held, overdraft_limit=ZERO, now=now)
        return min(fresh, max(self.balance - self.held, ZERO))

    @property
    def overdraft(self) -> OpenLot | None:
        """The lot that carries what the wallet owes, if it may owe anything."""
        return next((lot for lot in self.lots if lot.kind == OVERDRAFT), None)


@dataclass(slots=True)
class HoldState:
    """One hold that an event of this flush captures."""

    id: int
    wallet_id: int
    api_key_id: int | None
    event_type_id: int
    credits: Decimal
    status: str
    expires_at: datetime

    def is_open(self, now: datetime) -> bool:
        """Say whether its credits are still set aside."""
        return self.status == "open" and self.expires_at > now


class Payment(NamedTuple):
    """How a wallet pays for one event."""

    credits: Decimal
    movements: tuple[Movement, ...]
    waived: PriceLine | None = None
    # The overdraft lot needs this limit before the movements can be written (a capture that was allowed to exceed).
    credit_limit: Decimal | None = None


def insufficient(wallet: WalletState, needed: Decimal) -> Refused:
    """Refuse with the figures that a top-up prompt needs."""
    return Refused(
        "insufficient_credits",
        f"The action costs {plain(needed)} credits and {plain(wallet.available)} are available. "
        "Top up the wallet and send the same event again.",
        {"balance": plain(wallet.balance), "available": plain(wallet.available), "needed": plain(needed)},
    )


FROZEN = Refused("wallet_frozen", "The wallet is frozen. Ask the operator to release it, then send the same event again.")


def pay(wallet: WalletState, credits: Decimal, *, now: datetime) -> Payment | Refused:
    """Take `credits` from the wallet's lots in burn order, overdraft last, or refuse and take nothing."""
    if wallet.is_frozen:
        return FROZEN
    if credits > wallet.available:
        return insufficient(wallet, credits)
    movements, missing = burn(wallet.lots, credits, now=now)
    if missing:
        lot = wallet.overdraft
        assert lot is not None, "overdraft room without an overdraft lot"
        movements.append(take(lot, missing))
    wallet.balance -= credits
    wallet.available -= credits
    return Payment(credits, tuple(movements))


def most_that_is_charged(wallet: WalletState, event: Event, credits: Decimal, set_aside: Decimal) -> Decimal:
    """Return what an event of so many credits will take: less where it captures a hold and may take what there is."""
    if event.capture and event.capture.overage is Overage.AVAILABLE:
        return min(credits, set_aside + wallet.available)
    return credits


def capture(wallet: WalletState, hold: HoldState | None, event: Event, credits: Decimal, *, now: datetime) -> Payment | Refused:
    """End a hold by charging `credits`, at most what was held unless the overage policy says otherwise.

    A frozen wallet pays what was set aside before, and nothing more.
    """
    claim = event.capture
    assert claim is not None
    if hold is None or hold.wallet_id != wallet.id:
        return Refused("unknown_hold", "There is no such hold on this project. Check the id that the hold was answered with.")
    if not hold.is_open(now):
        ended = hold.status if hold.status != "open" else "expired"
        return Refused("hold_ended", f"The hold is {ended}. Report the action as an event instead.", {"hold_status": ended})
    if wallet.is_frozen and credits > hold.credits:
        return FROZEN
    ceiling = hold.credits + wallet.available
    waived = None
    if credits > hold.credits and claim.overage is Overage.REFUSE:
        return Refused(
            "insufficient_credits",
            f"The action costs {plain(credits)} credits and {plain(hold.credits)} are held. "
            "Capture with overage 'available' or 'allow', or place a larger hold.",
            {"balance": plain(wallet.balance), "available": plain(wallet.available), "needed": plain(credits), "held": plain(hold.credits)},
        )
    if credits > ceiling and claim.overage is Overage.AVAILABLE:
        short = CONTEXT.subtract(ceiling, credits)
        waived = PriceLine(LineKind.WAIVED, EVENT_UNIT, Decimal(1), 1, short, short)
        credits = ceiling
    # What exceeds the ceiling is owed at once, so that it never eats what other holds have set aside.
    within = min(credits, ceiling)
    movements, missing = burn(wallet.lots, within, now=now, reserved=hold.credits)
    owed = CONTEXT.add(missing, CONTEXT.subtract(credits, within))
    credit_limit = None
    if owed:
        lot = wallet.overdraft
        assert lot is not None, "a capture that may exceed ensures the overdraft lot first"
        movements.append(take(lot, owed))
        credit_limit = max(wallet.overdraft_limit, -lot.remaining)
    hold.status = "captured"
    wallet.balance -= credits
    wallet.held -= hold.credits
    wallet.available = spendable(wallet.lots, held=wallet.held, overdraft_limit=wallet.overdraft_limit, now=now)
    return Payment(credits, tuple(movements), waived, credit_limit)
