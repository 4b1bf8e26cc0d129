from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given

from config.base.exact import MONEY_PLACES, has_more_places
from pricing.advisor.drift import PARTS, decompose
from pricing.advisor.drift_in_words import tell
from pricing.advisor.evidence import ModelUse, Window
from pricing.advisor.recommendation import Drift
from tests.pricing.advisor.evidence import a_model, a_window, at_cost
from tests.pricing.advisor.strategies import unhurried, windows


def drift(baseline: Window, current: Window) -> dict[str, Decimal]:
    return {part.name: part.amount for part in tell(decompose(baseline, current), "USD").parts if part.amount}


def sentence(told: Drift, name: str) -> str:
    [found] = [part.sentence for part in told.parts if part.name == name]
    return found


class TestProperties:
    @unhurried
    @given(windows(), windows())
    def test_the_parts_add_up_to_the_change_of_the_margin(self, baseline: Window, current: Window) -> None:
        told = tell(decompose(baseline, current), "USD")
        assert tuple(part.name for part in told.parts) == PARTS
        assert sum((Fraction(part.amount) for part in told.parts), Fraction(0)) == Fraction(told.total)
        assert not any(has_more_places(part.amount, MONEY_PLACES) for part in told.parts)
        before, now = (Fraction(window.value - window.cost) / window.costed for window in (baseline, current))
        assert abs(Fraction(told.total) - (now - before)) <= Fraction(1, 10**MONEY_PLACES)

    @unhurried
    @given(windows())
    def test_nothing_changed(self, window: Window) -> None:
        assert drift(window, window) == {}

    @unhurried
    @given(windows(), windows())
    def test_the_names_and_the_order_of_models_do_not_matter(self, baseline: Window, current: Window) -> None:
        def renamed(use: ModelUse) -> ModelUse:
            return replace(use, model={"small": "z", "large": "a", "": "m"}[use.model], provider=use.provider[::-1])

        def shuffled(window: Window) -> Window:
            return replace(window, models=tuple(map(renamed, reversed(window.models))))

        assert drift(baseline, current) == drift(shuffled(baseline), shuffled(current))

    @unhurried
    @given(windows(), windows())
    def test_shares_are_of_what_went_the_same_way(self, baseline: Window, current: Window) -> None:
        told = tell(decompose(baseline, current), "USD")
        along = [part for part in told.parts if part.amount * told.total > 0]
        assert all((part.share is not None) == (part in along) for part in told.parts)
        assert not along or abs(sum((part.share or Decimal(0) for part in along), Decimal(-1))) < Decimal("0.00001")


# 1,000 events, one call each: 800 input tokens at 5 per million and 100 output tokens at 10 are 0.005 per event.
CALLS = a_model("small", 1000, {"input": ("800000", "4"), "output": ("100000", "1")})
CALM = a_window(CALLS)


class TestOneCause:
    """One thing changes, and one part says so."""

    def test_a_dearer_unit(self) -> None:
        # Input at 6 instead of 5 per million: 800 x 0.000001 more.
        now = a_window(a_model("small", 1000, {"input": ("800000", "4.8"), "output": ("100000", "1")}))
        assert drift(CALM, now) == {"provider_price": Decimal("-0.0008")}

    def test_a_model_that_came(self) -> None:
        # Half of the calls go to a model that costs 0.011 a call instead of 0.005.
        half = a_model("small", 500, {"input": ("400000", "2"), "output": ("50000", "0.5")})
        now = a_window(half, a_model("large", 500, {"input": ("400000", "5.5")}))
        assert drift(CALM, now) == {"model_mix": Decimal("-0.003")}
        assert drift(now, CALM) == {"model_mix": Decimal("0.003")}

    def test_another_tier_or_a_batch_is_another_route(self) -> None:
        # A batch costs half.
        batch = a_model("small", 1000, {"input": ("800000", "2"), "output": ("100000", "0.5")}, batch=True)
        assert drift(CALM, a_window(batch)) == {"model_mix": Decimal("0.0025")}
        assert "small (batch)" in sentence(tell(decompose(CALM, a_window(batch)), "USD"), "model_mix")

    def test_longer_answers(self) -> None:
        now = a_window(a_model("small", 1000, {"input": ("800000", "4"), "output": ("150000", "1.5")}))
        assert drift(CALM, now) == {"tokens": Decimal("-0.0005")}

    def test_a_kind_of_unit_that_came(self) -> None:
        # One image per call at 0.02; reasoning instead of output at the price that it has now, 20 per million.
        image = a_window(a_model("small", 1000, {"input": ("800000", "4"), "output": ("100000", "1"), "image": ("1000", "20")}))
        assert drift(CALM, image) == {"tokens": Decimal("-0.02")}
        thinking = a_window(a_model("small", 1000, {"input": ("800000", "4"), "reasoning": ("100000", "2")}))
        assert drift(CALM, thinking) == {"tokens": Decimal("-0.001")}

    def test_an_input_side_that_came_is_no_matter_of_the_cache(self) -> None:
        # Answers without a prompt before; now 800 input tokens, half of them from the cache: 0.002 + 0.0002.
        before = a_window(a_model("small", 1000, {"output": ("100000", "1")}))
        now = a_window(a_model("small", 1000, {"input": ("400000", "2"), "cache_read": ("400000", "0.2"), "output": ("100000", "1")}))
        assert drift(before, now) == {"tokens": Decimal("-0.0022")}

    def test_a_cache_that_came(self) -> None:
        # Half of the input at a tenth: 400 x 4.5 per million less.
        now = a_window(a_model("small", 1000, {"input": ("400000", "2"), "cache_read": ("400000", "0.2"), "output": ("100000", "1")}))
        assert drift(CALM, now) == {"cache": Decimal("0.0018")}

    def test_a_cache_that_is_kept_for_longer(self) -> None:
        # The same 400 tokens written per call, for an hour at 6 instead of five minutes at 3.75 per million.
        minutes = a_window(a_model("small", 1000, {"input": ("400000", "1.2"), "cache_write": ("400000", "1.5")}))
        hour = a_window(a_model("small", 1000, {"input": ("400000", "1.2"), "cache_write_1h": ("400000", "2.4")}))
        assert drift(minutes, hour) == {"cache": Decimal("-0.0009")}

    def test_more_calls(self) -> None:
        now = a_window(a_model("small", 2000, {"input": ("1600000", "8"), "output": ("200000", "2")}))
        assert drift(CALM, now) == {"retries": Decimal("-0.005")}

    def test_fewer_credits_and_cheaper_ones(self) -> None:
        assert drift(CALM, replace(CALM, credits=Decimal(3000), value=Decimal(15))) == {"credits": Decimal("-0.005")}
        assert drift(CALM, replace(CALM, value=Decimal(15))) == {"credit_value": Decimal("-0.005")}

    def test_credits_that_came_back_have_no_value_to_compare(self) -> None:
        assert drift(CALM, replace(CALM, credits=Decimal(0), value=Decimal(0))) == {"credits": Decimal("-0.02")}
        assert drift(replace(CALM, credits=Decimal(0), value=Decimal(0)), CALM) == {"credits": Decimal("0.02")}

    def test_twice_the_events_of_the_same_kind_are_no_drift(self) -> None:
        twice = a_window(
            a_model("small", 2000, {"input": ("1600000", "8"), "output": ("200000", "2")}), events=2000, credits="8000", value="40"
        )
        assert drift(CALM, twice) == {}

    def test_events_without_a_known_cost_are_in_no_average(self) -> None:
        assert drift(CALM, replace(CALM, events=1500, unpriced=500)) == {}


class TestReportedCosts:
    def test_the_cost_per_call_is_a_price(self) -> None:
        before, now = (a_window(a_model("", 1000, {"reported": ("1000", cost)})) for cost in ("3", "4"))
        assert drift(before, now) == {"provider_price": Decimal("-0.001")}

    def test_who_begins_to_report_took_another_route(self) -> None:
        # Half of the same model's calls are now told at 0.007 instead of 0.005.
        units = {"input": ("400000", "2"), "output": ("50000", "0.5"), "reported": ("500", "3.5")}
        now = a_window(a_model("small", 1000, units))
        assert drift(CALM, now) == {"model_mix": Decimal("-0.001")}
        assert "small (cost reported by the app)" in sentence(tell(decompose(CALM, now), "USD"), "model_mix")


class TestOddWindows:
    def test_no_calls_before_or_now(self) -> None:
        assert drift(a_window(), CALM) == {"model_mix": Decimal("-0.005")}
        assert drift(CALM, a_window()) == {"model_mix": Decimal("0.005")}
        assert drift(a_window(), a_window()) == {}

    def test_a_cost_without_a_counted_call_or_unit_is_one_of_each(self) -> None:
        now = a_window(a_model("small", 0, {"input": ("0", "5")}))
        assert sum(drift(CALM, now).values()) == 0

    def test_costs_that_do_not_add_up_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"add up to 5\.0+, the window's cost is 6"):
            decompose(CALM, replace(CALM, cost=Decimal(6)))

    def test_a_third_of_a_cent_is_rounded_once(self) -> None:
        # The margin is 0 before and now, and -1/3 in between: both parts have the one rounding of it.
        before, now = at_cost("1", events=3, credits="3", value="1"), at_cost("2", events=3, credits="3", value="2")
        assert drift(before, now) == {"provider_price": Decimal("-0.333333333333"), "credit_value": Decimal("0.333333333333")}


class TestSentences:
    @pytest.mark.parametrize(
        ("current", "name", "words"),
        [
            (
                replace(CALM, value=Decimal(15)),
                "credit_value",
                "Customers paid less for a credit, 0.00375 USD instead of 0.005 USD: 0.005 USD less income per event, 100.0 % of the fall.",
            ),
            (
                replace(CALM, value=Decimal(25)),
                "credit_value",
                "Customers paid more for a credit, 0.00625 USD instead of 0.005 USD: 0.005 USD more income per event, 100.0 % of the rise.",
            ),
            (CALM, "tokens", "Use per call: no change."),
        ],
    )
    def test_read_aloud(self, current: Window, name: str, words: str) -> None:
        assert sentence(tell(decompose(CALM, current), "USD"), name) == words

    def test_what_went_against_the_trend_has_no_share(self) -> None:
        cheaper = a_window(a_model("small", 1000, {"input": ("800000", "3.2"), "output": ("100000", "1")}), value="15")
        told = tell(decompose(CALM, cheaper), "USD")
        assert [(part.name, part.share) for part in told.parts if part.amount] == [("provider_price", None), ("credit_value", 1)]
        assert (
            sentence(told, "provider_price") == "Provider prices fell, above all small: 0.0008 USD less cost per event, against the trend."
        )
