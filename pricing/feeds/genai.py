"""genai-prices: provider prices that the package `genai-prices` carries inside its wheel, read without a network.

How its shapes become rates:
- A price has a start date or none. One without is taken to hold since `EPOCH`, and the row says that nobody stated it.
- Several prices of one model: the last whose start has come is in force; equal neighbours are one period.
- A tier reprices the whole request once its input exceeds `start` tokens: a rate from `start + 1` tokens on.
- A variant for batch processing or a service tier holds only the prices that it states.
- A price with more than 12 places (a third of a cent, written out) is rounded, and the row says how it was stated.
What we cannot say without guessing is left out and listed: prices by time of day, units that apps do not report
(searches, image and video tokens), name rules that are not patterns.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any, Final

from genai_prices import types as feed
from genai_prices.data import providers as installed
from pydantic import ValidationError

from config.base.exact import round_money
from pricing.feeds.genai_names import aliases
from pricing.feeds.genai_periods import Stated, dated, periods
from pricing.feeds.statement import EPOCH, MILLION, Candidate, FeedError, Figure, ModelName, Reading, SeriesKey, Skipped
from pricing.rate_catalogue import STANDARD_TIER
from pricing.units import UnitKind

SOURCE: Final = "genai-prices"
CURRENCY: Final = "USD"
UNITS: Final = {
    "input_mtok": (UnitKind.INPUT, MILLION),
    "output_mtok": (UnitKind.OUTPUT, MILLION),
    "cache_read_mtok": (UnitKind.CACHE_READ, MILLION),
    "cache_write_mtok": (UnitKind.CACHE_WRITE, MILLION),
    "cache_write_1h_mtok": (UnitKind.CACHE_WRITE_1H, MILLION),
    "output_reasoning_mtok": (UnitKind.REASONING, MILLION),
    "input_audio_mtok": (UnitKind.AUDIO_INPUT, MILLION),
    "output_audio_mtok": (UnitKind.AUDIO_OUTPUT, MILLION),
    "requests_kcount": (UnitKind.REQUEST, 1000),
}

RELEASE: Final = f"{SOURCE} {version(SOURCE)}"
Offer = tuple[str, bool]  # the service tier, and whether it is a batch
STANDARD: Final[Offer] = (STANDARD_TIER, False)


def read(*, only_providers: Collection[str] = ()) -> Reading:
    """Read the installed feed. Raises FeedError for a provider that it does not know."""
    return _read(installed, RELEASE, only_providers)


def read_json(raw: Any, *, release: str, only_providers: Collection[str] = ()) -> Reading:
    """Read the feed's own `data.json`, parsed with its numbers as decimals. Raises FeedError."""
    try:
        # How the package reads its own updates; the installed version is pinned to a minor one.
        providers = feed._providers_from_raw(raw)
    except (ValidationError, TypeError) as error:
        raise FeedError(f"This is no data.json of {SOURCE}: {str(error).splitlines()[0]}.") from error
    return _read(providers, release, only_providers)


def _read(providers: Iterable[feed.Provider], release: str, only_providers: Collection[str]) -> Reading:
    providers = list(providers)
    if unknown := set(only_providers) - {provider.id for provider in providers}:
        raise FeedError(f"{SOURCE} has no provider called {', '.join(sorted(unknown))}")
    reading = Reading(SOURCE)
    for provider in providers:
        if only_providers and provider.id not in only_providers:
            continue
        for model in provider.models:
            candidates = list(candidates_of(provider.id, model, release, reading.skipped))
            if candidates:
                names, odd = aliases(model.match, model.id)
                reading.names[ModelName(provider.id, model.id)] = names
                reading.candidates.extend(candidates)
                reading.skipped.extend(Skipped(provider.id, model.id, rule, "not a name pattern") for rule in odd)
    return reading


def candidates_of(provider: str, model: feed.ModelInfo, release: str, skipped: list[Skipped]) -> Iterator[Candidate]:
    """Yield the rates of one model; what does not become one is added to `skipped`."""
    standard = model.prices if isinstance(model.prices, list) else [feed.ConditionalPrice(prices=model.prices)]
    variants = model.price_variants or []
    constraints = [*(price.constraint for price in standard), *(variant.constraint for variant in variants)]
    if any(isinstance(constraint, feed.TimeOfDateConstraint) for constraint in constraints):
        skipped.append(Skipped(provider, model.id, "every price", "depends on the time of day"))
        return
    offers: dict[Offer, list[Stated]] = {STANDARD: dated((p.constraint, p.prices) for p in standard)}
    for variant in variants:
        offer = _offer(variant.when)
        if offer is None:
            skipped.append(Skipped(provider, model.id, f"prices when {variant.when}", "apps do not report this"))
        elif variant.prices != feed.ModelPrice():
            # The first variant in force wins, where the last standard price does: hence the earlier place.
            offers[offer] = dated([(variant.constraint, variant.prices)]) + offers.get(offer, [])
    for offer, stated in offers.items():
        for key in dict.fromkeys(key for _, figures in stated for key in figures):
            if key in UNITS:
                yield from _rates(ModelName(provider, model.id), offer, key, stated, release)
            else:
                skipped.append(Skipped(provider, model.id, key, "apps do not report this unit"))


def _rates(model: ModelName, offer: Offer, key: str, stated: list[Stated], release: str) -> Iterator[Candidate]:
    unit, per = UNITS[key]
    # A standard price replaces all of the one before; a variant only what it states.
    rows = stated if offer == STANDARD else [row for row in stated if key in row[1]]
    for period in periods(key, rows):
        price = round_money(period.price)
        series = SeriesKey(*model, unit, *offer, period.threshold)
        yield Candidate(series, Figure(price, per, CURRENCY), period.start, period.end, _detail(release, period.price, price, period.start))


def _detail(release: str, stated: Decimal, stored: Decimal, start: datetime) -> str:
    notes = [release]
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
