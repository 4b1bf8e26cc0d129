"""The price book: all prices and rates as of one generation, in memory, for the charge.

Prices are read on every event and change a few times a week. A process keeps one immutable book and compares its
generation with the database's counter, which every change of a priced table raises in its own transaction.
"""

import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from config.base.models import Generation
from pricing.cost import Cost, Rate, cost
from pricing.models import EventType, PriceVersion, ProviderModel, ProviderRate
from pricing.price import Price
from pricing.queries import workspace
from pricing.rate_catalogue import CatalogueModel, DatedRate, RateCatalogue, Rates
from pricing.units import UnitKind, Usage

PRICES: Final = "prices"


@dataclass(frozen=True, slots=True)
class EventTypeRow:
    """What the charge needs to know of an event type."""

    id: int
    name: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class WorkspaceFigures:
    """What the charge needs to know of the workspace."""

    currency: str
    credit_value: Decimal


@dataclass(frozen=True, slots=True)
class Timeline:
    """The versions of one rule, in order; each is valid from its start up to, and without, its end."""

    starts: tuple[datetime, ...]
    ends: tuple[datetime | None, ...]
    prices: tuple[Price, ...]

    def at(self, at: datetime) -> Price | None:
        """Return the price valid at `at`."""
        index = bisect_right(self.starts, at) - 1
        if index < 0:
            return None
        end = self.ends[index]
        return self.prices[index] if end is None or at < end else None


@dataclass(frozen=True, slots=True)
class PriceBook:
    """One immutable snapshot. `timelines` are keyed by (event type id, segment, segment key)."""

    generation: int
    workspace: WorkspaceFigures
    event_types: Mapping[str, EventTypeRow]
    timelines: Mapping[tuple[int, str, str], Timeline]
    catalogue: RateCatalogue

    def price_for(self, *, event_type_id: int, customer_key: str | None, plan: str, at: datetime) -> Price | None:
        """Return the price that applies at `at`: the customer's own, else the plan's, else the default one."""
        find = self.timelines.get
        if customer_key is not None and (timeline := find((event_type_id, "customer", customer_key))) and (price := timeline.at(at)):
            return price
        if plan and (timeline := find((event_type_id, "plan", plan))) and (price := timeline.at(at)):
            return price
        timeline = find((event_type_id, "default", ""))
        return timeline.at(at) if timeline else None

    def rates_for(self, *, provider: str, model: str, service_tier: str, is_batch: bool, input_tokens: int, at: datetime) -> Rates:
        """Return the rates that hold at `at` for a request of `input_tokens`, by unit kind; empty when unknown."""
        return self.catalogue.rates_for(
            provider=provider,
            model=model,
            service_tier=service_tier,
            is_batch=is_batch,
            input_tokens=input_tokens,
            at=at,
        )

    def cost_of(self, usage: Usage | None, *, service_tier: str, is_batch: bool, at: datetime, reported: Decimal | None = None) -> Cost:
        """Return what `usage` cost at `at`; what the app `reported` wins, and is in the book currency as is what has no rate."""
        if usage is None or reported is not None:
            found = cost(usage, {}, reported)
        else:
            rates = self.rates_for(
                provider=usage.provider,
                model=usage.model,
                service_tier=service_tier,
                is_batch=is_batch,
                input_tokens=usage.input_tokens,
                at=at,
            )
            found = cost(usage, rates, None)
        return found if found.currency else found._replace(currency=self.workspace.currency)


def load(generation: int) -> PriceBook:
    """Read everything, in five queries, as the book of `generation`.

    Read the counter first: rows that change in between belong to a later generation, whose reader will load again.
    """
    row = workspace.load()
    event_types = EventType.objects.values_list("id", "name", "is_active")
    return PriceBook(
        generation=generation,
        workspace=WorkspaceFigures(row.currency, row.credit_value),
        event_types={name: EventTypeRow(id_, name, is_active) for id_, name, is_active in event_types},
        timelines=_timelines(),
        catalogue=RateCatalogue(_catalogue_models()),
    )


def _timelines() -> dict[tuple[int, str, str], Timeline]:
    versions: dict[tuple[int, str, str], list[PriceVersion]] = defaultdict(list)
    for version in PriceVersion.objects.select_related("rule__event_type").order_by("effective_from"):
        rule = version.rule
        versions[rule.event_type_id, rule.segment, rule.segment_key].append(version)
    return {
        key: Timeline(
            tuple(v.effective_from for v in rows),
            tuple(v.effective_to for v in rows),
            tuple(v.as_price() for v in rows),
        )
        for key, rows in versions.items()
    }


def _catalogue_models() -> Iterable[CatalogueModel]:
    rates: dict[int, list[DatedRate]] = defaultdict(list)
    columns = ProviderRate.objects.filter(voided_at=None).values_list(
        "series__provider_model_id",
        "series__unit_kind",
        "series__service_tier",
        "series__is_batch",
        "series__context_threshold",
        "effective_from",
        "effective_to",
        "id",
        "price",
        "per",
        "currency",
    )
    for model_id, unit, tier, is_batch, threshold, start, end, id_, price, per, currency in columns:
        rate = Rate(id_, UnitKind(unit), price, per, currency)
        rates[model_id].append(DatedRate(tier, is_batch, threshold, start, end, rate))
    models = ProviderModel.objects.order_by("id").values_list("id", "provider", "name", "aliases")
    for id_, provider, name, aliases in models:
        yield CatalogueModel(provider, name, tuple(aliases), tuple(rates[id_]))


_lock = threading.Lock()
_cached: PriceBook | None = None


def stored_generation() -> int:
    """Return how often prices have changed, as this transaction sees it."""
    return Generation.objects.filter(name=PRICES).values_list("value", flat=True).first() or 0


def current() -> PriceBook:
    """Return the book of the stored generation: one query, and a reload when prices have changed."""
    return at_generation(stored_generation())


def is_loaded(generation: int) -> bool:
    """Say whether `at_generation` will answer without asking the database."""
    return _cached is not None and _cached.generation == generation


def at_generation(generation: int) -> PriceBook:
    """Return the book of `generation`, which the caller read inside its own transaction; reload if ours is another."""
    global _cached  # noqa: PLW0603 - one book per process
    book = _cached
    if book is not None and book.generation == generation:
        return book
    with _lock:  # many threads notice a change at once; one of them reads
        if _cached is None or _cached.generation != generation:
            _cached = load(generation)
        return _cached


def forget() -> None:
    """Drop the cached book: for tests, where a rolled back transaction gives its generation to the next one."""
    global _cached  # noqa: PLW0603 - one book per process
    _cached = None
