from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from config.base.admin import share
from config.base.exact import Rounding
from config.base.figures import percent, points
from pricing.advisor import words
from reports.templatetags.scorecard import register


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal("0.64"), "64.0 %"),
        (Decimal("0.4625"), "46.3 %"),
        (Fraction(37, 80), "46.3 %"),
        (Decimal("0.46249999"), "46.2 %"),
        (Decimal("-0.4625"), "-46.3 %"),
        (Decimal("-0.0004"), "0.0 %"),
        (Fraction(1, 3), "33.3 %"),
        (Decimal("12.5"), "1,250.0 %"),
        (0, "0.0 %"),
    ],
)
def test_a_share_is_written_alike_everywhere(value: Any, written: str) -> None:
    assert percent(value) == words.percent(value) == written
    assert share(value) == register.filters["percent"](value) == written.replace(" ", "\N{NO-BREAK SPACE}")


def test_a_share_may_have_more_places_or_none() -> None:
    assert (percent(Fraction(2, 3), 3), percent(Fraction(2, 3), 0)) == ("66.667 %", "67 %")


def test_what_must_not_be_said_too_early_is_rounded_down() -> None:
    assert percent(Decimal("0.9999"), 0, rounding=Rounding.DOWN) == "99 %"
    assert percent(Decimal("-0.9999"), 1, rounding=Rounding.DOWN) == "-99.9 %"


def test_a_change_has_its_sign_where_something_is_left_of_it() -> None:
    changes = (Decimal("0.125"), Decimal("-0.125"), Decimal("0.0004"), Decimal("-0.0004"))
    assert [percent(change, is_change=True) for change in changes] == ["+12.5 %", "-12.5 %", "0.0 %", "0.0 %"]
    assert [points(change) for change in changes] == ["+12.5 points", "-12.5 points", "0.0 points", "0.0 points"]


def test_nothing_is_a_dash() -> None:
    assert share(None) == register.filters["percent"](None) == register.filters["points"](None) == "-"
