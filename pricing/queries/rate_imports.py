"""What an import is compared with, and what of imports waits for a decision."""

from collections import defaultdict
from collections.abc import Collection
from typing import Final

from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from pricing.feeds.diff import Catalogue, Known
from pricing.feeds.guards import Statement
from pricing.feeds.statement import Figure, ModelName, SeriesKey
from pricing.models import ChangeState, ProviderModel, ProviderRate, RateChange, RateImport, RateStatement
from pricing.units import UnitKind

_SERIES: Final = ("provider", "model", "unit_kind", "service_tier", "is_batch", "context_threshold")
_OF_SERIES: Final = ("unit_kind", "service_tier", "is_batch", "context_threshold")
_FIGURE: Final = ("price", "per", "currency")
Rejected = tuple[SeriesKey | ModelName, str, Figure | None]


def catalogue(*, providers: Collection[str] = ()) -> Catalogue:
    """Return the models and all their rates, of `providers` only where some are named."""
    models = ProviderModel.objects.filter(provider__in=providers) if providers else ProviderModel.objects.all()
    aliases = {ModelName(provider, name): tuple(names) for provider, name, names in models.values_list("provider", "name", "aliases")}
    rates: dict[SeriesKey, list[Known]] = defaultdict(list)
    rows = (
        ProviderRate.objects.filter(voided_at=None)
        .order_by("effective_from")
        .values_list(
            *("series__provider_model__provider", "series__provider_model__name", *(f"series__{name}" for name in _OF_SERIES)),
            *(*_FIGURE, "effective_from", "effective_to", "source"),
        )
    )
    if providers:
        rows = rows.filter(series__provider_model__provider__in=providers)
    for row in rows.iterator(chunk_size=5000):
        rates[_key(*row[:6])].append(Known(Figure(*row[6:9]), *row[9:]))
    return Catalogue(aliases, rates)


def statements_of_others(*, source: str, providers: Collection[str]) -> dict[SeriesKey, list[Statement]]:
    """Return what the other feeds stated last about the series of `providers`, the newest first."""
    rows = RateStatement.objects.exclude(source=source).filter(provider__in=providers).order_by("-stated_at", "source")
    found: dict[SeriesKey, list[Statement]] = defaultdict(list)
    for row in rows.values_list(*_SERIES, "source", *_FIGURE, "stated_at").iterator(chunk_size=5000):
        found[_key(*row[:6])].append(Statement(row[6], Figure(*row[7:10]), row[10]))
    return found


def rejected(*, source: str) -> set[Rejected]:
    """Return the lines of `source` that a person decided against, so that they are not proposed again."""
    rows = RateChange.objects.filter(source=source, state=ChangeState.REJECTED)
    return {identity(row) for row in rows}


def identity(change: RateChange) -> Rejected:
    """Return what makes a line the same as that of another import."""
    owner = ModelName(change.provider, change.model)
    return series_key(change) or owner, change.kind, change.theirs


def series_key(change: RateChange) -> SeriesKey | None:
    """Return the series that a line is about; None where it adds names."""
    return _key(*(getattr(change, name) for name in _SERIES)) if change.unit_kind else None


def pending() -> "QuerySet[RateChange]":
    """Return the lines that wait for a decision."""
    return RateChange.objects.filter(state=ChangeState.PENDING)


def pending_imports() -> "QuerySet[RateImport]":
    """Return the imports of which a line waits."""
    return RateImport.objects.filter(pk__in=pending().values("rate_import"))


def with_counts() -> "QuerySet[RateImport]":
    """Return all imports, each with how many of its lines wait, and how many of these a guard holds back."""
    waiting = pending().filter(rate_import=OuterRef("pk"))
    return RateImport.objects.annotate(waiting=_counted(waiting), held=_counted(waiting.exclude(guards=[])))


def _counted(changes: "QuerySet[RateChange]") -> Coalesce:
    counts = changes.order_by().values("rate_import").annotate(lines=Count("pk")).values("lines")
    return Coalesce(Subquery(counts), 0)


def _key(provider: str, model: str, unit: str, service_tier: str, is_batch: bool, context_threshold: int) -> SeriesKey:
    return SeriesKey(provider, model, UnitKind(unit), service_tier, is_batch, context_threshold)
