"""Every change to a table that a price book is made of raises its generation, whoever makes it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from factory.django import DjangoModelFactory

from pricing.price_book import stored_generation
from tests.pricing.factories import (
    EventTypeFactory,
    PriceRuleFactory,
    PriceVersionFactory,
    ProviderModelFactory,
    ProviderRateFactory,
    RateSeriesFactory,
)

pytestmark = pytest.mark.django_db

CHANGES = [
    "UPDATE pricing_workspace SET credit_value = 0.02",
    "UPDATE pricing_eventtype SET is_active = false",
    "UPDATE pricing_pricerule SET segment = 'plan', segment_key = 'pro'",
    "UPDATE pricing_priceversion SET effective_to = now()",
    "UPDATE pricing_providermodel SET aliases = '{a}'",
    "UPDATE pricing_providerrate SET effective_to = now()",
]


def raised(change: Callable[[], Any]) -> bool:
    before = stored_generation()
    change()
    return stored_generation() != before


@pytest.mark.parametrize("sql", CHANGES)
def test_an_update_raises_it(sql: str) -> None:
    PriceVersionFactory.create()
    ProviderRateFactory.create()
    with connection.cursor() as cursor:
        assert raised(lambda: cursor.execute(sql))


@pytest.mark.parametrize("factory", [EventTypeFactory, ProviderModelFactory])
def test_an_insert_and_a_delete_raise_it(factory: type[DjangoModelFactory[Any]]) -> None:
    rows: list[Any] = []
    assert raised(lambda: rows.append(factory.create()))
    assert raised(rows[0].delete)


def test_inserts_below_others_raise_it() -> None:
    event, model = EventTypeFactory.create(), ProviderModelFactory.create()
    rule = PriceRuleFactory.build(event_type=event)
    series = RateSeriesFactory.build(provider_model=model)
    assert raised(rule.save)
    assert raised(lambda: PriceVersionFactory.create(rule=rule))
    assert raised(series.save)
    assert raised(lambda: ProviderRateFactory.create(series=series))
