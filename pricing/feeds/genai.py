"""genai-prices: provider prices that the package `genai-prices` carries inside its wheel, read without a network.

How its shapes become rates:
- A price has a start date or none. One without is taken to hold since `EPOCH`, and the row says that nobody stated it.
- Several prices of one model: the last whose start has come is in force; equal neighbours are one period.
- A tier reprices the whole request once its input exceeds `start` tokens: a rate from `start + 1` tokens on.
- A variant for batch processing or a service tier holds only the prices that it states.
- A price with more than 12 places (a third of a cent, written out) is rounded, and the row says how it was stated.
What we cannot say without guessing is left out and listed: prices by time of day, units that apps do not report
(searches, one-hour cache writes, image and video tokens), name rules that are not patterns.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Final

from genai_prices import types as feed
from genai_prices.data import providers

from config.base.exact import round_money
from pricing.feeds.genai_names import aliases
from pricing.feeds.genai_periods import EPOCH, Stated, dated, periods
from pricing.rate_catalogue import STANDARD_TIER
from pricing.units import UnitKind

SOURCE: Final = "genai-prices"
CURRENCY: Final = "USD"
MILLION: Final = 1_000_000
UNITS: Final = {
    "input_mtok": (UnitKind.INPUT, MILLION),
    "output_mtok": (UnitKind.OUTPUT, MILLION),
    "cache_read_mtok": (UnitKind.CACHE_READ, MILLION),
    "cache_write_mtok": (UnitKind.CACHE_WRITE, MILLION),
    "output_reasoning_mtok": (UnitKind.REASONING, MILLION),
    "input_audio_mtok": (UnitKind.AUDIO_INPUT, MILLION),
    "output_audio_mtok": (UnitKind.AUDIO_OUTPUT, MILLION),
    "requests_kcount": (UnitKind.REQUEST, 1000),
}

_RELEASE: Final = f"{SOURCE} {version(SOURCE)}"
Offer = tuple[str, bool]  # the service tier, and whether it is a batch
STANDARD: Final[Offer] = (STANDARD_TIER, False)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One rate as the feed states it, for one period."""

    provider: str
    model: str
    unit: UnitKind
    service_tier: str
    is_batch: bool
    context_threshold: int
    price: Decimal
    per: int
    effective_from: datetime
    effective_to: datetime | None
    source_detail: str  # which release the figure is from, and what it leaves open


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in the feed that does not become a rate, and why."""

    provider: str
    model: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What the feed holds: the names of each (provider, model), candidate rates, and what was left out."""

    names: dict[tuple[str, str], tuple[str, ...]]
    candidates: list[Candidate]
    skipped: list[Skipped]


def read(*, only_providers: Collection[str] = (), as_of: date | None = None) -> Reading:
    """Read the installed feed; prices that start after `as_of` are left out.

    Raises ValueError for a provider that the feed does not know.
    """
    if unknown := set(only_providers) - {provider.id for provider in providers}:
        raise ValueError(f"{SOURCE} has no provider called {', '.join(sorted(unknown))}")
    reading = Reading({}, [], [])
    for provider in providers:
        if only_providers and provider.id not in only_providers:
            continue
        for model in provider.models:
            candidates = list(candidates_of(provider.id, model, as_of, reading.skipped))
            if candidates:
                names, odd = aliases(model.match, model.id)
                reading.names[provider.id, model.id] = names
                reading.candidates.extend(candidates)
                reading.skipped.extend(Skipped(provider.id, model.id, rule, "not a name pattern") for rule in odd)
    return reading


def candidates_of(provider: str, model: feed.ModelInfo, as_of: date | None, skipped: list[Skipped]) -> Iterator[Candidate]:
    """Yield the rates of one model; what does not become one is added to `skipped`."""
    standard = model.prices if isinstance(model.prices, list) else [feed.ConditionalPrice(prices=model.prices)]
    variants = model.price_variants or []
    constraints = [*(price.constraint for price in standard), *(variant.constraint for variant in variants)]
    if any(isinstance(constraint, feed.TimeOfDateConstraint) for constraint in constraints):
        skipped.append(Skipped(provider, model.id, "every price", "depends on the time of day"))
        return
    offers: dict[Offer, list[Stated]] = {STANDARD: dated(((p.constraint, p.prices) for p in standard), as_of)}
    for variant in variants:
        offer = _offer(variant.when)
        if offer is None:
            skipped.append(Skipped(provider, model.id, f"prices when {variant.when}", "apps do not report this"))
        elif variant.prices != feed.ModelPrice():
            # The first variant in force wins, where the last standard price does: hence the earlier place.
            offers[offer] = dated([(variant.constraint, variant.prices)], as_of) + offers.get(offer, [])
    for offer, stated in offers.items():
        for key in dict.fromkeys(key for _, figures in stated for key in figures):
            if key in UNITS:
                yield from _rates(provider, model.id, offer, key, stated)
            else:
                skipped.append(Skipped(provider, model.id, key, "apps do not report this unit"))


def _rates(provider: str, model: str, offer: Offer, key: str, stated: list[Stated]) -> Iterator[Candidate]:
    unit, per = UNITS[key]
    tier, is_batch = offer
    # A standard price replaces all of the one before; a variant only what it states.
    rows = stated if offer == STANDARD else [row for row in stated if key in row[1]]
    for period in periods(key, rows):
        price = round_money(period.price)
        detail = _detail(period.price, price, period.start)
        yield Candidate(provider, model, unit, tier, is_batch, period.threshold, price, per, period.start, period.end, detail)


def _detail(stated: Decimal, stored: Decimal, start: datetime) -> str:
    notes = [_RELEASE]
    if start == EPOCH:
        notes.append("the feed states no start date")
    if stored != stated:
        notes.append(f"stated as {stated}")
    return "; ".join(notes)


def _offer(when: dict[str, str]) -> Offer | None:
    """Return the service tier and whether it is a batch, for a variant that is about nothing else."""
    if when == {"processing": "batch"}:
        return STANDARD_TIER, True
    if set(when) == {"service_tier"}:
        return when["service_tier"], False
    return None
