"""What an amount of the buyer's own choice buys."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import custom_amounts, minor_units
from billing.custom_amounts import Bought, UnsellableAmount
from billing.minor_units import UnchargeableAmount
from config.base.exact import MAX_CREDITS

CURRENCIES = ["USD", "JPY", "KWD", "ISK"]
values = st.integers(1, 10**14).map(lambda units: Decimal(units).scaleb(-12))


class TestBuying:
    @pytest.mark.parametrize(
        ("amount", "currency", "value", "minor", "credits"),
        [
            ("9.99", "USD", "0.01", 999, "999"),
            ("1500", "JPY", "1.2", 1500, "1250"),
            ("3.070", "KWD", "0.005", 3070, "614"),
            ("0.50", "USD", "0.64", 50, "0.78125"),
        ],
    )
    def test_divides_by_the_value_of_a_credit(self, amount: str, currency: str, value: str, minor: int, credits: str) -> None:
        assert custom_amounts.buy(Decimal(amount), currency, Decimal(value)) == Bought(minor, Decimal(credits))

    @pytest.mark.parametrize(
        ("amount", "currency", "value", "words"),
        [
            ("1.00", "USD", "0.03", "send 0.99 USD or 1.02 USD"),
            ("0.50", "USD", "0.03", "send 0.51 USD or 0.54 USD"),
            ("999999.99", "USD", "0.07", "send 999999.98 USD"),
            ("1", "USD", "999.999999999999", "only packs"),
        ],
    )
    def test_names_the_nearest_amounts_that_come_out(self, amount: str, currency: str, value: str, words: str) -> None:
        with pytest.raises(UnsellableAmount, match=words):
            custom_amounts.buy(Decimal(amount), currency, Decimal(value))

    @pytest.mark.parametrize(("amount", "words"), [("0.49", "at least 0.50 USD"), ("0", "above 0"), ("1000000", "at most 999999.99 USD")])
    def test_refuses_what_stripe_does_not_charge(self, amount: str, words: str) -> None:
        with pytest.raises(UnchargeableAmount, match=words):
            custom_amounts.buy(Decimal(amount), "USD", Decimal("0.01"))

    def test_refuses_more_credits_than_a_wallet_holds(self) -> None:
        with pytest.raises(UnsellableAmount, match="more credits"):
            custom_amounts.buy(Decimal(100_000), "USD", Decimal("0.000000000001"))

    @given(st.integers(1, minor_units.MAX_MINOR), st.sampled_from(CURRENCIES), values)
    def test_sells_exactly_or_names_neighbours_that_do(self, minor: int, currency: str, value: Decimal) -> None:
        amount = minor_units.to_major(minor, currency)
        try:
            bought = custom_amounts.buy(amount, currency, value)
        except (UnsellableAmount, UnchargeableAmount):
            for near in custom_amounts.near(minor, currency, value):
                credits = Fraction(minor_units.to_major(near, currency)) / Fraction(value)
                assert minor_units.to_charge(minor_units.to_major(near, currency), currency) == near
                assert (credits * 10**6).denominator == 1
        else:
            assert bought.amount_minor == minor
            assert Fraction(bought.credits) * Fraction(value) == Fraction(amount)
            assert 0 < bought.credits <= MAX_CREDITS
