from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from genai_prices.data import providers

from pricing import price_book
from pricing.feeds import genai
from pricing.models import ProviderModel, ProviderRate, RateSeries
from pricing.services import rates
from pricing.units import UnitKind
from tests.pricing.factories import NOW, ProviderModelFactory, ProviderRateFactory, RateSeriesFactory

pytestmark = pytest.mark.django_db


def import_anthropic() -> rates.Imported:
    return rates.import_rates(reading=genai.read(only_providers=["anthropic"]), as_of=NOW, now=NOW)


class TestImport:
    @pytest.mark.parametrize(
        "name",
        [
            "claude-sonnet-4-5-20250929",
            "claude-opus-4-5-20251101",
            "claude-haiku-4-5-20251001",
            "claude-sonnet-4-20250514",
            "claude-opus-4-1-20250805",
            "claude-opus-4-6",
        ],
    )
    def test_prices_the_models_that_apps_report(self, name: str) -> None:
        import_anthropic()
        found = price_book.current().rates_for(provider="anthropic", model=name, service_tier="", is_batch=False, input_tokens=1000, at=NOW)
        assert found.keys() == {UnitKind.INPUT, UnitKind.OUTPUT, UnitKind.CACHE_READ, UnitKind.CACHE_WRITE}

    def test_finds_in_the_catalogue_what_the_feed_finds(self) -> None:
        rates.import_rates(reading=genai.read(), as_of=NOW, now=NOW)
        catalogue = price_book.current().catalogue
        for provider in providers:
            for model in provider.models:
                ours = catalogue.find(provider.id, model.id)
                feeds = provider.find_model(model.id)
                if ours is not None and feeds is not None:
                    assert ours.name == feeds.id

    def test_again_adds_nothing(self) -> None:
        first = import_anthropic()
        again = import_anthropic()
        assert first.models == ProviderModel.objects.count() > 20
        assert first.rates == ProviderRate.objects.count() == again.known
        assert (again.models, again.rates, again.differences) == (0, 0, ())

    def test_says_where_each_rate_is_from(self) -> None:
        import_anthropic()
        rate = ProviderRate.objects.filter(series__provider_model__name="claude-opus-4-1").first()
        assert rate is not None
        assert (rate.source, rate.currency, rate.created_at) == ("genai-prices", "USD", NOW)
        assert rate.source_detail.startswith("genai-prices 0.")

    def test_remembers_the_models_that_it_added(self) -> None:
        import_anthropic()
        model = ProviderModel.objects.get(name="claude-opus-4-1")
        assert model.history.get().history_change_reason == "import from genai-prices"


class TestDifferences:
    @pytest.fixture
    def series(self) -> RateSeries:
        model = ProviderModelFactory.create(name="claude-opus-4-1", aliases=["claude-opus-4.1*"])
        return RateSeriesFactory.create(provider_model=model)

    def test_are_told_and_not_written(self, series: RateSeries) -> None:
        ProviderRateFactory.create(series=series, price=Decimal(14))
        done = import_anthropic()
        assert done.differences == (
            "anthropic/claude-opus-4-1: the feed also calls it claude-opus-4-1*",
            "anthropic/claude-opus-4-1 input, standard: catalogue 14 USD per 1,000,000, feed 15 USD per 1,000,000",
        )
        assert [rate.price for rate in series.rates.all()] == [Decimal(14)]
        assert RateSeries.objects.filter(provider_model=series.provider_model, unit_kind="output").exists()

    def test_count_only_what_is_in_force(self, series: RateSeries) -> None:
        ProviderRateFactory.create(series=series, price=Decimal(14), effective_to=NOW - timedelta(days=1))
        ProviderRateFactory.create(series=series, price=Decimal(15), effective_from=NOW - timedelta(days=1))
        assert not [text for text in import_anthropic().differences if " input" in text]

    def test_include_what_the_feed_does_not_have(self, series: RateSeries) -> None:
        ProviderRateFactory.create(series=series, price=Decimal(15))
        batch = RateSeriesFactory.create(provider_model=series.provider_model, is_batch=True)
        ProviderRateFactory.create(series=batch, price=Decimal(7))
        assert (
            "anthropic/claude-opus-4-1 input, standard, batch: catalogue 7 USD per 1,000,000, feed none" in import_anthropic().differences
        )


class TestCommand:
    def run(self, *options: str) -> str:
        out = StringIO()
        call_command("import_rates", "genai-prices", *options, stdout=out)
        return out.getvalue()

    def test_prints_counts_and_what_was_left_out(self) -> None:
        text = self.run("--providers", "anthropic")
        assert text.startswith(f"added: {ProviderModel.objects.count()} models, {ProviderRate.objects.count()} rates")
        assert "x apps do not report this unit" in text
        assert "claude-opus-4-1 web_searches_kcount: apps do not" in self.run("--providers", "anthropic", "-v", "2")

    def test_dry_run_writes_nothing(self) -> None:
        assert self.run("--dry-run", "--providers", "anthropic").startswith("would be added:")
        assert not ProviderModel.objects.exists()

    def test_as_of_leaves_out_later_prices(self) -> None:
        self.run("--as-of", "2026-03-12", "--providers", "anthropic")
        assert not ProviderRate.objects.filter(effective_from__gt=timezone.now().replace(2026, 3, 12)).exists()

    def test_refuses_an_unknown_provider(self) -> None:
        with pytest.raises(CommandError, match="no provider called nobody"):
            self.run("--providers", "nobody")
