"""Where a feed and the catalogue differ: one line per series and period that a person may accept.

| kind | when | what accepting does |
|---|---|---|
| new | the catalogue has no price for the series | adds the rate |
| changed | both have one and they differ | ends the rate in force where the feed's begins, and adds that |
| announced | the feed states a price for a moment ahead | the same, at that moment: it is scheduled, not active now |
| ended | the feed says until when, or no longer states what it once brought | ends the rate; usage is unpriced from there on |
| alias | the feed knows other names of a model | adds the names |

From when a line holds: from the date that the feed states, else from `holds_from`, else (None) from its acceptance; never from before
the price that it replaces began, or the last one ended. A series
that nothing answered for until now begins as early as the feed says, so that unpriced usage of the past finds its price; where
another rate answered until now (cached tokens as input, a flat price for a long request), that would be rewriting.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pricing.feeds.statement import EPOCH, Candidate, Figure, ModelName, Reading, SeriesKey, Skipped
from pricing.rate_catalogue import CatalogueModel, RateCatalogue
from pricing.units import UnitKind, costed_as


class Kind(StrEnum):
    """What accepting a line does; see the table above."""

    NEW = "new"
    CHANGED = "changed"
    ANNOUNCED = "announced"
    ENDED = "ended"
    ALIAS = "alias"


@dataclass(frozen=True, slots=True)
class Known:
    """A rate of the catalogue."""

    figure: Figure
    effective_from: datetime
    effective_to: datetime | None
    source: str

    def is_valid(self, at: datetime) -> bool:
        return self.effective_from <= at and (self.effective_to is None or at < self.effective_to)


@dataclass(slots=True)
class Line:
    """One difference. `guards` are added by `pricing.feeds.guards`."""

    kind: Kind
    owner: ModelName
    aliases: tuple[str, ...]
    key: SeriesKey | None = None  # None for an alias
    ours: Figure | None = None
    theirs: Figure | None = None
    effective_from: datetime | None = None  # None: from the moment of acceptance
    effective_to: datetime | None = None
    detail: str = ""
    is_dropped: bool = False  # ended without the feed having said so
    answered_by: str = ""  # the model under which the catalogue knows the name, and prices it otherwise
    guards: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The catalogue as the diff needs it."""

    aliases: Mapping[ModelName, tuple[str, ...]]
    rates: Mapping[SeriesKey, Sequence[Known]]  # of each series in the order of their start

    def finder(self) -> RateCatalogue:
        return RateCatalogue(CatalogueModel(model.provider, model.name, names, ()) for model, names in self.aliases.items())

    def in_force(self, key: SeriesKey, at: datetime) -> Known | None:
        return next((rate for rate in self.rates.get(key, ()) if rate.is_valid(at)), None)


_NO_RATES: Final[tuple[Known, ...]] = ()


def in_force(stated: Iterable[Candidate], at: datetime) -> Candidate | None:
    """Return the statement that holds at `at`."""
    return next((c for c in stated if c.effective_from <= at and (c.effective_to is None or at < c.effective_to)), None)


def by_series(candidates: Iterable[Candidate]) -> dict[SeriesKey, list[Candidate]]:
    """Return the statements of each series in the order of their start."""
    series: dict[SeriesKey, list[Candidate]] = defaultdict(list)
    for candidate in sorted(candidates, key=lambda c: c.effective_from):
        series[candidate.key].append(candidate)
    return series


def compare(reading: Reading, catalogue: Catalogue, *, as_of: datetime, holds_from: datetime | None) -> list[Line]:
    """Return every difference as of `as_of`, model by model. What the catalogue knows under another name joins `reading.skipped`."""
    comparison = _Comparison(reading, catalogue, as_of, holds_from)
    return [line for owner, names in reading.names.items() for line in comparison.of_model(owner, names)]


class _Comparison:
    def __init__(self, reading: Reading, catalogue: Catalogue, as_of: datetime, holds_from: datetime | None) -> None:
        self.reading, self.catalogue, self.as_of, self.holds_from = reading, catalogue, as_of, holds_from
        self.finder = catalogue.finder()
        self.stated = by_series(reading.candidates)
        self.keys: dict[ModelName, list[SeriesKey]] = defaultdict(list)
        for key in dict.fromkeys([*self.stated, *catalogue.rates]):
            self.keys[key.owner].append(key)
        # What has a rate of any date, and the offers in which a unit may be answered by another.
        self.priced = {(key.owner, key.unit, key.service_tier, key.is_batch) for key, rates in catalogue.rates.items() if rates}

    def of_model(self, owner: ModelName, names: tuple[str, ...]) -> Iterator[Line]:
        known = self.catalogue.aliases.get(owner)
        answered_by = "" if known is not None else self._other_name(owner)
        if answered_by and self._agrees(owner, answered_by):
            self.reading.skipped.append(Skipped(*owner, "its prices", f"the catalogue knows this name as {answered_by}, priced alike"))
            return
        if known is not None and (missing := tuple(name for name in names if name not in known)):
            yield Line(Kind.ALIAS, owner, missing)
        for key in self.keys[owner]:
            for line in self._of_series(key):
                line.aliases, line.answered_by = names, answered_by
                yield line

    def _other_name(self, owner: ModelName) -> str:
        found = self.finder.find(*owner)
        return found.name if found else ""

    def _agrees(self, owner: ModelName, other: str) -> bool:
        """Say whether the model `other` costs what the feed states for `owner`, as far as both have a price."""
        for key in self.keys[owner]:
            theirs = in_force(self.stated.get(key, ()), self.as_of)
            ours = self.catalogue.in_force(key._replace(model=other), self.as_of)
            if theirs and ours and not ours.figure.says_the_same(theirs.figure):
                return False
        return True

    def _of_series(self, key: SeriesKey) -> Iterator[Line]:
        stated = self.stated.get(key, [])
        present = in_force(stated, self.as_of)
        ours = self.catalogue.in_force(key, self.as_of)
        has_changed = False
        if present and ours:
            has_changed = not ours.figure.says_the_same(present.figure)
            if has_changed:
                start = present.effective_from if present.is_dated and present.effective_from > ours.effective_from else self._after(ours)
                yield self._line(Kind.CHANGED, key, ours, present, start, stated)
            elif present.effective_to and ours.effective_to is None and not _follows(stated, present):
                yield self._line(Kind.ENDED, key, ours, None, present.effective_to, stated)
        elif present:
            yield from self._new(key, present, stated)
        elif ours and ours.source == self.reading.source and ours.effective_to is None:
            ends = [c.effective_to for c in stated if c.effective_to and ours.effective_from < c.effective_to <= self.as_of]
            line = self._line(Kind.ENDED, key, ours, None, max(ends) if ends else self._after(ours), stated)
            line.is_dropped = not stated
            yield line
        for ahead in stated:
            if ahead.effective_from > self.as_of and not self._is_scheduled(key, ahead, has_changed=has_changed):
                then = self.catalogue.in_force(key, ahead.effective_from)
                yield self._line(Kind.ANNOUNCED, key, then, ahead, ahead.effective_from, stated)

    def _new(self, key: SeriesKey, present: Candidate, stated: list[Candidate]) -> Iterator[Line]:
        if self.catalogue.rates.get(key) or self._was_answered(key):
            start = present.effective_from if present.is_dated else self.holds_from
            ends = [known.effective_to for known in self.catalogue.rates.get(key, ()) if known.effective_to]
            # What the catalogue said until its last price ended stays.
            yield self._line(Kind.NEW, key, None, present, start and max([start, *ends]), stated)
            return
        for candidate in stated:
            if candidate.effective_from <= self.as_of:
                yield self._line(Kind.NEW, key, None, candidate, candidate.effective_from, stated)

    def _after(self, ours: Known) -> datetime | None:
        """Return since when an undated statement holds in the place of `ours`; one that began later answers for its time."""
        return self.holds_from if self.holds_from and self.holds_from > ours.effective_from else None

    def _was_answered(self, key: SeriesKey) -> bool:
        """Say whether usage of this series had a price until now: that of another unit, or of shorter requests."""
        offer = (key.service_tier, key.is_batch)
        priced = {unit for unit in UnitKind if (key.owner, unit, *offer) in self.priced}
        return costed_as(key.unit, priced) is not None

    def _is_scheduled(self, key: SeriesKey, ahead: Candidate, *, has_changed: bool) -> bool:
        then = self.catalogue.in_force(key, ahead.effective_from)
        if then is None or not then.figure.says_the_same(ahead.figure):
            return False
        return then.effective_from == ahead.effective_from or not has_changed

    def _line(
        self, kind: Kind, key: SeriesKey, ours: Known | None, theirs: Candidate | None, start: datetime | None, stated: list[Candidate]
    ) -> Line:
        # Where another price is announced, the rate stays open: it ends when the announcement is accepted.
        end = theirs.effective_to if theirs and not _follows_later(stated, theirs, self.as_of) else None
        figure = theirs.figure if theirs else None
        detail = theirs.detail if theirs else ""
        return Line(kind, key.owner, (), key, ours.figure if ours else None, figure, start, end, detail)


def _follows(stated: list[Candidate], before: Candidate) -> bool:
    return any(c.effective_from == before.effective_to for c in stated)


def _follows_later(stated: list[Candidate], before: Candidate, as_of: datetime) -> bool:
    return before.effective_to is not None and before.effective_to > as_of and _follows(stated, before)


def judged_at(line: Line, as_of: datetime) -> datetime:
    """Return the moment at which the line's price is to be compared with the others of its feed."""
    start, end = line.effective_from, line.effective_to
    if start is None or (start <= as_of and (end is None or as_of < end)):
        return as_of
    return start


def sort_key(line: Line) -> Any:
    """Order lines as they are shown: by model, then unit and conditions, then time."""
    key = line.key
    rest = (list(UnitKind).index(key.unit), key.service_tier, key.is_batch, key.context_threshold) if key else (-1, "", False, 0)
    return (*line.owner, *rest, line.effective_from or datetime.max.replace(tzinfo=EPOCH.tzinfo))
