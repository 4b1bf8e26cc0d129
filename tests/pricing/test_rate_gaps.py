"""Why a usage has no known cost."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from pricing import rate_gaps
from pricing.cost import Rate
from pricing.rate_catalogue import CatalogueModel, DatedRate, RateCatalogue
from pricing.rate_gaps import GapKind
from pricing.units import UnitKind, Usage
from tests.pricing.factories import LAST_YEAR, NOW

USAGE = Usage("acme", "nova", input_tokens=1_000, cache_read_tokens=600, output_tokens=10)


def a_rate(unit: UnitKind, *, currency: str = "USD", tier: str = "standard", **terms: Any) -> DatedRate:
    facts: dict[str, Any] = {"is_batch": False, "context_threshold": 0, "effective_from": LAST_YEAR, "effective_to": None}
    return DatedRate(tier, rate=Rate(1, unit, Decimal(3), 1_000_000, currency), **(facts | terms))


def gap(*rates: DatedRate, usage: Usage = USAGE, service_tier: str = "") -> rate_gaps.Gap | None:
    catalogue = RateCatalogue([CatalogueModel("acme", "nova", (), rates)])
    return rate_gaps.find(catalogue, usage, service_tier=service_tier, is_batch=False, at=NOW)


INPUT, OUTPUT = a_rate(UnitKind.INPUT), a_rate(UnitKind.OUTPUT)


class TestFind:
    def test_nothing_is_missing_where_all_have_a_rate_or_fall_back(self) -> None:
        assert gap(INPUT, OUTPUT) is None

    @pytest.mark.parametrize(
        ("rates", "options", "kind"),
        [
            ((), {"usage": USAGE._replace(model="")}, GapKind.NO_MODEL_NAMED),
            ((), {"usage": USAGE._replace(model="nova-2")}, GapKind.UNKNOWN_MODEL),
            ((INPUT, OUTPUT), {"service_tier": "priority"}, GapKind.NO_RATE_IN_TIER),
            ((INPUT,), {}, GapKind.NO_RATE_FOR_UNIT),
            ((INPUT, a_rate(UnitKind.OUTPUT, effective_from=NOW + timedelta(days=1))), {}, GapKind.BEGINS_LATER),
            ((INPUT, a_rate(UnitKind.OUTPUT, effective_to=NOW)), {}, GapKind.ENDED),
            ((INPUT, a_rate(UnitKind.OUTPUT, currency="EUR")), {}, GapKind.SEVERAL_CURRENCIES),
            ((INPUT, OUTPUT), {"usage": USAGE._replace(cache_read_tokens=2_000)}, GapKind.MISCOUNTED),
        ],
    )
    def test_names_what_is_missing(self, rates: tuple[DatedRate, ...], options: dict[str, Any], kind: GapKind) -> None:
        found = gap(*rates, **options)
        assert found
        assert found.kind is kind

    def test_names_the_units(self) -> None:
        found = gap(OUTPUT)
        assert found
        assert found.units == (UnitKind.INPUT, UnitKind.CACHE_READ)
        assert found.sentence == "There is no rate for input and cache read."

    def test_an_hour_in_the_cache_lacks_a_rate_where_five_minutes_have_one(self) -> None:
        usage = USAGE._replace(cache_read_tokens=0, cache_write_tokens=500, cache_write_1h_tokens=400)
        written = a_rate(UnitKind.CACHE_WRITE)
        assert gap(INPUT, OUTPUT, usage=usage) is None
        assert gap(INPUT, OUTPUT, written, a_rate(UnitKind.CACHE_WRITE_1H), usage=usage) is None
        # A former price of input, which says nothing of the cache.
        found = gap(INPUT, OUTPUT, written, a_rate(UnitKind.INPUT, effective_to=LAST_YEAR), usage=usage)
        assert found
        assert (found.kind, found.units) == (GapKind.NO_RATE_FOR_UNIT, (UnitKind.CACHE_WRITE_1H,))
        assert found.sentence == "There is no rate for cache write 1h."
        # A rate of five minutes that begins later will be none of an hour.
        alone = Usage("acme", "nova", input_tokens=400, cache_write_tokens=400, cache_write_1h_tokens=400)
        found = gap(OUTPUT, a_rate(UnitKind.CACHE_WRITE, effective_from=NOW + timedelta(days=1)), usage=alone)
        assert found
        assert found.kind is GapKind.NO_RATE_FOR_UNIT

    def test_says_when_a_rate_begins(self) -> None:
        found = gap(INPUT, a_rate(UnitKind.OUTPUT, effective_from=NOW + timedelta(days=1)))
        assert found
        assert found.starts_at == NOW + timedelta(days=1)
