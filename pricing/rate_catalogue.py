"""The catalogue of provider rates, arranged for looking one up a thousand times a second.

Nothing here guesses. A name that two models claim equally is nobody's; a service tier or a batch has only rates of its
own; a moment before the first rate has none. What is not found leaves the event unpriced, for a person to settle.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from pricing.cost import Rate
from pricing.patterns import is_pattern, matches, weight
from pricing.units import UnitKind

STANDARD_TIER: Final = "standard"
STANDARD_WORDS: Final = frozenset({"", "default", "auto", STANDARD_TIER})
_MEMO_LIMIT: Final = 10_000  # model names come from outside: a stream of made-up ones must not fill the memory

Rates = Mapping[UnitKind, Rate]
_NO_RATES: Final[Rates] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class DatedRate:
    """A rate with what it applies to: its tier, the request's size from `context_threshold` on, and its period."""

    service_tier: str
    is_batch: bool
    context_threshold: int
    effective_from: datetime
    effective_to: datetime | None
    rate: Rate

    def is_valid(self, at: datetime) -> bool:
        """Say whether the rate holds at `at`; its end is not part of it."""
        return self.effective_from <= at and (self.effective_to is None or at < self.effective_to)


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """One model of one provider with all its names and all rates that it ever had."""

    provider: str
    name: str
    aliases: tuple[str, ...]
    rates: tuple[DatedRate, ...]


@dataclass(frozen=True, slots=True)
class _Card:
    """The rates of one model in one tier: a table of moments at which something changes by request sizes."""

    moments: tuple[datetime, ...]
    thresholds: tuple[int, ...]
    cells: tuple[tuple[Rates, ...], ...]

    def at(self, at: datetime, input_tokens: int) -> Rates:
        row = bisect_right(self.moments, at)
        column = bisect_right(self.thresholds, input_tokens)
        return self.cells[row - 1][column - 1] if row and column else _NO_RATES


_EMPTY_CARD: Final = _Card((), (), ())


class RateCatalogue:
    """All models, found by any of their names."""

    def __init__(self, models: Iterable[CatalogueModel]) -> None:
        self._by_name: dict[str, dict[str, CatalogueModel]] = defaultdict(dict)
        self._by_alias: dict[str, dict[str, list[CatalogueModel]]] = defaultdict(lambda: defaultdict(list))
        self._by_pattern: dict[str, list[tuple[str, CatalogueModel]]] = defaultdict(list)
        self._cards: dict[tuple[str, str, str, bool], _Card] = {}
        for model in models:
            provider = model.provider.lower()
            self._by_name[provider].setdefault(model.name.lower(), model)
            for alias in model.aliases:
                if is_pattern(alias):
                    self._by_pattern[provider].append((alias, model))
                else:
                    self._by_alias[provider][alias.lower()].append(model)
        for patterns in self._by_pattern.values():
            patterns.sort(key=lambda entry: -weight(entry[0]))

    def rates_for(self, *, provider: str, model: str, service_tier: str, is_batch: bool, input_tokens: int, at: datetime) -> Rates:
        """Return the rates that hold at `at` for a request of `input_tokens`, by unit kind; empty when unknown."""
        key = (provider, model, service_tier, is_batch)
        card = self._cards.get(key)
        if card is None:
            card = self._card(provider, model, service_tier, is_batch=is_batch)
            if len(self._cards) >= _MEMO_LIMIT:
                self._cards.clear()
            self._cards[key] = card
        return card.at(at, input_tokens)

    def find(self, provider: str, name: str) -> CatalogueModel | None:
        """Return the model called `name`; without a provider only if exactly one provider has it."""
        if provider:
            return self._find_in(provider.lower(), name)
        if not name:
            return None
        found = [model for known in self._by_name if (model := self._find_in(known, name)) is not None]
        return found[0] if len(found) == 1 else None

    def _find_in(self, provider: str, name: str) -> CatalogueModel | None:
        if exact := self._by_name.get(provider, {}).get(name.lower()):
            return exact
        if claims := self._by_alias.get(provider, {}).get(name.lower()):
            return claims[0] if len(claims) == 1 else None
        hits = [(alias, model) for alias, model in self._by_pattern.get(provider, ()) if matches(alias, name)]
        best = [model for alias, model in hits if weight(alias) == weight(hits[0][0])]
        return best[0] if best and all(model is best[0] for model in best) else None

    def _card(self, provider: str, name: str, service_tier: str, *, is_batch: bool) -> _Card:
        model = self.find(provider, name)
        if model is None:
            return _EMPTY_CARD
        tier = tier_of(service_tier)
        rates = [r for r in model.rates if r.service_tier == tier and r.is_batch == is_batch]
        ends = {r.effective_to for r in rates if r.effective_to is not None}
        moments = tuple(sorted({r.effective_from for r in rates} | ends))
        thresholds = tuple(sorted({r.context_threshold for r in rates}))
        cells = tuple(tuple(_cell(rates, at, size) for size in thresholds) for at in moments)
        return _Card(moments, thresholds, cells)


def tier_of(reported: str) -> str:
    """Return the catalogue's word for a service tier as apps report it."""
    return STANDARD_TIER if reported.lower() in STANDARD_WORDS else reported.lower()


def _cell(rates: list[DatedRate], at: datetime, input_tokens: int) -> Rates:
    """Return the rate of each kind; of several that the request is large enough for, the highest threshold's."""
    valid = [r for r in rates if r.context_threshold <= input_tokens and r.is_valid(at)]
    return MappingProxyType({r.rate.unit: r.rate for r in sorted(valid, key=lambda r: r.context_threshold)})
