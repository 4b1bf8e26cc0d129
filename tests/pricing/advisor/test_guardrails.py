from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from config.base.exact import MAX_CREDITS, Rounding
from pricing.advisor.guardrails import Suggestion, figures, suggest
from pricing.definition import Definition, check
from pricing.price import Component, Tier
from tests.pricing.advisor.strategies import definitions, unhurried

QUARTER = Decimal("0.25")
factors = st.fractions(min_value="0.000001", max_value=1000)
max_steps = st.sampled_from([Decimal(step) for step in ("0.0001", "0.1", "0.25", "1")])


def a_price(credits: str, step: str = "1", **more: object) -> Definition:
    given_: dict[str, object] = {"components": (), "tiers": (), "minimum": Decimal(0), "rounding_mode": Rounding.HALF_UP} | more
    return Definition(credits_per_event=Decimal(credits), rounding_step=Decimal(step), **given_)  # type: ignore[arg-type]


def suggested(price: Definition, candidate: str, max_step: Decimal = QUARTER) -> Suggestion:
    return suggest(price, Fraction(candidate), floor=Fraction(0), max_step=max_step)


def clamped(suggestion: Suggestion) -> list[str]:
    return [rail.name for rail in suggestion.guardrails if rail.clamped]


class TestProperties:
    @unhurried
    @given(definitions().filter(lambda price: any(figures(price))), factors, factors, max_steps)
    def test_every_figure_stays_within_the_step(self, price: Definition, candidate: Fraction, floor: Fraction, max_step: Decimal) -> None:
        after = suggest(price, candidate, floor=floor, max_step=max_step).definition
        assert check(after) == []
        pairs = [
            (price.credits_per_event, after.credits_per_event),
            (price.minimum, after.minimum),
            *((old.credits, new.credits) for old, new in zip(price.components, after.components, strict=True)),
            *((old.credits_per_event, new.credits_per_event) for old, new in zip(price.tiers, after.tiers, strict=True)),
        ]
        ways = {(new > old) - (new < old) for old, new in pairs}
        assert not {1, -1} <= ways, "all figures move the same way"
        for old, new in pairs:
            assert abs(new - old) <= old * max_step
            assert bool(new) == bool(old), "nothing becomes free, and nothing free gets a price"

    @unhurried
    @given(definitions().filter(lambda price: any(figures(price))), factors, factors, max_steps)
    def test_a_lower_price_still_pays_the_provider(
        self, price: Definition, candidate: Fraction, floor: Fraction, max_step: Decimal
    ) -> None:
        suggestion = suggest(price, candidate, floor=floor, max_step=max_step)
        assert suggestion.factor >= min(floor, Fraction(1))

    @unhurried
    @given(st.decimals(1, 10**6, places=6), factors, factors, max_steps)
    def test_below_cost_is_only_what_the_step_does_not_reach(
        self, credits: Decimal, candidate: Fraction, floor: Fraction, max_step: Decimal
    ) -> None:
        suggestion = suggest(a_price(str(credits), "0.000001"), candidate, floor=floor, max_step=max_step)
        # Three digits are never further apart than one in a hundred.
        assert suggestion.factor >= min(floor, 1 + Fraction(max_step)) * Fraction(99, 100)

    @unhurried
    @given(definitions().filter(lambda price: any(figures(price))), factors, factors, max_steps)
    def test_a_higher_candidate_is_never_a_lower_price(self, price: Definition, one: Fraction, other: Fraction, max_step: Decimal) -> None:
        low, high = (
            dict(figures(suggest(price, factor, floor=Fraction(0), max_step=max_step).definition)) for factor in sorted((one, other))
        )
        assert all(low[name] <= high[name] for name in low)


class TestRounding:
    def test_up_so_that_the_target_is_met(self) -> None:
        # 4 x 1.09 = 4.36
        assert suggested(a_price("4", "0.5"), "1.09").definition.credits_per_event == Decimal("4.5")
        assert clamped(suggested(a_price("4", "0.5"), "1.09")) == ["rounding"]

    def test_down_where_up_goes_beyond_the_step(self) -> None:
        # 10 x 1.24 = 12.4; 13 would be 30 % more.
        assert suggested(a_price("10"), "1.24").definition.credits_per_event == 12

    def test_three_digits_where_the_rule_rounds_finer(self) -> None:
        assert suggested(a_price("4", "0.000001"), "1.0912345").definition.credits_per_event == Decimal("4.37")
        assert suggested(a_price("1234"), "1.1").definition.credits_per_event == 1360

    def test_the_rules_own_step_where_three_digits_are_no_multiple_of_it(self) -> None:
        # 123.45 x 1.1 = 135.795: 136 is no multiple of 0.3, 135.9 is.
        assert suggested(a_price("123.3", "0.3"), "1.1").definition.credits_per_event == Decimal("135.9")

    def test_components_tiers_and_minimum_move_together(self) -> None:
        price = a_price(
            "2", components=(Component("output", Decimal("0.0123"), 1000),), tiers=(Tier(Decimal(10), Decimal(1)),), minimum=Decimal(5)
        )
        after = suggested(price, "1.2").definition
        assert after.credits_per_event == Decimal("2.4")
        assert after.components[0] == Component("output", Decimal("0.0148"), 1000)  # 0.01476
        assert after.tiers[0] == Tier(Decimal(10), Decimal("1.2"))
        assert after.minimum == 6

    def test_a_minimum_that_cannot_move_does_not_hold_the_rest_back(self) -> None:
        price = a_price("0", components=(Component("output", Decimal("0.5"), 1000),), minimum=Decimal(1))
        suggestion = suggested(price, "1.2")
        assert (suggestion.definition.components[0].credits, suggestion.definition.minimum) == (Decimal("0.6"), 1)
        assert suggestion.factor == Fraction(6, 5)

    def test_a_price_that_is_only_a_minimum(self) -> None:
        suggestion = suggested(a_price("0", minimum=Decimal(8)), "1.2")
        assert (suggestion.definition.minimum, suggestion.factor) == (10, Fraction(5, 4))

    def test_the_smallest_price_and_the_largest(self) -> None:
        assert suggested(a_price("0.000001", "0.000001"), "1.2").definition.credits_per_event == Decimal("0.000001")
        assert suggested(a_price(str(MAX_CREDITS), "0.000001"), "1.2").definition.credits_per_event == MAX_CREDITS

    def test_the_price_below_is_named_where_it_would_miss_the_target(self) -> None:
        suggestion = suggested(a_price("4"), "0.9")
        assert suggestion.definition.credits_per_event == 4
        assert "the next is 3 credits, which would miss the target" in suggestion.guardrails[2].sentence


class TestFloor:
    def test_wins_over_the_candidate(self) -> None:
        suggestion = suggest(a_price("10"), Fraction("0.8"), floor=Fraction("0.9"), max_step=QUARTER)
        assert suggestion.definition.credits_per_event == 9
        assert clamped(suggestion) == ["floor"]

    def test_the_step_wins_over_the_floor_and_says_so(self) -> None:
        suggestion = suggest(a_price("4"), Fraction(3), floor=Fraction(2), max_step=QUARTER)
        assert suggestion.definition.credits_per_event == 5
        assert clamped(suggestion) == ["maximum_step"]
        assert suggestion.guardrails[1].sentence.endswith("an event still costs more than it brings in.")
