"""Filling the catalogue of provider rates from a feed.

A first import fills gaps. What the catalogue already has is never overwritten by a feed: where they differ, the
difference is reported and a person decides.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from simple_history.utils import bulk_create_with_history

from config.base.exact import plain
from pricing.feeds.genai import CURRENCY, SOURCE, Candidate, Reading
from pricing.models import ProviderModel, ProviderRate, RateSeries

_BATCH = 5_000
_SeriesKey = tuple[str, str, str, str, bool, int]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: how many rows it added, how many rates were known, and where feed and catalogue differ."""

    models: int
    rates: int
    known: int
    differences: tuple[str, ...]


@transaction.atomic
def import_rates(*, reading: Reading, as_of: datetime, now: datetime) -> Imported:
    """Add every rate of `reading` whose model has none for that unit yet; compare the others as of `as_of`.

    Doing it again adds nothing.
    """
    models = {(m.provider, m.name): m for m in ProviderModel.objects.all()}
    catalogue = _catalogue()
    priced = {(provider, name, unit) for provider, name, unit, *_ in catalogue}
    new = [c for c in reading.candidates if (c.provider, c.model, c.unit) not in priced]
    known = [c for c in reading.candidates if (c.provider, c.model, c.unit) in priced]
    added = _add_models({key: names for key, names in reading.names.items() if key not in models}, now)
    _add_rates(new, models | added, now)
    return Imported(
        models=len(added),
        rates=len(new),
        known=len(known),
        differences=(*_name_differences(reading, models), *_rate_differences(known, catalogue, as_of)),
    )


def _catalogue() -> dict[_SeriesKey, list[ProviderRate]]:
    rates: dict[_SeriesKey, list[ProviderRate]] = defaultdict(list)
    for rate in ProviderRate.objects.select_related("series__provider_model"):
        rates[_series_key(rate.series)].append(rate)
    return rates


def _series_key(series: RateSeries) -> _SeriesKey:
    model = series.provider_model
    return (
        model.provider,
        model.name,
        series.unit_kind,
        series.service_tier,
        series.is_batch,
        series.context_threshold,
    )


def _candidate_key(candidate: Candidate) -> _SeriesKey:
    return (
        candidate.provider,
        candidate.model,
        candidate.unit.value,
        candidate.service_tier,
        candidate.is_batch,
        candidate.context_threshold,
    )


def _add_models(names: dict[tuple[str, str], tuple[str, ...]], now: datetime) -> dict[tuple[str, str], ProviderModel]:
    rows = [ProviderModel(provider=p, name=name, aliases=list(aliases)) for (p, name), aliases in names.items()]
    created = bulk_create_with_history(
        rows, ProviderModel, batch_size=_BATCH, default_change_reason=f"import from {SOURCE}", default_date=now
    )
    return {(row.provider, row.name): row for row in created}


def _add_rates(candidates: list[Candidate], models: dict[tuple[str, str], ProviderModel], now: datetime) -> None:
    known = {_series_key(series): series for series in RateSeries.objects.select_related("provider_model")}
    wanted = {_candidate_key(c): c for c in candidates}
    created = RateSeries.objects.bulk_create(
        [
            RateSeries(
                provider_model=models[c.provider, c.model],
                unit_kind=c.unit.value,
                service_tier=c.service_tier,
                is_batch=c.is_batch,
                context_threshold=c.context_threshold,
            )
            for key, c in wanted.items()
            if key not in known
        ],
        batch_size=_BATCH,
    )
    series = known | {_series_key(row): row for row in created}
    ProviderRate.objects.bulk_create(
        [
            ProviderRate(
                series=series[_candidate_key(c)],
                price=c.price,
                per=c.per,
                currency=CURRENCY,
                effective_from=c.effective_from,
                effective_to=c.effective_to,
                source=SOURCE,
                source_detail=c.source_detail,
                created_at=now,
            )
            for c in candidates
        ],
        batch_size=_BATCH,
    )


def _name_differences(reading: Reading, models: dict[tuple[str, str], ProviderModel]) -> list[str]:
    return [
        f"{provider}/{name}: the feed also calls it {', '.join(missing)}"
        for (provider, name), aliases in reading.names.items()
        if (model := models.get((provider, name))) and (missing := [a for a in aliases if a not in model.aliases])
    ]


def _rate_differences(candidates: list[Candidate], catalogue: dict[_SeriesKey, list[ProviderRate]], as_of: datetime) -> list[str]:
    """Compare what is in force at `as_of`, in the catalogue and in the feed, series by series."""
    in_feed: dict[_SeriesKey, str] = {
        _candidate_key(c): _figure(c.price, CURRENCY, c.per)
        for c in candidates
        if c.effective_from <= as_of and (c.effective_to is None or as_of < c.effective_to)
    }
    ours = {
        key: _figure(rate.price, rate.currency, rate.per)
        for key, rates in catalogue.items()
        for rate in rates
        if rate.effective_from <= as_of and (rate.effective_to is None or as_of < rate.effective_to)
    }
    read_units = {(c.provider, c.model, c.unit.value) for c in candidates}
    keys = [key for key in dict.fromkeys([*in_feed, *ours]) if key[:3] in read_units]
    return [
        f"{_describe(key)}: catalogue {ours.get(key, 'none')}, feed {in_feed.get(key, 'none')}"
        for key in keys
        if ours.get(key) != in_feed.get(key)
    ]


def _figure(price: Decimal, currency: str, per: int) -> str:
    return f"{plain(price)} {currency} per {per:,}"


def _describe(key: _SeriesKey) -> str:
    provider, name, unit, tier, is_batch, threshold = key
    batch = ", batch" if is_batch else ""
    size = f", from {threshold:,} input tokens" if threshold else ""
    return f"{provider}/{name} {unit}, {tier}{batch}{size}"
