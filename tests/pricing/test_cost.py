from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.base.exact import MONEY_PLACES, has_more_places
from pricing.cost import Cost, CostStatus, Rate, cost
from pricing.units import UnitKind, Usage, normalise
from tests.pricing.test_units import usages

SONNET = {
    UnitKind.INPUT: Rate(1, UnitKind.INPUT, Decimal(3), 1_000_000, "USD"),
    UnitKind.OUTPUT: Rate(2, UnitKind.OUTPUT, Decimal(15), 1_000_000, "USD"),
    UnitKind.CACHE_READ: Rate(3, UnitKind.CACHE_READ, Decimal("0.3"), 1_000_000, "USD"),
}
# A price page that states both lifetimes, and one that states the shorter alone.
FIVE_MINUTES = SONNET | {UnitKind.CACHE_WRITE: Rate(5, UnitKind.CACHE_WRITE, Decimal("3.75"), 1_000_000, "USD")}
BOTH = FIVE_MINUTES | {UnitKind.CACHE_WRITE_1H: Rate(6, UnitKind.CACHE_WRITE_1H, Decimal(6), 1_000_000, "USD")}
CHAT = Usage(provider="anthropic", model="claude-sonnet-4-5", input_tokens=847, output_tokens=312)


class TestPriced:
    def test_a_chat_reply_by_hand(self) -> None:
        # 847 x 3 / 1,000,000 + 312 x 15 / 1,000,000 = 0.002541 + 0.00468
        found = cost(CHAT, SONNET, None)
        assert (found.status, found.amount, found.currency) == (CostStatus.PRICED, Decimal("0.007221"), "USD")
        assert [(line.unit, line.rate_id, line.amount) for line in found.lines] == [
            ("input", 1, Decimal("0.002541")),
            ("output", 2, Decimal("0.00468")),
        ]

    def test_cached_tokens_have_their_own_rate_and_the_others_fall_back(self) -> None:
        # 100 x 3 + 600 x 0.3 + 147 x 3 + 300 x 15 + 12 x 15, per million
        usage = Usage(
            model="m",
            input_tokens=847,
            cache_read_tokens=600,
            cache_write_tokens=147,
            output_tokens=312,
            reasoning_tokens=12,
        )
        found = cost(usage, SONNET, None)
        assert found.amount == Decimal("0.005601")
        assert {line.unit: line.rate_id for line in found.lines} == {
            "input": 1,
            "cache_read": 3,
            "cache_write": 1,
            "output": 2,
            "reasoning": 2,
        }

    def test_requests_are_priced_only_where_they_have_a_rate(self) -> None:
        assert cost(CHAT, SONNET, None).status == CostStatus.PRICED
        per_request = SONNET | {UnitKind.REQUEST: Rate(4, UnitKind.REQUEST, Decimal(5), 1000, "USD")}
        assert cost(CHAT, per_request, None).amount == Decimal("0.012221")

    def test_a_call_that_used_nothing_of_a_known_model_is_free(self) -> None:
        assert cost(Usage(model="m"), SONNET, None) == Cost(CostStatus.PRICED, Decimal(0), "USD")

    def test_each_line_is_rounded_half_up_at_twelve_places(self) -> None:
        rates = {UnitKind.INPUT: Rate(1, UnitKind.INPUT, Decimal("0.0000015"), 1_000_000, "USD")}
        assert cost(Usage(model="m", input_tokens=1), rates, None).amount == Decimal("0.000000000002")


class TestCacheWritesByLifetime:
    WRITES = Usage(model="m", input_tokens=1_000, cache_write_tokens=1_000, cache_write_1h_tokens=400)

    def test_each_lifetime_has_its_own_rate(self) -> None:
        # 600 x 3.75 + 400 x 6, per million
        found = cost(self.WRITES, BOTH, None)
        assert found.amount == Decimal("0.00465")
        assert [(line.unit, line.quantity, line.rate_id) for line in found.lines] == [("cache_write", 600, 5), ("cache_write_1h", 400, 6)]

    def test_the_price_of_five_minutes_is_no_price_of_an_hour(self) -> None:
        found = cost(self.WRITES, FIVE_MINUTES, None)
        assert (found.status, found.amount) == (CostStatus.UNPRICED, None)
        assert [line.unit for line in found.lines] == ["cache_write"]

    def test_where_no_write_has_a_rate_all_are_input(self) -> None:
        # 1,000 x 3 per million
        found = cost(self.WRITES, SONNET, None)
        assert found.amount == Decimal("0.003")
        assert [(line.unit, line.quantity, line.rate_id) for line in found.lines] == [("cache_write", 600, 1), ("cache_write_1h", 400, 1)]


class TestUnpriced:
    def test_an_unknown_model_has_no_amount(self) -> None:
        assert cost(CHAT, {}, None) == Cost(CostStatus.UNPRICED, None, "")

    def test_an_unknown_model_that_used_nothing_is_no_better_known(self) -> None:
        assert cost(Usage(model="m"), {}, None).status == CostStatus.UNPRICED

    @pytest.mark.parametrize("used", [{"audio_input_tokens": 5}, {"images": 1}, {"video_seconds": Decimal(1)}])
    def test_media_are_not_guessed_from_tokens(self, used: dict[str, int]) -> None:
        found = cost(Usage(model="m", input_tokens=10, **used), SONNET, None)  # type: ignore[arg-type]
        assert (found.status, found.amount) == (CostStatus.UNPRICED, None)
        assert [line.unit for line in found.lines] == ["input"]

    def test_currencies_do_not_add_up(self) -> None:
        mixed = SONNET | {UnitKind.OUTPUT: Rate(9, UnitKind.OUTPUT, Decimal(15), 1_000_000, "EUR")}
        assert cost(CHAT, mixed, None).status == CostStatus.UNPRICED

    def test_tokens_without_a_model_are_not_nothing(self) -> None:
        assert cost(Usage(input_tokens=1), {}, None).status == CostStatus.UNPRICED


class TestOthers:
    def test_what_the_app_reports_wins(self) -> None:
        assert cost(CHAT, SONNET, Decimal("0.01")) == Cost(CostStatus.REPORTED, Decimal("0.01"), "")
        assert cost(None, {}, Decimal(0)).status == CostStatus.REPORTED

    def test_no_model_call_has_no_cost(self) -> None:
        assert cost(Usage(), SONNET, None).status == CostStatus.NONE
        assert cost(None, SONNET, None) == Cost(CostStatus.NONE, None, "")

    def test_lines_are_written_as_plain_strings(self) -> None:
        assert cost(CHAT, SONNET, None).lines[0].as_json() == {
            "unit": "input",
            "quantity": "847",
            "rate_id": "1",
            "price": "3",
            "per": "1000000",
            "amount": "0.002541",
        }


prices = st.decimals(0, 1000, places=MONEY_PLACES)
rates = st.dictionaries(st.sampled_from(UnitKind), st.tuples(prices, st.sampled_from([1, 1000, 1_000_000])), max_size=11).map(
    lambda found: {kind: Rate(i, kind, *figures, "USD") for i, (kind, figures) in enumerate(found.items())}
)


class TestProperties:
    @given(usages(), rates)
    def test_lines_add_up_and_carry_at_most_twelve_places(self, usage: Usage, found: dict[UnitKind, Rate]) -> None:
        result = cost(usage, found, None)
        assert not any(has_more_places(line.amount, MONEY_PLACES) for line in result.lines)
        if result.amount is not None:
            assert sum(Fraction(line.amount) for line in result.lines) == Fraction(result.amount)

    @given(usages(), rates)
    def test_each_token_is_costed_once(self, usage: Usage, found: dict[UnitKind, Rate]) -> None:
        result = cost(usage, found, None)
        counted = {str(line.unit): line.quantity for line in result.lines}
        assert len(counted) == len(result.lines)
        if result.status == CostStatus.PRICED:
            inputs = ("input", "cache_read", "cache_write", "cache_write_1h", "audio_input")
            assert sum(counted.get(unit, 0) for unit in inputs) == usage.input_tokens
            assert sum(counted.get(unit, 0) for unit in ("cache_write", "cache_write_1h")) == usage.cache_write_tokens
            assert sum(counted.get(unit, 0) for unit in ("output", "reasoning", "audio_output")) == usage.output_tokens

    @given(usages(), rates)
    def test_priced_means_every_kind_that_was_used(self, usage: Usage, found: dict[UnitKind, Rate]) -> None:
        used = normalise(usage).keys() - {UnitKind.REQUEST}
        instead = {
            UnitKind.CACHE_READ: UnitKind.INPUT,
            UnitKind.CACHE_WRITE: UnitKind.INPUT,
            UnitKind.REASONING: UnitKind.OUTPUT,
            UnitKind.CACHE_WRITE_1H: None if UnitKind.CACHE_WRITE in found else UnitKind.INPUT,
        }
        is_covered = bool(found) and all(kind in found or instead.get(kind) in found for kind in used)
        assert (cost(usage, found, None).status == CostStatus.PRICED) == is_covered
