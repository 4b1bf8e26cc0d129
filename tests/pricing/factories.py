"""One factory per model of `pricing`, and the moments that its tests talk about."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from factory.declarations import Sequence, SubFactory
from factory.django import DjangoModelFactory

from pricing.models import EventType, PriceRule, PriceVersion, ProviderModel, ProviderRate, RateChange, RateImport, RateSeries, Segment
from pricing.units import UnitKind

NOW: Final = datetime(2026, 11, 20, 10, tzinfo=UTC)
LAST_YEAR: Final = datetime(2025, 1, 1, tzinfo=UTC)
A_MOMENT: Final = timedelta(microseconds=1)


class EventTypeFactory(DjangoModelFactory[EventType]):
    class Meta:
        model = EventType

    name = Sequence(lambda n: f"chat.reply_{n}")
    label = "Chat reply"
    unit_name = "reply"


class PriceRuleFactory(DjangoModelFactory[PriceRule]):
    class Meta:
        model = PriceRule

    event_type = SubFactory(EventTypeFactory)
    segment = Segment.DEFAULT


class PriceVersionFactory(DjangoModelFactory[PriceVersion]):
    class Meta:
        model = PriceVersion

    rule = SubFactory(PriceRuleFactory)
    number = 1
    credits_per_event = Decimal(4)
    effective_from = LAST_YEAR
    reason = "Opening price"
    created_at = LAST_YEAR


class ProviderModelFactory(DjangoModelFactory[ProviderModel]):
    class Meta:
        model = ProviderModel

    provider = "anthropic"
    name = Sequence(lambda n: f"claude-test-{n}")


class RateSeriesFactory(DjangoModelFactory[RateSeries]):
    class Meta:
        model = RateSeries

    provider_model = SubFactory(ProviderModelFactory)
    unit_kind = UnitKind.INPUT.value


class ProviderRateFactory(DjangoModelFactory[ProviderRate]):
    class Meta:
        model = ProviderRate

    series = SubFactory(RateSeriesFactory)
    price = Decimal(3)
    per = 1_000_000
    effective_from = LAST_YEAR
    source = "test"
    created_at = LAST_YEAR


class RateImportFactory(DjangoModelFactory[RateImport]):
    class Meta:
        model = RateImport

    source = "test"
    file_name = "prices.json"
    sha256 = Sequence(lambda n: f"{n:064x}")
    as_of = NOW
    counts = {"changed": 1, "guarded": 0, "agree": 0, "rejected_before": 0, "left_out": 0}
    left_out: list[list[str]] = []
    created_at = NOW


class RateChangeFactory(DjangoModelFactory[RateChange]):
    class Meta:
        model = RateChange

    rate_import = SubFactory(RateImportFactory)
    source = "test"
    kind = "new"
    provider = "anthropic"
    model = Sequence(lambda n: f"claude-test-{n}")
    unit_kind = UnitKind.INPUT.value
    price = Decimal(2)
    per = 1_000_000
    currency = "USD"
