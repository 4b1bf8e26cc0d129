from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.base.exact import CREDIT_PLACES, CREDIT_STEP, Rounding, has_more_places
from pricing.rating import Component, LineKind, Price, PriceLine, Rated, Tier, explain, rate
from pricing.units import UnitKind, Usage
from tests.pricing.test_units import usages

FLAT = Price(1, 1, "chat.reply/default", 1, "chat.reply", Decimal(4))
CHAT = replace(
    FLAT,
    components=(
        Component("output", Decimal("0.5"), 1000),
        Component("output", Decimal(1), 1000, "premium", ("claude-opus-*",)),
    ),
    minimum=Decimal(1),
    rounding_step=Decimal("0.5"),
    rounding_mode=Rounding.UP,
)


def figures(rated: Rated) -> list[tuple[str, str, str]]:
    return [(line.kind.value, line.unit, str(line.credits.normalize())) for line in rated.lines]


class TestFlatPrice:
    def test_costs_its_credits(self) -> None:
        rated = rate(FLAT, quantity=Decimal(1), usage=Usage(model="claude-opus-4-1", input_tokens=10_000))
        assert rated.credits == 4
        assert figures(rated) == [("event", "event", "4")]

    def test_is_multiplied_by_the_quantity(self) -> None:
        assert rate(FLAT, quantity=Decimal("2.5"), usage=None).credits == 10

    def test_may_be_free(self) -> None:
        assert rate(replace(FLAT, credits_per_event=Decimal(0)), quantity=Decimal(1), usage=None).credits == 0

    def test_is_lifted_to_its_minimum_and_rounded(self) -> None:
        price = replace(FLAT, credits_per_event=Decimal("0.3"), minimum=Decimal("0.5"), rounding_step=Decimal("0.25"))
        assert figures(rate(price, quantity=Decimal(1), usage=None)) == [
            ("event", "event", "0.3"),
            ("minimum", "event", "0.2"),
        ]


class TestComponents:
    def test_a_chat_reply_by_hand(self) -> None:
        # 4 + 312 x 0.5 / 1000 = 4.156, up to the next half
        rated = rate(CHAT, quantity=Decimal(1), usage=Usage(model="claude-haiku-4-5", output_tokens=312))
        assert rated.credits == Decimal("4.5")
        assert figures(rated) == [
            ("event", "event", "4"),
            ("component", "output", "0.156"),
            ("rounding", "event", "0.344"),
        ]

    def test_the_models_own_component_replaces_the_general_one(self) -> None:
        # 4 + 312 x 1 / 1000 = 4.312
        rated = rate(CHAT, quantity=Decimal(1), usage=Usage(model="claude-opus-4-1", output_tokens=312))
        assert figures(rated)[1] == ("component", "output", "0.312")
        assert rated.lines[1].model_class == "premium"

    def test_of_two_that_match_the_first_applies(self) -> None:
        first, second = (
            Component("input", Decimal(2), 1, "a", ("gpt-*",)),
            Component("input", Decimal(3), 1, "b", ("gpt-5",)),
        )
        price = replace(FLAT, components=(first, second))
        assert rate(price, quantity=Decimal(1), usage=Usage(model="gpt-5", input_tokens=1)).credits == 6

    @pytest.mark.parametrize(
        ("units", "charged"),
        [
            ("cache_write_1h cache_write input", [("input", "0.3"), ("cache_write", "0.4"), ("cache_write_1h", "0.5")]),
            ("cache_write input", [("input", "0.3"), ("cache_write", "0.4"), ("cache_write_1h", "1")]),
            ("input", [("input", "0.3"), ("cache_write", "0.2"), ("cache_write_1h", "0.5")]),
            ("cache_write_1h", [("cache_write_1h", "0.5")]),
            ("output", []),
        ],
    )
    def test_an_hour_in_the_cache_is_charged_by_the_nearest_price(self, units: str, charged: list[tuple[str, str]]) -> None:
        # 300 fresh, 200 written for minutes, 500 for an hour; 1 credit per 1,000, but 2 for writes of minutes.
        components = tuple(Component(unit, Decimal(2 if unit == "cache_write" else 1), 1000) for unit in units.split())
        price = replace(FLAT, credits_per_event=Decimal(0), components=components)
        usage = Usage(input_tokens=1000, cache_write_tokens=700, cache_write_1h_tokens=500)
        rated = rate(price, quantity=Decimal(1), usage=usage)
        assert [(unit, credits) for kind, unit, credits in figures(rated) if kind == "component"] == charged

    def test_a_kind_without_its_own_falls_back(self) -> None:
        price = replace(FLAT, credits_per_event=Decimal(0), components=(Component("input", Decimal(2), 1000),))
        usage = Usage(input_tokens=1500, cache_read_tokens=1000, reasoning_tokens=500, output_tokens=500)
        assert figures(rate(price, quantity=Decimal(1), usage=usage)) == [
            ("component", "input", "1"),
            ("component", "cache_read", "2"),
        ]

    def test_a_kind_with_its_own_does_not_fall_back(self) -> None:
        price = replace(FLAT, components=(Component("input", Decimal(2), 1000), Component("cache_read", Decimal("0.2"), 1000)))
        usage = Usage(input_tokens=1000, cache_read_tokens=1000)
        assert rate(price, quantity=Decimal(1), usage=usage).credits == Decimal("4.2")

    def test_a_surcharge_per_event_is_for_its_models(self) -> None:
        price = replace(FLAT, components=(Component("event", Decimal(3), 1, "premium", ("claude-opus-*",)),))
        assert rate(price, quantity=Decimal(2), usage=Usage(model="claude-opus-4-1")).credits == 14
        assert rate(price, quantity=Decimal(2), usage=Usage(model="claude-haiku-4-5")).credits == 8
        assert rate(price, quantity=Decimal(2), usage=None).credits == 8

    def test_images_and_seconds(self) -> None:
        price = replace(FLAT, components=(Component("image", Decimal(5), 1), Component("video_second", Decimal("0.1"), 1)))
        usage = Usage(images=2, video_seconds=Decimal("3.5"))
        assert rate(price, quantity=Decimal(1), usage=usage).credits == Decimal("14.35")

    def test_refuses_a_usage_that_cannot_be_taken_apart(self) -> None:
        with pytest.raises(ValueError, match="is larger than its whole"):
            rate(CHAT, quantity=Decimal(1), usage=Usage(output_tokens=1, reasoning_tokens=2))


class TestTiers:
    PRICE = replace(FLAT, tiers=(Tier(Decimal(10), Decimal(3)), Tier(Decimal(100), Decimal(2))))

    @pytest.mark.parametrize(("quantity", "credits"), [("1", "4"), ("10", "40"), ("11", "43"), ("100", "310"), ("100.5", "311")])
    def test_each_applies_to_its_own_part_of_the_quantity(self, quantity: str, credits: str) -> None:
        assert rate(self.PRICE, quantity=Decimal(quantity), usage=None).credits == Decimal(credits)

    def test_lines_show_the_parts(self) -> None:
        rated = rate(self.PRICE, quantity=Decimal(101), usage=None)
        assert [(str(line.quantity), str(line.rate)) for line in rated.lines] == [("10", "4"), ("90", "3"), ("1", "2")]
        assert {line.kind for line in rated.lines} == {LineKind.TIER}
        assert len(rate(self.PRICE, quantity=Decimal(10), usage=None).lines) == 1


class TestRounding:
    @pytest.mark.parametrize(
        ("mode", "credits"),
        [(Rounding.UP, "4.5"), (Rounding.DOWN, "4"), (Rounding.HALF_UP, "4.5"), (Rounding.HALF_EVEN, "4")],
    )
    def test_settles_a_quarter_by_its_mode(self, mode: Rounding, credits: str) -> None:
        price = replace(FLAT, credits_per_event=Decimal("4.25"), rounding_step=Decimal("0.5"), rounding_mode=mode)
        assert rate(price, quantity=Decimal(1), usage=None).credits == Decimal(credits)

    def test_happens_at_six_places_without_a_step(self) -> None:
        price = replace(FLAT, credits_per_event=Decimal(0), components=(Component("input", Decimal("0.000003"), 1000),))
        rated = rate(price, quantity=Decimal(1), usage=Usage(input_tokens=500))
        assert rated.credits == Decimal("0.000002")
        assert figures(rated)[-1] == ("rounding", "event", str(Decimal("0.0000005").normalize()))


credit_figures = st.decimals(0, 1_000_000, places=CREDIT_PLACES)
steps = st.sampled_from([CREDIT_STEP, Decimal("0.01"), Decimal("0.25"), Decimal("0.5"), Decimal(1), Decimal(7)])
units = st.sampled_from([*UnitKind, "event"])
components = st.builds(Component, units, credit_figures, st.sampled_from([1, 1000, 1_000_000]), st.just(""), st.just(())) | st.builds(
    Component, units, credit_figures, st.just(1000), st.just("premium"), st.just(("claude-*",))
)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    step = draw(steps)
    starts = sorted(draw(st.sets(st.integers(1, 10_000), max_size=3)))
    return replace(
        FLAT,
        credits_per_event=draw(credit_figures),
        components=tuple(draw(st.lists(components, max_size=5))),
        tiers=tuple(Tier(Decimal(start), draw(credit_figures)) for start in starts),
        minimum=step * draw(st.integers(0, 20)),
        rounding_step=step,
        rounding_mode=draw(st.sampled_from(Rounding)),
    )


quantities = st.decimals(Decimal("0.000001"), 100_000, places=CREDIT_PLACES)
COUNTS = ("input_tokens", "output_tokens", "images", "video_seconds", "requests")


class TestProperties:
    @given(prices(), quantities, st.none() | usages())
    def test_lines_add_up_to_the_last_digit(self, price: Price, quantity: Decimal, usage: Usage | None) -> None:
        rated = rate(price, quantity=quantity, usage=usage)
        assert sum(Fraction(line.credits) for line in rated.lines) == Fraction(rated.credits)
        for line in rated.lines:
            assert Fraction(line.credits) * line.per == Fraction(line.quantity) * Fraction(line.rate)

    @given(prices(), quantities, st.none() | usages())
    def test_credits_are_exact_steps_and_never_below_the_minimum(self, price: Price, quantity: Decimal, usage: Usage | None) -> None:
        credits = rate(price, quantity=quantity, usage=usage).credits
        assert not has_more_places(credits, CREDIT_PLACES)
        assert credits % price.rounding_step == 0
        assert credits >= price.minimum

    @given(prices(), quantities, usages(), st.sampled_from(COUNTS), st.integers(1, 10**9))
    def test_more_usage_never_costs_less(self, price: Price, quantity: Decimal, usage: Usage, field: str, more: int) -> None:
        larger = usage._replace(**{field: getattr(usage, field) + more})
        assert rate(price, quantity=quantity, usage=larger).credits >= rate(price, quantity=quantity, usage=usage).credits

    @given(prices(), quantities, quantities)
    def test_more_quantity_never_costs_less(self, price: Price, quantity: Decimal, more: Decimal) -> None:
        larger = rate(price, quantity=quantity + more, usage=None)
        assert larger.credits >= rate(price, quantity=quantity, usage=None).credits

    @given(prices(), usages())
    def test_the_shortcut_for_one_gives_what_the_long_way_gives(self, price: Price, usage: Usage) -> None:
        flat = replace(price, components=(), tiers=())
        long_way = replace(price, components=(), tiers=(Tier(Decimal(10**9), Decimal(1)),))
        one = rate(flat, quantity=Decimal(1), usage=usage)
        assert one is flat.flat
        assert one.credits == rate(long_way, quantity=Decimal(1), usage=usage).credits

    @given(prices(), quantities, usages())
    def test_lines_and_definitions_survive_json(self, price: Price, quantity: Decimal, usage: Usage) -> None:
        for line in rate(price, quantity=quantity, usage=usage).lines:
            written = line.as_json()
            assert PriceLine.from_json(written) == line
            assert all(isinstance(value, str) and "E" not in value for value in written.values())
        assert tuple(Component.from_json(c.as_json()) for c in price.components) == price.components
        assert tuple(Tier.from_json(t.as_json()) for t in price.tiers) == price.tiers


class TestExplain:
    def test_says_it_in_a_sentence(self) -> None:
        assert explain(CHAT) == (
            "4 credits per chat.reply, plus 0.5 per 1,000 output tokens (premium models: 1), at least 1 credit, rounded up to half credits"
        )

    def test_of_a_flat_price_is_short(self) -> None:
        assert explain(replace(FLAT, credits_per_event=Decimal(1))) == "1 credit per chat.reply"

    def test_names_tiers_surcharges_and_other_steps(self) -> None:
        price = replace(
            FLAT,
            components=(
                Component("image", Decimal(5), 1),
                Component("input", Decimal(1), 1000, "", ("gpt-5*", "o3")),
                Component("event", Decimal(3), 1, "premium", ("claude-opus-*",)),
                Component("output", Decimal(1), 1000),
                Component("output", Decimal(1), 100, "premium", ("claude-opus-*",)),
            ),
            tiers=(Tier(Decimal(10), Decimal(3)), Tier(Decimal(100), Decimal(2))),
            rounding_step=Decimal("0.25"),
            rounding_mode=Rounding.HALF_EVEN,
        )
        assert explain(price) == (
            "4 credits per chat.reply (3 beyond 10, 2 beyond 100), plus 5 per image, "
            "plus 1 per 1,000 input tokens for gpt-5*, o3, plus 3 per event for premium models, "
            "plus 1 per 1,000 output tokens (premium models: 1 per 100 output tokens), "
            "rounded (half to even) to steps of 0.25 credits"
        )

    @given(prices())
    def test_never_fails(self, price: Price) -> None:
        assert explain(price).startswith(explain(replace(FLAT, credits_per_event=price.credits_per_event)))
