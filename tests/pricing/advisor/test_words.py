from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.base.exact import from_fraction
from pricing.advisor.words import count, credits, instead_of, money, percent, sentence_list


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("0", "0 USD"),
        ("0.0021", "0.0021 USD"),
        ("-0.00213456", "0.00213 USD"),
        ("0.5", "0.50 USD"),
        ("1234.5", "1,234.50 USD"),
        ("0.000000000001", "0.000000000001 USD"),
        ("99999999999999.99", "99,999,999,999,999.99 USD"),
    ],
)
def test_money(amount: str, words: str) -> None:
    assert money(Decimal(amount), "USD") == words


def test_shares_and_counts() -> None:
    assert [percent(Decimal(share)) for share in ("0.64", "-0.2", "12.5", "0.0005", "0")] == [
        "64.0 %",
        "-20.0 %",
        "1,250.0 %",
        "0.1 %",
        "0.0 %",
    ]
    assert [count(Decimal(number)) for number in ("1.5", "847", "12480", "0.0213", "1234.5")] == ["1.5", "847", "12,480", "0.0213", "1,235"]
    assert [credits(Decimal(price)) for price in ("1", "4.5", "0.000001")] == ["1 credit", "4.5 credits", "0.000001 credits"]


def test_two_figures_are_told_apart() -> None:
    assert instead_of(Decimal("1.0004"), Decimal(1), count) == "1.0004 instead of 1"
    assert instead_of(Decimal("0.30004"), Decimal("0.3"), percent) == "30.004 % instead of 30.000 %"


def test_lists() -> None:
    assert [sentence_list(list(words)) for words in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]


@given(st.fractions(), st.integers(0, 12))
def test_a_fraction_is_rounded_by_half_a_step_at_most(value: Fraction, places: int) -> None:
    assert abs(Fraction(from_fraction(value, places)) - value) <= Fraction(1, 2 * 10**places)
    assert from_fraction(-value, places) == from_fraction(value, places).copy_negate()
