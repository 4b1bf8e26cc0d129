"""What PostgreSQL itself refuses about provider rates."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from tests.pricing.factories import (
    A_MOMENT,
    LAST_YEAR,
    NOW,
    ProviderModelFactory,
    ProviderRateFactory,
    RateSeriesFactory,
)

pytestmark = pytest.mark.django_db


def run(sql: str, *params: int | datetime | None) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, params)


class TestImmutable:
    @pytest.mark.parametrize("change", ["price = 5", "per = 1", "currency = 'EUR'", "source = 'x'", "effective_to = NULL"])
    def test_no_column_can_be_changed(self, change: str) -> None:
        rate = ProviderRateFactory.create()
        with pytest.raises(IntegrityError, match="A provider rate never changes"):
            run(f"UPDATE pricing_providerrate SET {change} WHERE id = %s", rate.pk)

    def test_it_cannot_be_deleted(self) -> None:
        rate = ProviderRateFactory.create()
        with pytest.raises(IntegrityError, match="add the next one instead"):
            run("DELETE FROM pricing_providerrate WHERE id = %s", rate.pk)

    def test_it_can_be_ended_once(self) -> None:
        rate = ProviderRateFactory.create()
        end = "UPDATE pricing_providerrate SET effective_to = %s WHERE id = %s"
        run(end, NOW, rate.pk)
        with pytest.raises(IntegrityError, match="once"):
            run(end, NOW + timedelta(days=1), rate.pk)

    def test_a_series_never_changes_its_meaning(self) -> None:
        series = RateSeriesFactory.create()
        for sql in ("UPDATE pricing_rateseries SET is_batch = true", "DELETE FROM pricing_rateseries"):
            with pytest.raises(DatabaseError, match="append_only"):
                run(f"{sql} WHERE id = %s", series.pk)


class TestOverlap:
    def test_two_rates_of_a_series_are_never_valid_together(self) -> None:
        rate = ProviderRateFactory.create(effective_to=NOW)
        with pytest.raises(IntegrityError, match="provider_rate_no_overlap"), transaction.atomic():
            ProviderRateFactory.create(series=rate.series, effective_from=NOW - A_MOMENT)
        ProviderRateFactory.create(series=rate.series, effective_from=NOW)

    def test_each_series_has_its_own(self) -> None:
        model = ProviderModelFactory.create()
        for identity in (
            {},
            {"is_batch": True},
            {"service_tier": "flex"},
            {"context_threshold": 1},
            {"unit_kind": "output"},
        ):
            ProviderRateFactory.create(series=RateSeriesFactory.create(provider_model=model, **identity))
        with pytest.raises(IntegrityError, match="rate_series_is_one"):
            RateSeriesFactory.create(provider_model=model)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"price": Decimal(-1)}, "provider_rate_price_not_negative"),
        ({"per": 0}, "provider_rate_per_positive"),
        ({"currency": "usd"}, "provider_rate_currency_is_iso"),
        ({"source": ""}, "provider_rate_has_a_source"),
        ({"effective_to": LAST_YEAR}, "provider_rate_ends_after_start"),
        ({"series__unit_kind": "tokens"}, "rate_series_unit_known"),
        ({"series__service_tier": ""}, "rate_series_tier_named"),
        ({"series__provider_model__name": ""}, "provider_model_is_named"),
    ],
)
def test_refuses_what_makes_no_rate(change: dict[str, Any], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        ProviderRateFactory.create(**change)


def test_a_series_says_what_it_is_the_price_of() -> None:
    model = ProviderModelFactory.create(name="claude-sonnet-4-5")
    plain = RateSeriesFactory.create(provider_model=model)
    special = RateSeriesFactory.create(
        provider_model=model, unit_kind="output", service_tier="flex", is_batch=True, context_threshold=200_001
    )
    assert str(plain) == "anthropic/claude-sonnet-4-5 input"
    assert str(special) == "anthropic/claude-sonnet-4-5 output, flex, batch, from 200,001 input tokens"


def test_a_model_exists_once_per_provider() -> None:
    ProviderModelFactory.create(name="m")
    ProviderModelFactory.create(name="m", provider="aws")
    with pytest.raises(IntegrityError, match="provider_model_is_one"):
        ProviderModelFactory.create(name="m")
