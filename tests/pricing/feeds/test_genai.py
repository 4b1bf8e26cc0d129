"""Reading the feed as it is installed: real data, so these figures are what the package states today."""

from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from genai_prices import types as feed
from genai_prices.data import providers

from pricing.feeds import genai
from pricing.feeds.statement import EPOCH, Candidate, FeedError, Reading
from pricing.rate_catalogue import CatalogueModel, RateCatalogue
from pricing.units import UnitKind


@pytest.fixture(scope="module")
def reading() -> Reading:
    return genai.read()


def rates(reading: Reading, model: str, unit: UnitKind, *, is_batch: bool = False) -> list[Candidate]:
    return [
        c
        for c in reading.candidates
        if (c.key.provider, c.key.model, c.key.unit, c.key.is_batch) == ("anthropic", model, unit, is_batch)
        and c.key.service_tier == "standard"
    ]


def test_a_flat_price_holds_since_nobody_said_when(reading: Reading) -> None:
    [rate] = rates(reading, "claude-opus-4-1", UnitKind.INPUT)
    assert (rate.figure.price, rate.figure.per, rate.effective_from, rate.effective_to) == (Decimal(15), 1_000_000, EPOCH, None)
    assert rate.detail.endswith("the feed states no start date")


def test_a_dated_change_ends_the_long_context_price(reading: Reading) -> None:
    march = datetime(2026, 3, 13, tzinfo=UTC)
    found = {(r.key.context_threshold, r.figure.price, r.effective_to) for r in rates(reading, "claude-opus-4-6", UnitKind.INPUT)}
    assert found == {(0, Decimal(5), None), (200_001, Decimal(10), march)}


def test_a_batch_has_its_own_price(reading: Reading) -> None:
    [rate] = rates(reading, "claude-opus-4-5", UnitKind.OUTPUT, is_batch=True)
    assert (rate.figure.price, rate.effective_from) == (Decimal("12.5"), datetime(2026, 10, 14, tzinfo=UTC))
    assert "no start date" not in rate.detail


def test_a_variant_keeps_what_a_later_one_does_not_state() -> None:
    may = feed.StartDateConstraint(start_date=date(2026, 5, 1))
    batch = {"processing": "batch"}
    model = feed.ModelInfo(
        id="m",
        match=feed.ClauseEquals(equals="m"),
        prices=feed.ModelPrice(input_mtok=Decimal(3), output_mtok=Decimal(15)),
        price_variants=[
            feed.PriceVariant(when=batch, prices=feed.ModelPrice(input_mtok=Decimal(1)), constraint=may),
            feed.PriceVariant(when=batch, prices=feed.ModelPrice(input_mtok=Decimal(2), output_mtok=Decimal(7))),
        ],
    )
    found = {
        (c.key.unit.value, c.figure.price, c.effective_from, c.effective_to)
        for c in genai.candidates_of("x", model, "a release", [])
        if c.key.is_batch
    }
    start = datetime(2026, 5, 1, tzinfo=UTC)
    assert found == {
        ("input", Decimal(2), EPOCH, start),
        ("input", Decimal(1), start, None),
        ("output", Decimal(7), EPOCH, None),
    }


def test_a_service_tier_has_its_own_price(reading: Reading) -> None:
    tiers = {
        c.key.service_tier: c.figure.price
        for c in reading.candidates
        if (c.key.provider, c.key.model, c.key.unit, c.key.is_batch) == ("openai", "gpt-4.1", UnitKind.INPUT, False)
    }
    assert tiers == {"standard": Decimal(2), "priority": Decimal("3.5"), "fast": Decimal("3.5")}


def test_a_price_by_the_time_of_day_is_left_out(reading: Reading) -> None:
    assert ("deepseek", "deepseek-chat") not in reading.names
    assert [(s.what, s.reason) for s in reading.skipped if s.model == "deepseek-chat" and s.provider == "deepseek"] == [
        ("every price", "depends on the time of day")
    ]


def test_units_that_apps_do_not_report_are_listed(reading: Reading) -> None:
    left_out = {s.what for s in reading.skipped if (s.provider, s.model) == ("anthropic", "claude-opus-4-1")}
    assert left_out == {"web_searches_kcount"}


@pytest.mark.parametrize(("model", "minutes", "hour"), [("claude-sonnet-4-5", "3.75", "6"), ("claude-opus-4-1", "18.75", "30")])
def test_cache_writes_are_priced_by_their_lifetime(reading: Reading, model: str, minutes: str, hour: str) -> None:
    for unit, price in ((UnitKind.CACHE_WRITE, minutes), (UnitKind.CACHE_WRITE_1H, hour)):
        [rate] = [rate for rate in rates(reading, model, unit) if not rate.key.context_threshold]
        assert rate.figure == (Decimal(price), 1_000_000, "USD")
    assert not any(skipped.what.startswith("cache_write") for skipped in reading.skipped)


def test_a_price_with_too_many_places_is_rounded_and_says_so(reading: Reading) -> None:
    rounded = [c for c in reading.candidates if "stated as" in c.detail]
    assert rounded
    for c in rounded:
        stated = Decimal(c.detail.partition("stated as ")[2])
        assert 0 < abs(c.figure.price - stated) <= Decimal("0.0000000000005")


def test_periods_of_one_series_never_overlap(reading: Reading) -> None:
    series: dict[object, list[Candidate]] = {}
    for c in reading.candidates:
        series.setdefault(c.key, []).append(c)
    for rows in series.values():
        rows.sort(key=lambda c: c.effective_from)
        for before, after in pairwise(rows):
            assert before.effective_to is not None
            assert before.effective_to <= after.effective_from


def test_can_be_read_for_some_providers() -> None:
    assert {model.provider for model in genai.read(only_providers=["anthropic"]).names} == {"anthropic"}


def test_refuses_an_unknown_provider() -> None:
    with pytest.raises(FeedError, match="no provider called nobody"):
        genai.read(only_providers=["anthropic", "nobody"])


def test_a_catalogue_of_its_names_finds_what_the_feed_finds(reading: Reading) -> None:
    catalogue = RateCatalogue(CatalogueModel(*model, names, ()) for model, names in reading.names.items())
    found = 0
    for provider in providers:
        for model in provider.models:
            ours, feeds = catalogue.find(provider.id, model.id), provider.find_model(model.id)
            if ours is not None and feeds is not None:
                assert ours.name == feeds.id
                found += 1
    assert found > 500
