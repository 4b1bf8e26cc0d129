"""A price: what one event type costs in credits, as one immutable version states it.

A version is credits per event (flat, or graduated in tiers over the event's own quantity), plus components for what the
event consumed (credits per 1,000 output tokens, per image, per second), a minimum, and a step to round to. Rating one
event gives lines that add up exactly to the credits, so that a customer's question has an answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, NamedTuple, Self

from config.base.exact import CONTEXT, CREDIT_STEP, ZERO, Rounding, plain, round_to

EVENT_UNIT: Final = "event"  # a component's unit for a surcharge per event, beside the kinds of `UnitKind`
ONE: Final = Decimal(1)


class LineKind(StrEnum):
    """Why a line is on the bill."""

    EVENT = "event"  # the credits per event
    TIER = "tier"  # the part of the quantity that falls into one tier
    COMPONENT = "component"  # something consumed
    MINIMUM = "minimum"  # what is missing to the minimum
    ROUNDING = "rounding"  # the difference that rounding makes, of either sign
    WAIVED = "waived"  # what a capture of a hold left uncharged


@dataclass(frozen=True, slots=True)
class Component:
    """Credits for `per` units of one kind; with `models` it applies only to the models that one of them matches."""

    unit: str
    credits: Decimal
    per: int
    model_class: str = ""
    models: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Write the component as a version stores it."""
        return {
            "unit": str(self.unit),
            "credits": plain(self.credits),
            "per": self.per,
            "model_class": self.model_class,
            "models": list(self.models),
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(row["unit"], Decimal(row["credits"]), int(row["per"]), row["model_class"], tuple(row["models"]))


@dataclass(frozen=True, slots=True)
class Tier:
    """Credits per event for the part of the event's quantity beyond `from_quantity`, up to the next tier."""

    from_quantity: Decimal
    credits_per_event: Decimal

    def as_json(self) -> dict[str, str]:
        """Write the tier as a version stores it."""
        return {"from_quantity": plain(self.from_quantity), "credits_per_event": plain(self.credits_per_event)}

    @classmethod
    def from_json(cls, row: Mapping[str, str]) -> Self:
        """Read what `as_json` wrote."""
        return cls(Decimal(row["from_quantity"]), Decimal(row["credits_per_event"]))


class PriceLine(NamedTuple):
    """One line of a rated event: `credits` is `quantity` x `rate` / `per`, exactly."""

    kind: LineKind
    unit: str
    quantity: Decimal
    per: int
    rate: Decimal
    credits: Decimal
    model_class: str = ""

    def as_json(self) -> dict[str, str]:
        """Write the line as plain strings."""
        return {
            "kind": str(self.kind),
            "unit": str(self.unit),
            "quantity": plain(self.quantity),
            "per": str(self.per),
            "rate": plain(self.rate),
            "credits": plain(self.credits),
            "model_class": self.model_class,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, str]) -> Self:
        """Read what `as_json` wrote."""
        return cls(
            LineKind(row["kind"]),
            row["unit"],
            Decimal(row["quantity"]),
            int(row["per"]),
            Decimal(row["rate"]),
            Decimal(row["credits"]),
            row["model_class"],
        )


@dataclass(frozen=True)
class Rated:
    """What one event costs; the lines add up to `credits`, which has at most 6 places."""

    credits: Decimal
    lines: tuple[PriceLine, ...]

    @cached_property
    def lines_as_json(self) -> list[dict[str, str]]:
        """The lines as plain strings; written once where all events share a flat price."""
        return [line.as_json() for line in self.lines]


def settle(lines: Sequence[PriceLine], *, minimum: Decimal, step: Decimal, mode: Rounding) -> Rated:
    """Add up exact lines, then lift the sum to `minimum` and round it to `step`, each by a line of its own."""
    total = ZERO
    for line in lines:
        total = CONTEXT.add(total, line.credits)
    extra: list[PriceLine] = []
    if total < minimum:
        missing = CONTEXT.subtract(minimum, total)
        extra.append(PriceLine(LineKind.MINIMUM, EVENT_UNIT, ONE, 1, missing, missing))
        total = minimum
    rounded = round_to(total, step, mode)
    if rounded != total:
        difference = CONTEXT.subtract(rounded, total)
        extra.append(PriceLine(LineKind.ROUNDING, EVENT_UNIT, ONE, 1, difference, difference))
    return Rated(rounded, (*lines, *extra))


@dataclass(frozen=True, slots=True)
class Price:
    """One price version as rating needs it; `rule` names the rule (`chat.reply/plan/pro`), `version` is its number."""

    rule_id: int
    version_id: int
    rule: str
    version: int
    event: str
    credits_per_event: Decimal
    components: tuple[Component, ...] = ()
    tiers: tuple[Tier, ...] = ()
    minimum: Decimal = ZERO
    rounding_step: Decimal = CREDIT_STEP
    rounding_mode: Rounding = Rounding.HALF_UP
    # The answer for a quantity of 1 where nothing else can matter: most events of most products.
    flat: Rated | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if not self.components and not self.tiers:
            rate = self.credits_per_event
            line = PriceLine(LineKind.EVENT, EVENT_UNIT, ONE, 1, rate, rate)
            rated = settle([line], minimum=self.minimum, step=self.rounding_step, mode=self.rounding_mode)
            object.__setattr__(self, "flat", rated)
