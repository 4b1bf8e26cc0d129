"""What an import is compared with, and what of imports waits for a decision."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import Final

from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from pricing.feeds.diff import Catalogue, Kind, Known, Line
from pricing.feeds.guards import Statement
from pricing.feeds.statement import Figure, ModelName, SeriesKey
from pricing.models import ChangeState, ProviderModel, ProviderRate, RateChange, RateImport, RateStatement
from pricing.units import UnitKind

_SERIES: Final = ("provider", "model", "unit_kind", "service_tier", "is_batch", "context_threshold")
_OF_SERIES: Final = ("unit_kind", "service_tier", "is_batch", "context_threshold")
_FIGURE: Final = ("price", "per", "currency")
_OURS: Final = ("catalogue_price", "catalogue_per", "catalogue_currency")
_MODELS_A_QUERY: Final = 1_000
# The series, or the model whose names are added; the kind; these names; what the catalogue said; what the feed said.
Identity = tuple[SeriesKey | ModelName, str, frozenset[str], Figure | None, Figure | None]


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


def rejected(*, source: str, models: Collection[ModelName]) -> set[Identity]:
    """Return the lines of `source` about `models` that a person decided against, so that they are not proposed again."""
    found: set[Identity] = set()
    names = sorted(models)
    for start in range(0, len(names), _MODELS_A_QUERY):
        some = names[start : start + _MODELS_A_QUERY]
        rows = RateChange.objects.filter(source=source, state=ChangeState.REJECTED)
        rows = rows.filter(provider__in={model.provider for model in some}, model__in={model.name for model in some})
        said = rows.order_by().values_list(*_SERIES, "kind", "aliases", *_OURS, *_FIGURE).distinct()
        for row in said.iterator(chunk_size=5000):
            key = _key(*row[:6]) if row[2] else ModelName(*row[:2])
            found.add(_identity(key, row[6], row[7], _figure(*row[8:11]), _figure(*row[11:14])))
    return found


def identity_of(line: Line) -> Identity:
    """Return what makes a line the same as one that was rejected."""
    return _identity(line.key or line.owner, line.kind.value, line.aliases, line.ours, line.theirs)


def _identity(key: SeriesKey | ModelName, kind: str, aliases: Iterable[str], ours: Figure | None, theirs: Figure | None) -> Identity:
    """What the catalogue said is part of it: a figure that was wrong then may be right once the catalogue has moved."""
    return key, kind, frozenset(aliases if kind == Kind.ALIAS else ()), ours, theirs


def _figure(price: Decimal | None, per: int | None, currency: str) -> Figure | None:
    return None if price is None or per is None else Figure(price, per, currency)


def series_key(change: RateChange) -> SeriesKey | None:
    """Return the series that a line is about; None where it adds names."""
    return _key(*(getattr(change, name) for name in _SERIES)) if change.unit_kind else None


def releases(*, source: str) -> "QuerySet[RateImport]":
    """Return the releases of a source that were imported, the newest first; without the comparisons that came later."""
    return RateImport.objects.filter(source=source, again_of=None).order_by("-as_of", "-id")


def pending() -> "QuerySet[RateChange]":
    """Return the lines that wait for a decision."""
    return RateChange.objects.filter(state=ChangeState.PENDING)


def pending_imports() -> "QuerySet[RateImport]":
    """Return the imports of which a line waits."""
    return RateImport.objects.defer("release").filter(pk__in=pending().values("rate_import"))


def with_counts() -> "QuerySet[RateImport]":
    """Return all imports, each with how many of its lines wait, and how many of these a guard holds back."""
    waiting = pending().filter(rate_import=OuterRef("pk"))
    return RateImport.objects.defer("release").annotate(waiting=_counted(waiting), held=_counted(waiting.exclude(guards=[])))


def _counted(changes: "QuerySet[RateChange]") -> Coalesce:
    counts = changes.order_by().values("rate_import").annotate(lines=Count("pk")).values("lines")
    return Coalesce(Subquery(counts), 0)


def _key(provider: str, model: str, unit: str, service_tier: str, is_batch: bool, context_threshold: int) -> SeriesKey:
    return SeriesKey(provider, model, UnitKind(unit), service_tier, is_batch, context_threshold)
