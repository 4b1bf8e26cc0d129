"""A product in a few lines, for what reports tell about its prices: two models with rates, and actions at given moments."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.events import Caller, Charged
from billing.services import charging, partitions
from pricing.models import ProviderModel
from pricing.units import Usage
from tests.billing.factories import an_event
from tests.pricing.factories import ProviderModelFactory, ProviderRateFactory, RateSeriesFactory

LARGE, SMALL = "claude-large", "claude-small"


def two_models() -> None:
    """Large: 3 and 15 per million tokens of input and output; small: 1 and 5."""
    for name, prices in ((LARGE, {"input": 3, "output": 15}), (SMALL, {"input": 1, "output": 5})):
        model: ProviderModel = ProviderModelFactory.create(provider="anthropic", name=name)
        for unit, price in prices.items():
            series = RateSeriesFactory.create(provider_model=model, unit_kind=unit)
            ProviderRateFactory.create(series=series, price=Decimal(price))


def tokens(model: str, input_tokens: int, output_tokens: int, **more: Any) -> Usage:
    return Usage("anthropic", model, input_tokens, output_tokens, **more)


def act(caller: Caller, at: datetime, **fields: Any) -> Charged:
    """Report one action at the moment when it happened."""
    partitions.ensure(first=at, last=at)
    [result] = charging.charge([an_event(caller, **fields)], now=at)
    assert isinstance(result, Charged), result
    return result
