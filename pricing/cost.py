"""Cost: what a provider charges us for one event, from the rates of our own catalogue.

An unknown cost is `unpriced`, never zero: the record goes to a work queue and a person finds the rate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from config.base.exact import CONTEXT, ZERO, plain, round_money
from pricing.units import UnitKind, Usage, costed_as, normalise


class CostStatus(StrEnum):
    """How well the cost of an event is known."""

    PRICED = "priced"  # every kind that was used has a rate
    UNPRICED = "unpriced"  # some kind has none; the amount is unknown
    REPORTED = "reported"  # the app told what the provider charged
    NONE = "none"  # no model was called


@dataclass(frozen=True, slots=True)
class Rate:
    """What one provider charges for `per` units of one kind; `id` is the catalogue row."""

    id: int
    unit: UnitKind
    price: Decimal
    per: int
    currency: str


class CostLine(NamedTuple):
    """One kind of unit that was used; `amount` is `quantity` x `price` / `per` at 12 places."""

    unit: UnitKind
    quantity: Decimal
    rate_id: int
    price: Decimal
    per: int
    amount: Decimal

    def as_json(self) -> dict[str, str]:
        """Write the line as plain strings."""
        return {
            "unit": str(self.unit),
            "quantity": plain(self.quantity),
            "rate_id": str(self.rate_id),
            "price": plain(self.price),
            "per": str(self.per),
            "amount": plain(self.amount),
        }


class Cost(NamedTuple):
    """The cost of one event; `amount` is None unless it is known, else the sum of the lines (or what was reported)."""

    status: CostStatus
    amount: Decimal | None
    currency: str
    lines: tuple[CostLine, ...] = ()


_NONE = Cost(CostStatus.NONE, None, "")


def cost(usage: Usage | None, rates: Mapping[UnitKind, Rate], reported: Decimal | None) -> Cost:
    """Return what `usage` cost at `rates`; `reported` is the app's own figure in the book currency, and it wins.

    A reported or missing cost has no currency here (''): it is the book's. Rates of several currencies do not add up,
    so they leave the event unpriced. Calls are charged only where the provider has a rate for them.
    Raises ValueError for a usage that `units.check` finds wrong.
    """
    if reported is not None:
        return Cost(CostStatus.REPORTED, reported, "")
    if usage is None:
        return _NONE
    used = normalise(usage)
    calls = used.pop(UnitKind.REQUEST, None)
    if not used and not usage.model:
        return _NONE
    if calls is not None and UnitKind.REQUEST in rates:
        used[UnitKind.REQUEST] = calls
    lines = []
    for kind, quantity in used.items():
        known = costed_as(kind, rates)
        if known is not None:
            lines.append(_line(kind, Decimal(quantity), rates[known]))
    currencies = {rate.currency for rate in rates.values()}
    if not rates or len(lines) < len(used) or len(currencies) > 1:
        return Cost(CostStatus.UNPRICED, None, min(currencies, default=""), tuple(lines))
    amount = ZERO
    for line in lines:
        amount = CONTEXT.add(amount, line.amount)
    return Cost(CostStatus.PRICED, amount, currencies.pop(), tuple(lines))


def _line(kind: UnitKind, quantity: Decimal, rate: Rate) -> CostLine:
    amount = round_money(CONTEXT.divide(CONTEXT.multiply(quantity, rate.price), Decimal(rate.per)))
    return CostLine(kind, quantity, rate.id, rate.price, rate.per, amount)
