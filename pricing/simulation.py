"""Simulation: from assumptions about one action to what it costs us, and to the credits that would earn the target margin.

Nothing here is recorded usage; it answers "what if". The cost is computed as for real events (`pricing.cost`). The price
is the smallest multiple of the rounding step whose margin reaches the target, so a suggestion never falls short of it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final, NamedTuple

from config.base.exact import CONTEXT, MAX_CREDITS, Rounding, plain
from config.base.figures import percent
from pricing.cost import Cost, CostStatus, Rate, cost
from pricing.price import Price
from pricing.rating import rate
from pricing.units import UnitKind, Usage, costed_as, normalise

ONE: Final = Decimal(1)

# From which margin at the suggested price a verdict holds; users then pay 4, 2 and 1.25 times what the action costs us.
STRONG: Final = Fraction(3, 4)
HEALTHY: Final = Fraction(1, 2)
THIN: Final = Fraction(1, 5)
# A rounded price that is so much above the one that the target needs is worth a word.
COARSE: Final = Fraction(5, 4)


class UnpricedError(ValueError):
    """Some of what the action uses has no rate; `units` names the kinds."""

    def __init__(self, units: tuple[UnitKind, ...]) -> None:
        super().__init__(f"no rate for {', '.join(units)}")
        self.units = units


class BeyondCreditsError(ValueError):
    """The price would be more credits than any wallet can hold."""


class Tone(StrEnum):
    """How a verdict is shown."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


class ActionCost(NamedTuple):
    """What one action costs us: `call` is one call, `calls` how many an action makes, retries among them."""

    call: Cost
    calls: Decimal
    amount: Decimal
    currency: str


class PricePoint(NamedTuple):
    """A price in credits, what it is worth in money, and the share of that which is left after the cost, if it is worth any."""

    credits: Decimal
    value: Decimal
    margin: Fraction | None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The suggested price with its neighbours; `exact` is what the target needs before rounding, in credits."""

    exact: Fraction
    suggested: PricePoint
    one_less: PricePoint | None
    one_more: PricePoint
    tone: Tone
    verdict: tuple[str, ...]


def action_cost(usage: Usage, rates: Mapping[UnitKind, Rate], *, calls: Decimal, retry_share: Decimal) -> ActionCost:
    """Return what an action of `calls` calls like `usage` costs; a `retry_share` of 0.05 makes every twentieth call again.

    Raises UnpricedError; ValueError for a usage that `units.check` finds wrong.
    """
    call = cost(usage, rates, None)
    if call.status is not CostStatus.PRICED or call.amount is None:
        used = (kind for kind in normalise(usage) if kind is not UnitKind.REQUEST)
        raise UnpricedError(tuple(kind for kind in used if costed_as(kind, rates) is None))
    made = CONTEXT.multiply(calls, CONTEXT.add(ONE, retry_share))
    return ActionCost(call, made, CONTEXT.multiply(call.amount, made), call.currency)


def suggest(amount: Decimal, *, target_margin: Decimal, credit_value: Decimal, step: Decimal) -> Suggestion:
    """Return the price of an action that costs us `amount`, at least one step. Raises BeyondCreditsError.

    `target_margin` is a share below 1; `credit_value` and `step` are positive.
    """
    exact = Fraction(amount) / (Fraction(CONTEXT.subtract(ONE, target_margin)) * Fraction(credit_value))
    steps = max(math.ceil(exact / Fraction(step)), 1)
    if (steps + 1) * Fraction(step) > MAX_CREDITS:
        raise BeyondCreditsError("The price would be more credits than a wallet can hold.")
    less, suggested, more = (price_point(CONTEXT.multiply(Decimal(n), step), amount, credit_value) for n in (steps - 1, steps, steps + 1))
    return Suggestion(
        exact=exact,
        suggested=suggested,
        one_less=less if less.credits else None,
        one_more=more,
        tone=_tone(margin := 1 - Fraction(amount) / Fraction(suggested.value)),
        verdict=tuple(_verdict(suggested, margin, exact, step)),
    )


def price_point(credits: Decimal, amount: Decimal, credit_value: Decimal) -> PricePoint:
    """Return what a price earns over a cost of `amount`."""
    value = CONTEXT.multiply(credits, credit_value)
    return PricePoint(credits, value, 1 - Fraction(amount) / Fraction(value) if value else None)


def charged_now(price: Price, usage: Usage, calls: Decimal) -> Decimal:
    """Return the credits that `price` charges for an action of `calls` such calls; retries are not the customer's."""
    return rate(price, quantity=ONE, usage=_times(usage, calls)).credits


def _times(usage: Usage, calls: Decimal) -> Usage:
    """Return the usage of `calls` calls; the parts of a whole are rounded down, so that it still holds them."""
    counts = {name: getattr(usage, name) for name in Usage._fields[2:]}
    parts = {name: type(count)(CONTEXT.multiply(Decimal(count), calls)) for name, count in counts.items()}
    wholes = {name: math.ceil(CONTEXT.multiply(Decimal(counts[name]), calls)) for name in ("input_tokens", "output_tokens")}
    return usage._replace(**parts | wholes)


def _tone(margin: Fraction) -> Tone:
    if margin >= HEALTHY:
        return Tone.GOOD
    return Tone.WARN if margin >= THIN else Tone.BAD


def _verdict(point: PricePoint, margin: Fraction, exact: Fraction, step: Decimal) -> list[str]:
    if margin == 1:
        return ["The action costs you nothing, so all of its price is margin."]
    said = [_on_margin(margin), f"The provider could charge {_percent_more(1 / (1 - margin))} more before the action loses money."]
    if Fraction(point.credits) > exact * COARSE:
        said.append(
            f"Rounding to steps of {plain(step)} adds {_percent_more(Fraction(point.credits) / exact)} to what the target needs: "
            "a finer step, or credits of less value, would come nearer."
        )
    return said


def _on_margin(margin: Fraction) -> str:
    if margin >= STRONG:
        return "This pricing is strong, but may feel expensive unless the action has high perceived value."
    if margin >= HEALTHY:
        return "This pricing is healthy: users pay two to four times what the action costs you."
    if margin >= THIN:
        return "This pricing is thin: some more retries, or a dearer model, use up what is left."
    return "This pricing hardly earns anything: a small rise of the provider's price makes every action a loss."


def _percent_more(ratio: Fraction) -> str:
    return percent(ratio - 1, 0, rounding=Rounding.DOWN)
