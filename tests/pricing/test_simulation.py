from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.base.figures import percent
from pricing.cost import Rate
from pricing.price import Component, Price
from pricing.simulation import BeyondCreditsError, Tone, UnpricedError, action_cost, charged_now, price_point, suggest
from pricing.units import UnitKind, Usage

MILLION = 1_000_000
CHAT = Usage("anthropic", "claude", input_tokens=847, output_tokens=312)
RATES = {
    UnitKind.INPUT: Rate(1, UnitKind.INPUT, Decimal(3), MILLION, "USD"),
    UnitKind.OUTPUT: Rate(2, UnitKind.OUTPUT, Decimal(15), MILLION, "USD"),
}


def asked(**terms: str) -> dict[str, Decimal]:
    figures = {"target_margin": "0.8", "credit_value": "0.01", "step": "1"} | terms
    return {name: Decimal(figure) for name, figure in figures.items()}


class TestAWorkedExample:
    """847 input tokens at 3 USD a million are 0.002541, 312 output tokens at 15 are 0.00468: 0.007221 USD.

    To keep 80 % it takes 0.007221 / 0.2 = 0.036105 USD, which is 3.6105 credits of a cent: 4 credits.
    """

    def test_cost(self) -> None:
        cost = action_cost(CHAT, RATES, calls=Decimal(1), retry_share=Decimal(0))
        assert (cost.amount, cost.currency, cost.calls) == (Decimal("0.007221"), "USD", 1)
        assert [line.amount for line in cost.call.lines] == [Decimal("0.002541"), Decimal("0.00468")]

    def test_price(self) -> None:
        found = suggest(Decimal("0.007221"), **asked())
        assert found.exact == Fraction("3.6105")
        assert found.suggested.credits == 4
        assert found.suggested.value == Decimal("0.04")
        assert found.suggested.margin == 1 - Fraction("0.007221") / Fraction("0.04")
        assert percent(found.suggested.margin) == "81.9 %"
        assert found.one_less is not None
        assert (found.one_less.credits, percent(found.one_less.margin or Fraction(0))) == (3, "75.9 %")
        assert (found.one_more.credits, percent(found.one_more.margin or Fraction(0))) == (5, "85.6 %")

    def test_verdict(self) -> None:
        found = suggest(Decimal("0.007221"), **asked())
        assert found.tone is Tone.GOOD
        assert found.verdict == (
            "This pricing is strong, but may feel expensive unless the action has high perceived value.",
            "The provider could charge 453 % more before the action loses money.",
        )

    def test_retries_and_calls_multiply(self) -> None:
        """Three calls, every tenth once more: 3.3 calls of 0.007221."""
        cost = action_cost(CHAT, RATES, calls=Decimal(3), retry_share=Decimal("0.1"))
        assert (cost.calls, cost.amount) == (Decimal("3.3"), Decimal("0.0238293"))

    def test_the_cache_costs_what_it_costs(self) -> None:
        """Half of 847 tokens, 423, from the cache at a tenth: 424 x 3 + 423 x 0.3 + 312 x 15, for a million each."""
        rates = RATES | {UnitKind.CACHE_READ: Rate(3, UnitKind.CACHE_READ, Decimal("0.3"), MILLION, "USD")}
        cost = action_cost(CHAT._replace(cache_read_tokens=423), rates, calls=Decimal(1), retry_share=Decimal(0))
        assert cost.amount == Decimal("0.0060789")


class TestUnpriced:
    def test_names_each_kind_that_has_no_rate(self) -> None:
        usage = CHAT._replace(audio_input_tokens=10, cache_read_tokens=5)
        with pytest.raises(UnpricedError) as refused:
            action_cost(usage, {UnitKind.INPUT: RATES[UnitKind.INPUT]}, calls=Decimal(1), retry_share=Decimal(0))
        assert refused.value.units == (UnitKind.OUTPUT, UnitKind.AUDIO_INPUT)


class TestVerdict:
    """Its rules: a margin from 75, 50 and 20 % on, and rounding that adds more than a quarter."""

    @pytest.mark.parametrize(
        ("target", "tone", "begins"),
        [
            ("0.75", Tone.GOOD, "This pricing is strong, but may feel expensive"),
            ("0.7499", Tone.GOOD, "This pricing is healthy"),
            ("0.5", Tone.GOOD, "This pricing is healthy"),
            ("0.4999", Tone.WARN, "This pricing is thin"),
            ("0.2", Tone.WARN, "This pricing is thin"),
            ("0.1999", Tone.BAD, "This pricing hardly earns anything"),
            ("0", Tone.BAD, "This pricing hardly earns anything"),
        ],
    )
    def test_follows_the_margin(self, target: str, tone: Tone, begins: str) -> None:
        found = suggest(Decimal("1.2"), **asked(target_margin=target, step="0.000001"))
        assert found.tone is tone
        assert found.verdict[0].startswith(begins)
        assert len(found.verdict) == 2

    def test_tells_that_rounding_is_coarse(self) -> None:
        """0.001 / 0.2 is 0.005 USD: half a credit, doubled by rounding."""
        assert suggest(Decimal("0.001"), **asked()).verdict[-1].startswith("Rounding to steps of 1 adds 100 % to what the target needs")
        assert len(suggest(Decimal("0.0016"), **asked()).verdict) == 2  # exactly a quarter more
        assert len(suggest(Decimal("0.0015999"), **asked()).verdict) == 3

    def test_of_what_costs_nothing(self) -> None:
        found = suggest(Decimal(0), **asked())
        assert (found.suggested.credits, found.one_less) == (1, None)
        assert found.verdict == ("The action costs you nothing, so all of its price is margin.",)


class TestSuggestion:
    @given(
        amount=st.decimals(min_value=0, max_value=10_000, places=12),
        margin=st.decimals(min_value=0, max_value=Decimal("0.9999"), places=4),
        value=st.decimals(min_value=Decimal("0.000001"), max_value=100, places=6),
        step=st.sampled_from(["0.000001", "0.01", "0.5", "1", "2.5", "100"]),
    )
    def test_is_the_smallest_price_that_keeps_the_target(self, amount: Decimal, margin: Decimal, value: Decimal, step: str) -> None:
        try:
            found = suggest(amount, target_margin=margin, credit_value=value, step=Decimal(step))
        except BeyondCreditsError:
            assert Fraction(amount) / (1 - Fraction(margin)) / Fraction(value) > 10**13
            return
        assert found.suggested.credits % Decimal(step) == 0
        assert found.suggested.margin is not None
        assert found.suggested.margin >= Fraction(margin)
        if found.one_less:
            assert found.one_less.margin is not None
            assert found.one_less.margin < Fraction(margin)
        else:
            assert found.suggested.credits == Decimal(step)
        assert found.one_more.credits - found.suggested.credits == Decimal(step)

    @given(st.decimals(min_value=Decimal("0.000001"), max_value=100, places=6), st.decimals(min_value=0, max_value=1, places=4))
    def test_never_falls_when_the_cost_rises(self, amount: Decimal, more: Decimal) -> None:
        assert suggest(amount + more, **asked()).suggested.credits >= suggest(amount, **asked()).suggested.credits

    def test_an_exact_multiple_is_not_lifted(self) -> None:
        """0.01 / (1 - 0.6667) has no end in decimals; 0.03333 / 0.3333 is exactly 0.1."""
        assert suggest(Decimal("0.03333"), **asked(target_margin="0.6667")).suggested.credits == 10

    def test_is_refused_beyond_what_wallets_hold(self) -> None:
        with pytest.raises(BeyondCreditsError):
            suggest(Decimal(10) ** 6, **asked(credit_value="0.000000000001"))


class TestPriceInForce:
    @pytest.mark.parametrize(("calls", "credits"), [("1", "4.312"), ("2.5", "4.78")])
    def test_charges_what_the_calls_consume(self, calls: str, credits: str) -> None:
        """4 credits, and one for 1,000 output tokens: 312 of them, or 780 of two and a half calls."""
        terms: dict[str, Any] = {"credits_per_event": Decimal(4), "components": (Component("output", Decimal(1), 1000),)}
        price = Price(rule_id=1, version_id=1, rule="chat.reply/default", version=1, event="chat.reply", **terms)
        assert charged_now(price, CHAT, Decimal(calls)) == Decimal(credits)

    @given(st.decimals(min_value=Decimal("0.0001"), max_value=100, places=4), st.integers(0, 847), st.integers(0, 312))
    def test_parts_never_outgrow_their_whole(self, calls: Decimal, cached: int, reasoning: int) -> None:
        usage = CHAT._replace(cache_read_tokens=cached, cache_write_tokens=847 - cached, reasoning_tokens=reasoning)
        price = Price(
            rule_id=1,
            version_id=1,
            rule="r",
            version=1,
            event="e",
            credits_per_event=Decimal(0),
            components=(Component("input", Decimal(1), 1), Component("output", Decimal(1), 1)),
        )
        assert charged_now(price, usage, calls) >= (847 + 312) * calls

    def test_for_nothing_it_has_no_margin(self) -> None:
        assert price_point(Decimal(0), Decimal(1), Decimal("0.01")).margin is None
        assert price_point(Decimal(1), Decimal("0.02"), Decimal("0.01")).margin == -1
