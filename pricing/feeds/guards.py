"""Guards: what makes a difference too doubtful to be taken over with the rest.

A guarded line blocks until a person accepts that line by itself, with a reason. Each guard has a name, and a sentence that says
what was seen and what to do. They look at one line, at the other prices of its model, at what other feeds stated last, and at
what the catalogue said before.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final, NamedTuple

from config.base.exact import plain
from pricing.feeds.diff import Catalogue, Kind, Line, by_series, in_force, judged_at
from pricing.feeds.statement import MILLION, Figure, Reading, SeriesKey
from pricing.units import UnitKind


class Doubt(NamedTuple):
    """A guard, and what it says about one line."""

    guard: "Guard"
    sentence: str


class Guard(StrEnum):
    """The name of each; `TITLES` has its words."""

    JUMP = "jump"
    DISAGREEMENT = "disagreement"
    RETURNED = "returned"
    ZERO = "zero"
    UNIT = "unit"
    TIERS = "tiers"
    CACHE_DEARER = "cache_dearer"
    OUTPUT_CHEAPER = "output_cheaper"
    ANNOUNCED_RISE = "announced_rise"
    CURRENCY = "currency"
    DROPPED = "dropped"
    OTHER_NAME = "other_name"
    NAME_TAKEN = "name_taken"
    OLDER = "older"


TITLES: Final = {
    Guard.JUMP: "Jump of 5 times or more",
    Guard.DISAGREEMENT: "Another feed disagrees",
    Guard.RETURNED: "Back to a former price",
    Guard.ZERO: "Price of 0",
    Guard.UNIT: "Unit changed or unlikely",
    Guard.TIERS: "Request sizes changed",
    Guard.CACHE_DEARER: "Cached dearer than input",
    Guard.OUTPUT_CHEAPER: "Output cheaper than input",
    Guard.ANNOUNCED_RISE: "Rise announced",
    Guard.CURRENCY: "Other currency",
    Guard.DROPPED: "No longer in the feed",
    Guard.OTHER_NAME: "Known under another name",
    Guard.NAME_TAKEN: "Name taken",
    Guard.OLDER: "Older than the catalogue",
}
# Of the genuine changes in two years of feeds few reach five times; slips of a decimal place and refactors do.
JUMP_FACTOR: Final = 5
RETURN_WINDOW: Final = timedelta(days=180)  # a price that comes back sooner is more often an old file than a new decision
FRESH: Final = timedelta(days=180)  # a feed that was not read for longer does not contradict
# USD per million tokens; anything outside was probably stated for one token, or for a thousand.
LEAST_TOKEN_PRICE: Final = Decimal("0.0001")
MOST_TOKEN_PRICE: Final = Decimal(2000)
_COMPARED: Final = frozenset({UnitKind.INPUT, UnitKind.CACHE_READ, UnitKind.OUTPUT})
_COUNTED: Final = frozenset({UnitKind.IMAGE, UnitKind.VIDEO_SECOND, UnitKind.REQUEST})  # not in tokens


@dataclass(frozen=True, slots=True)
class Statement:
    """What another feed said last about a series."""

    source: str
    figure: Figure
    stated_at: datetime


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a line is judged by."""

    reading: Reading
    catalogue: Catalogue
    others: Mapping[SeriesKey, Sequence[Statement]]
    currency: str  # the workspace's
    as_of: datetime


def guard(lines: Sequence[Line], around: Surroundings) -> None:
    """Add to each line the guards that hold it back."""
    judge = _Judge(around)
    for line in lines:
        line.guards = [(name.value, sentence) for name, sentence in judge.of(line)]


class _Judge:
    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.stated = by_series(around.reading.candidates)
        self.sizes: dict[SeriesKey, tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
        for key, rates in around.catalogue.rates.items():
            if any(rate.is_valid(around.as_of) for rate in rates):
                self.sizes[key._replace(context_threshold=0)][0].add(key.context_threshold)
        for key, stated in self.stated.items():
            if in_force(stated, around.as_of):
                self.sizes[key._replace(context_threshold=0)][1].add(key.context_threshold)
        self.claims: dict[tuple[str, str], set[str]] = defaultdict(set)
        for model, names in around.catalogue.aliases.items():
            for name in (model.name, *names):
                self.claims[model.provider, name.lower()].add(model.name)

    def of(self, line: Line) -> list[Doubt]:
        found: list[Doubt] = []
        if taken := self._taken(line):
            found.append(_name_taken(taken))
        if line.answered_by:
            found.append(_other_name(line))
        if line.key is None:
            return found
        if line.theirs is None:
            return found + _of_an_end(line)
        figure = line.theirs
        found += _of_the_figure(line.key, figure, self.around.currency)
        if line.ours:
            found += _of_the_change(line.ours, figure)
        found += self._of_the_model(line, line.key, figure)
        found += self._of_time(line, line.key, figure)
        return list({doubt.guard: doubt for doubt in found}.values())

    def _taken(self, line: Line) -> list[str]:
        """Return the other models of the catalogue that answer to a name which the line would add."""
        if line.kind is not Kind.ALIAS and line.owner in self.around.catalogue.aliases:
            return []
        claims = (self.claims.get((line.owner.provider, name.lower()), set()) for name in line.aliases)
        return sorted(set().union(*claims) - {line.owner.name})

    def _of_the_model(self, line: Line, key: SeriesKey, figure: Figure) -> list[Doubt]:
        found: list[Doubt] = []
        ours, theirs = self.sizes[key._replace(context_threshold=0)]
        if ours and theirs and ours != theirs:
            found.append(
                Doubt(
                    Guard.TIERS,
                    f"The catalogue prices requests {_sizes(ours)}, the feed {_sizes(theirs)}. Look at the provider's page, and accept "
                    "all lines of this unit or none: half of them would misprice long requests.",
                )
            )
        if key.unit not in _COMPARED:
            return found
        at = judged_at(line, self.around.as_of)
        units = {key.unit: figure} | {unit: beside for unit in _COMPARED - {key.unit} if (beside := self._beside(key, unit, at))}
        priced_alike = {unit: f for unit, f in units.items() if (f.per, f.currency) == (figure.per, figure.currency)}
        price_of_input = priced_alike.get(UnitKind.INPUT)
        cached, output = priced_alike.get(UnitKind.CACHE_READ), priced_alike.get(UnitKind.OUTPUT)
        if price_of_input and cached and key.unit is not UnitKind.OUTPUT and cached.price > price_of_input.price:
            found.append(
                Doubt(
                    Guard.CACHE_DEARER,
                    f"Cached input at {cached} is dearer than input at {price_of_input}. A cache saves money: check the provider's page "
                    "before you accept it.",
                )
            )
        if price_of_input and output and key.unit is not UnitKind.CACHE_READ and output.price < price_of_input.price:
            found.append(
                Doubt(
                    Guard.OUTPUT_CHEAPER,
                    f"Output at {output} is cheaper than input at {price_of_input}. That is rare, and often the two were swapped: check "
                    "the provider's page.",
                )
            )
        return found

    def _beside(self, key: SeriesKey, unit: UnitKind, at: datetime) -> Figure | None:
        """Return the price of another unit of the same offer: the feed's, else the catalogue's."""
        for threshold in dict.fromkeys((key.context_threshold, 0)):
            other = key._replace(unit=unit, context_threshold=threshold)
            if stated := in_force(self.stated.get(other, ()), at):
                return stated.figure
            if known := self.around.catalogue.in_force(other, at):
                return known.figure
        return None

    def _of_time(self, line: Line, key: SeriesKey, figure: Figure) -> list[Doubt]:
        found: list[Doubt] = []
        as_of, rates = self.around.as_of, self.around.catalogue.rates.get(key, ())
        if line.kind is Kind.ANNOUNCED:
            present = in_force(self.stated.get(key, ()), as_of)
            before = line.ours or (present.figure if present else None)
            if before and before.each < figure.each:
                found.append(
                    Doubt(
                        Guard.ANNOUNCED_RISE,
                        f"The feed announces a rise from {before} to {figure}. Accept it to schedule it; until it starts the present "
                        "price holds. What is scheduled stays, so check the provider's announcement first.",
                    )
                )
            return found
        former = (rate for rate in rates if line.ours and rate.effective_to and as_of - RETURN_WINDOW < rate.effective_to <= as_of)
        if back := next((rate for rate in former if rate.figure.says_the_same(figure)), None):
            found.append(
                Doubt(
                    Guard.RETURNED,
                    f"{figure} was the price until {back.effective_to:%Y-%m-%d}. A feed that brings a former price back so soon has more "
                    "often lost an edit than the provider its mind: ask the provider's page.",
                )
            )
        if later := next((rate for rate in rates if rate.effective_from > as_of and line.kind in {Kind.CHANGED, Kind.NEW}), None):
            found.append(
                Doubt(
                    Guard.OLDER,
                    f"The catalogue has a rate from {later.effective_from:%Y-%m-%d} on, later than this statement. Reject the line, "
                    "unless you know that the statement is right until then.",
                )
            )
        for statement in self.around.others.get(key, ()):
            if statement.stated_at > as_of - FRESH and not statement.figure.says_the_same(figure):
                found.append(
                    Doubt(
                        Guard.DISAGREEMENT,
                        f"{statement.source} stated {statement.figure} as of {statement.stated_at:%Y-%m-%d}. Look at the provider's "
                        "page, and accept the line that is right.",
                    )
                )
                break
        return found


def _of_the_figure(key: SeriesKey, figure: Figure, currency: str) -> list[Doubt]:
    found: list[Doubt] = []
    if figure.currency != currency:
        found.append(
            Doubt(
                Guard.CURRENCY,
                f"The feed states {figure.currency}, the books are kept in {currency}. Costs are not converted: accept it only if the "
                f"provider bills in {figure.currency} and reports may say so.",
            )
        )
    if not figure.price:
        found.append(
            Doubt(Guard.ZERO, "The feed states 0, which often stands for 'not known'. Accept it only if the provider charges nothing.")
        )
    elif key.unit not in _COUNTED:
        per_million = figure.each * MILLION
        if not Fraction(LEAST_TOKEN_PRICE) <= per_million <= Fraction(MOST_TOKEN_PRICE):
            found.append(
                Doubt(
                    Guard.UNIT,
                    f"{figure} is outside of what a million tokens cost ({plain(LEAST_TOKEN_PRICE)} to {plain(MOST_TOKEN_PRICE)}). Check "
                    "whether the feed means one token, a thousand or a million.",
                )
            )
    return found


def _of_the_change(ours: Figure, theirs: Figure) -> list[Doubt]:
    found: list[Doubt] = []
    if ours.currency != theirs.currency:
        return [Doubt(Guard.UNIT, f"The catalogue has {ours}, the feed {theirs}: another currency. Check what the provider bills in.")]
    if ours.per != theirs.per:
        found.append(
            Doubt(Guard.UNIT, f"The catalogue has {ours}, the feed {theirs}: for another number of units. Check what the provider counts.")
        )
    if ours.each and theirs.each:
        factor = theirs.each / ours.each
        times = factor if factor > 1 else 1 / factor
        if times >= JUMP_FACTOR:
            words = f"{_times(times)} times {'as much' if factor > 1 else 'less'}"
            found.append(
                Doubt(
                    Guard.JUMP,
                    f"From {ours} to {theirs}: {words}. A slip of the decimal point looks like this; compare with the provider's page.",
                )
            )
    return found


def _of_an_end(line: Line) -> list[Doubt]:
    found: list[Doubt] = []
    if line.key and line.key.context_threshold:
        found.append(
            Doubt(Guard.TIERS, "The price of long requests would end, and they would be priced like short ones. Check the provider's page.")
        )
    if line.is_dropped:
        found.append(
            Doubt(
                Guard.DROPPED,
                "The feed once brought this price and no longer states it, without saying that it ended. Accept it only if the provider "
                "stopped charging so: usage will be priced as another unit, or not at all.",
            )
        )
    return found


def _other_name(line: Line) -> Doubt:
    return Doubt(
        Guard.OTHER_NAME,
        f"The catalogue already prices this name, as {line.answered_by}, and differently. Accept all lines of the model to give the name "
        "prices of its own; accepting some leaves the others unpriced.",
    )


def _name_taken(taken: list[str]) -> Doubt:
    return Doubt(
        Guard.NAME_TAKEN,
        f"{', '.join(taken)} already answers to one of these names. A name that two models claim is nobody's, and its usage is unpriced: "
        "accept it only if the other model is no longer used.",
    )


def _sizes(thresholds: set[int]) -> str:
    larger = sorted(t for t in thresholds if t)
    return f"by size (from {', '.join(f'{t:,}' for t in larger)} input tokens)" if larger else "of all sizes alike"


def _times(factor: Fraction) -> str:
    return plain(Decimal(round(factor * 10)) / 10) if factor < MILLION else f"{round(factor):,}"
