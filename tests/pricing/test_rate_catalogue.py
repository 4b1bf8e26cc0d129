from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from pricing import rate_catalogue
from pricing.cost import Rate
from pricing.rate_catalogue import CatalogueModel, DatedRate, RateCatalogue
from pricing.units import UnitKind
from tests.pricing.factories import A_MOMENT, LAST_YEAR, NOW


def dated(
    price: int,
    *,
    unit: UnitKind = UnitKind.INPUT,
    tier: str = "standard",
    is_batch: bool = False,
    threshold: int = 0,
    start: datetime = LAST_YEAR,
    end: datetime | None = None,
) -> DatedRate:
    return DatedRate(tier, is_batch, threshold, start, end, Rate(price, unit, Decimal(price), 1_000_000, "USD"))


def model(name: str, *aliases: str, provider: str = "anthropic", rates: tuple[DatedRate, ...] = ()) -> CatalogueModel:
    return CatalogueModel(provider, name, aliases, rates)


def found(catalogue: RateCatalogue, provider: str, name: str) -> str | None:
    hit = catalogue.find(provider, name)
    return hit.name if hit else None


class TestFindingAModel:
    CATALOGUE = RateCatalogue(
        [
            model("claude-opus-5", "claude-opus-5*", "claude-opus-latest"),
            model("claude-opus-5-1", "claude-opus-5-1*"),
            model("claude-sonnet", "both", "sonnet-*", provider="anthropic"),
            model("claude-haiku", "both", "*-haiku"),
            model("gpt-5", "gpt-5-####", provider="openai"),
            model("shared", provider="aws"),
            model("shared", provider="azure"),
        ]
    )

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("claude-opus-5", "claude-opus-5"),
            ("claude-opus-latest", "claude-opus-5"),
            ("claude-opus-5-20260901", "claude-opus-5"),
            ("claude-opus-5-1", "claude-opus-5-1"),
            ("claude-opus-5-1-20260901", "claude-opus-5-1"),
            ("CLAUDE-Opus-5", "claude-opus-5"),
            ("claude-opus-4", None),
            ("", None),
        ],
    )
    def test_a_name_beats_an_alias_and_a_longer_pattern_a_shorter_one(self, name: str, expected: str | None) -> None:
        assert found(self.CATALOGUE, "anthropic", name) == expected

    def test_a_name_that_two_models_claim_is_nobodys(self) -> None:
        assert found(self.CATALOGUE, "anthropic", "both") is None

    def test_two_patterns_of_one_weight_are_nobodys(self) -> None:
        assert found(self.CATALOGUE, "anthropic", "sonnet-x") == "claude-sonnet"
        tied = RateCatalogue([model("a", "x*y"), model("b", "*xy")])
        assert found(tied, "anthropic", "xy") is None

    def test_providers_do_not_share_names(self) -> None:
        assert found(self.CATALOGUE, "openai", "claude-opus-5") is None
        assert found(self.CATALOGUE, "nobody", "gpt-5") is None
        assert found(self.CATALOGUE, "OpenAI", "gpt-5") == "gpt-5"

    def test_without_a_provider_exactly_one_must_have_it(self) -> None:
        assert found(self.CATALOGUE, "", "gpt-5-2026") == "gpt-5"
        assert found(self.CATALOGUE, "", "shared") is None
        assert found(self.CATALOGUE, "", "") is None


MODEL = model(
    "m",
    rates=(
        dated(3, end=NOW),
        dated(4, start=NOW),
        dated(6, threshold=200_001),
        dated(15, unit=UnitKind.OUTPUT),
        dated(2, is_batch=True),
        dated(7, tier="priority"),
    ),
)


def prices(
    *,
    name: str = "m",
    tier: str = "",
    is_batch: bool = False,
    tokens: int = 100,
    at: datetime = NOW,
    source: CatalogueModel = MODEL,
) -> dict[str, int]:
    rates = RateCatalogue([source]).rates_for(
        provider="anthropic", model=name, service_tier=tier, is_batch=is_batch, input_tokens=tokens, at=at
    )
    return {kind.value: int(rate.price) for kind, rate in rates.items()}


class TestRates:
    def test_hold_from_their_start_up_to_their_end(self) -> None:
        assert prices(at=NOW - A_MOMENT)["input"] == 3
        assert prices(at=NOW)["input"] == 4

    def test_are_unknown_before_the_first(self) -> None:
        assert prices(at=LAST_YEAR)["input"] == 3
        assert prices(at=LAST_YEAR - A_MOMENT) == {}

    def test_are_unknown_after_an_end_that_nothing_follows(self) -> None:
        ended = model("m", rates=(dated(3, end=NOW),))
        assert prices(source=ended, at=NOW - A_MOMENT) == {"input": 3}
        assert prices(source=ended, at=NOW) == {}
        assert prices(source=ended, at=NOW + timedelta(days=900)) == {}

    def test_of_a_large_request_are_the_highest_thresholds(self) -> None:
        assert prices(tokens=200_000) == {"input": 4, "output": 15}
        assert prices(tokens=200_001) == {"input": 6, "output": 15}

    def test_fall_back_to_the_lower_threshold_while_the_higher_one_has_none(self) -> None:
        later = model("m", rates=(dated(3), dated(6, threshold=1000, start=NOW)))
        assert prices(source=later, tokens=5000, at=NOW - A_MOMENT) == {"input": 3}
        assert prices(source=later, tokens=5000, at=NOW) == {"input": 6}

    def test_of_a_batch_or_a_tier_are_its_own_only(self) -> None:
        assert prices(is_batch=True) == {"input": 2}
        assert prices(tier="priority") == {"input": 7}
        assert prices(tier="flex") == {}
        assert prices(tier="priority", is_batch=True) == {}

    @pytest.mark.parametrize("word", ["", "default", "auto", "standard", "Standard"])
    def test_standard_has_several_words(self, word: str) -> None:
        assert prices(tier=word) == {"input": 4, "output": 15}

    def test_of_an_unknown_model_are_none(self) -> None:
        assert prices(name="unknown") == {}

    def test_made_up_names_do_not_fill_the_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rate_catalogue, "_MEMO_LIMIT", 10)
        catalogue = RateCatalogue([MODEL])
        for n in range(25):
            catalogue.rates_for(provider="anthropic", model=f"x{n}", service_tier="", is_batch=False, input_tokens=1, at=NOW)
        assert len(catalogue._cards) <= 10
