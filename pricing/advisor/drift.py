"""Drift: why the margin per event is not what it was, in parts that add up to the last digit.

The margin per event is what customers had paid for its credits, less what the providers charged for it:

    margin = credits per event x value per credit
             - calls per event x sum over routes (share of the calls
                                                  x sum over units (units per call of the group
                                                                    x split inside the group
                                                                    x price per unit))

A **route** is a model in a service tier, in a batch or not. Units form groups: the input side (input, cache read, cache
writes), the output side (output, reasoning), every other unit alone.

One factor after the other is moved from the baseline to the current window, in the order of `PARTS`, and what the margin
would then have been is worked out in fractions and rounded once, at 12 places. A part is the difference of two such
margins side by side, so the parts add up to the whole whatever the rounding does. Causes that act together (a dearer
model that also got longer prompts) are counted with the later one. The order goes from what we can change least to what
we can change most: prices that providers set, then what we asked them for, then how well we asked, then our own price.

What exists in one window only:

* a route that came or went takes its prices and units from the window where it exists, so that it shows as `model_mix`;
* a unit that a route did not use in one window takes its price, and a group its split, from the other window;
* a cost that an app reported itself is a route of its own, apart from the same model's units: its price is the cost per
  call, since nothing more is known of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Final, NamedTuple

from config.base.exact import MONEY_PLACES, from_fraction
from pricing.advisor.evidence import REPORTED, Consumed, Window
from pricing.price import ONE
from pricing.units import UnitKind

PARTS: Final = ("provider_price", "model_mix", "tokens", "cache", "retries", "credits", "credit_value")
INPUT_SIDE: Final = "input"
OUTPUT_SIDE: Final = "output"
_GROUPS: Final[Mapping[str, str]] = {
    UnitKind.INPUT: INPUT_SIDE,
    UnitKind.CACHE_READ: INPUT_SIDE,
    UnitKind.CACHE_WRITE: INPUT_SIDE,
    UnitKind.CACHE_WRITE_1H: INPUT_SIDE,
    UnitKind.OUTPUT: OUTPUT_SIDE,
    UnitKind.REASONING: OUTPUT_SIDE,
}
NOTHING: Final = Fraction(0)


class Route(NamedTuple):
    """Where a call went."""

    provider: str
    model: str
    service_tier: str
    batch: bool
    is_reported: bool


Amounts = Mapping[Route, Mapping[str, Fraction]]


class Turn(NamedTuple):
    """A figure in the baseline and in the current window."""

    before: Fraction
    now: Fraction


@dataclass(frozen=True, slots=True)
class Change:
    """What moved the margin per event from `margins[0]` to `margins[-1]`; `margins[i + 1]` is after the i-th of `PARTS`."""

    margins: tuple[Fraction, ...]
    calls: Turn  # per event
    share: Mapping[Route, Turn]  # of the calls
    dearer: Mapping[Route, Fraction]  # what the new prices alone add to the cost per event
    per_call: Mapping[str, Turn]  # units of each group, with the routes as they are now
    from_cache: Turn  # share of the input side read from the cache, with the routes and lengths as they are now
    credits: Turn  # per event
    credit_value: Turn

    def amounts(self) -> dict[str, Fraction]:
        """Return each part, exactly a difference of two margins that are rounded at 12 places."""
        rounded = [Fraction(from_fraction(margin, MONEY_PLACES)) for margin in self.margins]
        return {name: after - before for name, (before, after) in zip(PARTS, pairwise(rounded), strict=True)}


@dataclass(frozen=True, slots=True)
class _Side:
    """One window's factors of the cost per event, filled up from the other window where it has none of its own."""

    calls: Fraction
    share: Mapping[Route, Fraction]
    per_call: Amounts  # by group
    split: Amounts  # by unit
    price: Amounts  # by unit

    def cost(self) -> Fraction:
        return self.calls * sum((share * self.cost_of(route) for route, share in self.share.items()), NOTHING)

    def cost_of(self, route: Route) -> Fraction:
        """Return the cost of one call on `route`."""
        per_call, split, price = self.per_call[route], self.split[route], self.price[route]
        return sum((per_call[group_of(unit)] * split[unit] * price[unit] for unit in price), NOTHING)


def decompose(baseline: Window, current: Window) -> Change:
    """Return what changed from `baseline` to `current`; both have events of known cost.

    Raises ValueError where the costs of the models are not the cost of their window.
    """
    before, now = _side(baseline, current), _side(current, baseline)
    # Each line moves one more factor to what it is now.
    priced = _Side(before.calls, before.share, before.per_call, before.split, now.price)
    mixed = _Side(before.calls, now.share, before.per_call, before.split, now.price)
    lengthened = _Side(before.calls, now.share, now.per_call, _outside_the_input(before.split, now.split), now.price)
    cached = _Side(before.calls, now.share, now.per_call, now.split, now.price)
    costs = [side.cost() for side in (before, priced, mixed, lengthened, cached, now)]
    credits = Turn(_per_event(baseline.credits, baseline), _per_event(current.credits, current))
    values = Turn(_per_event(baseline.value, baseline), _per_event(current.value, current))
    credit_value = _filled(_ratio(values.before, credits.before), _ratio(values.now, credits.now))
    margins = (
        *(values.before - cost for cost in costs),
        credits.now * credit_value.before - costs[-1],
        values.now - costs[-1],
    )
    return Change(
        margins=margins,
        calls=Turn(before.calls, now.calls),
        share={route: Turn(before.share[route], now.share[route]) for route in now.share},
        dearer={r: before.calls * before.share[r] * (priced.cost_of(r) - before.cost_of(r)) for r in before.share},
        per_call=_lengths(before, now),
        from_cache=Turn(_cached(lengthened), _cached(cached)),
        credits=credits,
        credit_value=credit_value,
    )


def group_of(unit: str) -> str:
    """Return the group that `unit` belongs to; most are their own."""
    return _GROUPS.get(unit, unit)


class _Calls(NamedTuple):
    """What one window saw of one route. Where there is a cost there was a call and a unit, whatever the app said."""

    calls: int
    units: Mapping[str, Consumed]

    def quantity(self, group: str) -> Fraction:
        return sum((Fraction(used.quantity) for unit, used in self.units.items() if group_of(unit) == group), NOTHING)


def _side(window: Window, other: Window) -> _Side:
    """Return the factors of `window`; `other` has what is missing in it."""
    seen, there = _routes(window), _routes(other)
    total, total_there = sum(use.calls for use in seen.values()), sum(use.calls for use in there.values())
    routes = sorted(seen | there)
    per_call, split, price = {}, {}, {}
    for route in routes:
        own = seen.get(route) or there[route]
        spare = there.get(route) or own
        units = sorted({*own.units, *spare.units})
        per_call[route] = {group: own.quantity(group) / own.calls for group in map(group_of, units)}
        split[route] = {unit: _split(own if own.quantity(group_of(unit)) else spare, unit) for unit in units}
        price[route] = {unit: _price((own if unit in own.units else spare).units[unit]) for unit in units}
    return _Side(
        calls=Fraction(total, window.costed) if total else Fraction(total_there, other.costed),
        share={route: Fraction(seen[route].calls, total) if route in seen else NOTHING for route in routes},
        per_call=per_call,
        split=split,
        price=price,
    )


def _routes(window: Window) -> dict[Route, _Calls]:
    found: dict[Route, _Calls] = {}
    for use in window.models:
        units = {unit: Consumed(used.quantity or ONE, used.cost) for unit, used in use.units.items() if used.quantity or used.cost}
        reported = units.pop(REPORTED, None)
        told = max(int(reported.quantity), 1) if reported else 0
        if reported:
            found[Route(use.provider, use.model, use.service_tier, use.batch, is_reported=True)] = _Calls(told, {REPORTED: reported})
        if calls := max(use.requests - told, 1 if units else 0):
            found[Route(use.provider, use.model, use.service_tier, use.batch, is_reported=False)] = _Calls(calls, units)
    cost = sum((Fraction(used.cost) for seen in found.values() for used in seen.units.values()), NOTHING)
    if cost != Fraction(window.cost):
        raise ValueError(f"the costs of the models add up to {from_fraction(cost, MONEY_PLACES)}, the window's cost is {window.cost}")
    return found


def _split(use: _Calls, unit: str) -> Fraction:
    return Fraction(use.units[unit].quantity) / use.quantity(group_of(unit)) if unit in use.units else NOTHING


def _price(used: Consumed) -> Fraction:
    return Fraction(used.cost) / Fraction(used.quantity)


def _outside_the_input(before: Amounts, now: Amounts) -> Amounts:
    """Return the splits of now, but of the input side those of before."""
    return {route: {unit: (before if group_of(unit) == INPUT_SIDE else now)[route][unit] for unit in units} for route, units in now.items()}


def _lengths(before: _Side, now: _Side) -> dict[str, Turn]:
    groups = sorted({group for groups in now.per_call.values() for group in groups})
    return {group: Turn(_per_call(before, now.share, group), _per_call(now, now.share, group)) for group in groups}


def _per_call(side: _Side, share: Mapping[Route, Fraction], group: str) -> Fraction:
    return sum((share[route] * groups.get(group, NOTHING) for route, groups in side.per_call.items()), NOTHING)


def _cached(side: _Side) -> Fraction:
    """Return the share of the input side that was read from the cache."""
    read = sum(
        (
            share * side.per_call[r].get(INPUT_SIDE, NOTHING) * side.split[r].get(UnitKind.CACHE_READ, NOTHING)
            for r, share in side.share.items()
        ),
        NOTHING,
    )
    length = _per_call(side, side.share, INPUT_SIDE)
    return read / length if length else NOTHING


def _per_event(total: Decimal, window: Window) -> Fraction:
    return Fraction(total) / window.costed


def _ratio(value: Fraction, credits: Fraction) -> Fraction | None:
    return value / credits if credits else None


def _filled(before: Fraction | None, now: Fraction | None) -> Turn:
    """Let a window without credits have the other's value of one; without any in either it does not matter."""
    return Turn((now if before is None else before) or NOTHING, (before if now is None else now) or NOTHING)
