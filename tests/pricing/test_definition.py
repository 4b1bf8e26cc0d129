from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from config.base.exact import Rounding
from pricing.definition import Definition, check
from pricing.price import Component, Tier

GOOD = Definition(
    credits_per_event=Decimal("4.000001"),
    components=(Component("output", Decimal(1), 1000), Component("event", Decimal(1), 1, "premium", ("gpt-*",))),
    tiers=(Tier(Decimal(10), Decimal(3)), Tier(Decimal("10.5"), Decimal(2))),
    minimum=Decimal(1),
    rounding_step=Decimal("0.5"),
    rounding_mode=Rounding.UP,
)


def test_a_good_one_has_no_problems() -> None:
    assert check(GOOD) == []


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"credits_per_event": Decimal("0.0000001")}, "credits_per_event", "at most 6 decimal places"),
        ({"credits_per_event": Decimal(-1)}, "credits_per_event", "not be negative"),
        ({"credits_per_event": Decimal("NaN")}, "credits_per_event", "a number"),
        ({"credits_per_event": Decimal(10) ** 14}, "credits_per_event", "at most 99999999999999.999999"),
        ({"minimum": Decimal("0.0000001")}, "minimum", "at most 6"),
        ({"minimum": Decimal("0.75")}, "minimum", "multiple of the rounding step 0.5"),
        ({"rounding_step": Decimal(0)}, "rounding_step", "more than 0"),
        ({"components": (Component("tokens", Decimal(1), 1),)}, "components.0.unit", "one of input, cache_read"),
        ({"components": (Component("input", Decimal("1e-7"), 1),)}, "components.0.credits", "at most 6"),
        ({"components": (Component("input", Decimal(1), 3),)}, "components.0.per", "one of 1, 10, 100"),
        (
            {"components": (Component("input", Decimal(1), 1), Component("input", Decimal(2), 1))},
            "components.1.unit",
            "only one",
        ),
        (
            {"components": (Component("input", Decimal(1), 1, "premium"),)},
            "components.0.models",
            "which models are premium",
        ),
        ({"components": (Component("event", Decimal(1), 1),)}, "components.0.models", "for which models"),
        ({"components": (Component("input", Decimal(1), 1, "", (" ",)),)}, "components.0.models", "empty name"),
        ({"tiers": (Tier(Decimal(0), Decimal(1)),)}, "tiers.0.from_quantity", "more than 0"),
        (
            {"tiers": (Tier(Decimal(10), Decimal(1)), Tier(Decimal(10), Decimal(1)))},
            "tiers.1.from_quantity",
            "more than 10",
        ),
        ({"tiers": (Tier(Decimal("1e-7"), Decimal(1)),)}, "tiers.0.from_quantity", "at most 6"),
        ({"tiers": (Tier(Decimal(1), Decimal("1e-7")),)}, "tiers.0.credits_per_event", "at most 6"),
    ],
)
def test_each_problem_names_its_field(change: dict[str, Any], field: str, message: str) -> None:
    [(named, said)] = check(replace(GOOD, **change))
    assert named == field
    assert message in said
