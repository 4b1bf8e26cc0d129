"""Checking a price before it is published: what is written down must be exact, unambiguous and explainable."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Self

from config.base.exact import CONTEXT, CREDIT_PLACES, MAX_CREDITS, ZERO, Rounding, has_more_places, plain
from pricing.price import EVENT_UNIT, Component, Tier
from pricing.units import UnitKind

# Powers of ten, so that dividing by them is exact and the lines of a bill add up to the last digit.
PER_CHOICES: Final = tuple(10**n for n in range(7))
UNITS: Final = (*UnitKind, EVENT_UNIT)

Problem = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Definition:
    """What a person decides when a price is set, before it has a rule, a number and a date."""

    credits_per_event: Decimal
    components: Sequence[Component]
    tiers: Sequence[Tier]
    minimum: Decimal
    rounding_step: Decimal
    rounding_mode: Rounding

    def as_json(self) -> dict[str, Any]:
        """Write the price as a proposal stores it."""
        return {
            "credits_per_event": plain(self.credits_per_event),
            "components": [component.as_json() for component in self.components],
            "tiers": [tier.as_json() for tier in self.tiers],
            "minimum": plain(self.minimum),
            "rounding_step": plain(self.rounding_step),
            "rounding_mode": str(self.rounding_mode),
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(
            credits_per_event=Decimal(row["credits_per_event"]),
            components=tuple(map(Component.from_json, row["components"])),
            tiers=tuple(map(Tier.from_json, row["tiers"])),
            minimum=Decimal(row["minimum"]),
            rounding_step=Decimal(row["rounding_step"]),
            rounding_mode=Rounding(row["rounding_mode"]),
        )


def check(definition: Definition) -> list[Problem]:
    """Return what is wrong with `definition` as (field, message); empty when it can be published."""
    figures = [
        ("credits_per_event", definition.credits_per_event),
        ("minimum", definition.minimum),
        ("rounding_step", definition.rounding_step),
        *((f"components.{i}.credits", c.credits) for i, c in enumerate(definition.components)),
        *((f"tiers.{i}.credits_per_event", t.credits_per_event) for i, t in enumerate(definition.tiers)),
        *((f"tiers.{i}.from_quantity", t.from_quantity) for i, t in enumerate(definition.tiers)),
    ]
    problems = [(field, message) for field, value in figures if (message := _figure_problem(value))]
    if problems:
        return problems
    return [
        *_rounding_problems(definition),
        *_component_problems(definition.components),
        *_tier_problems(definition.tiers),
    ]


def _figure_problem(value: Decimal) -> str:
    if not value.is_finite():
        return "must be a number"
    if value < 0:
        return "must not be negative"
    if value > MAX_CREDITS:
        return f"must be at most {plain(MAX_CREDITS)}"
    if has_more_places(value, CREDIT_PLACES):
        return f"must have at most {CREDIT_PLACES} decimal places"
    return ""


def _rounding_problems(definition: Definition) -> Iterator[Problem]:
    if definition.rounding_step == 0:
        yield "rounding_step", "must be more than 0; 0.000001 rounds nothing away"
    elif CONTEXT.remainder(definition.minimum, definition.rounding_step):
        yield "minimum", f"must be a multiple of the rounding step {plain(definition.rounding_step)}"


def _component_problems(components: Sequence[Component]) -> Iterator[Problem]:
    general: set[str] = set()
    for i, component in enumerate(components):
        if component.unit not in UNITS:
            yield f"components.{i}.unit", f"must be one of {', '.join(UNITS)}"
        if component.per not in PER_CHOICES:
            yield f"components.{i}.per", f"must be one of {', '.join(map(str, PER_CHOICES))}"
        if not all(pattern.strip() for pattern in component.models):
            yield f"components.{i}.models", "must not hold an empty name"
        if component.models:
            continue
        if component.model_class:
            yield f"components.{i}.models", f"must say which models are {component.model_class}"
        if component.unit == EVENT_UNIT:
            yield f"components.{i}.models", "must say for which models; for all of them raise the credits per event"
        if component.unit in general:
            yield f"components.{i}.unit", "has a general component already; only one can apply"
        general.add(component.unit)


def _tier_problems(tiers: Sequence[Tier]) -> Iterator[Problem]:
    before = ZERO
    for i, tier in enumerate(tiers):
        if tier.from_quantity <= before:
            yield f"tiers.{i}.from_quantity", f"must be more than {plain(before)}; tiers go upwards"
        before = tier.from_quantity
