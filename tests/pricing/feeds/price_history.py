"""`price_history.csv` as a feed: what each source stated, step by step, as readings for the importer.

The file has the differences between two states of a source. A source's first state is made of the old prices; each step is a
whole state again, as a release of the feed would be.
"""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Final

from pricing.feeds import genai, litellm
from pricing.feeds.files import Feed
from pricing.feeds.statement import EPOCH, Candidate, Figure, Reading, SeriesKey
from pricing.units import UnitKind

SOURCES: Final = {"AgentOps-AI/tokencost": "tokencost", "pydantic/genai-prices": "genai-prices", "simonw/llm-prices": "llm-prices"}
_OTHER_UNITS: Final = {"input": UnitKind.INPUT, "output": UnitKind.OUTPUT, "input_cached": UnitKind.CACHE_READ}


@dataclass(frozen=True, slots=True)
class Change:
    """One row: a price that a source states otherwise than before."""

    key: SeriesKey
    old: Decimal
    new: Decimal
    is_correction: bool
    was_flat: bool  # the old price was that of requests of any size


@dataclass(frozen=True, slots=True)
class Step:
    """One release: its day, its whole state, and what changed in it."""

    at: datetime
    feed: Feed
    changes: tuple[Change, ...]


def steps(path: Path) -> list[Step]:
    """Return the releases of all sources in the order of their days, each source's first state before its first change."""
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if _key(row)]
    found = [step for _, of_source in _grouped(rows, "source_repo") for step in _of_source(of_source)]
    return sorted(found, key=lambda step: step.at)


def _of_source(rows: list[dict[str, str]]) -> Iterator[Step]:
    rows.sort(key=lambda row: row["date"])
    source = SOURCES[rows[0]["source_repo"]]
    state: dict[SeriesKey, Decimal] = {}
    for row in rows:
        change = _change(row)
        state.setdefault(change.key._replace(context_threshold=0) if change.was_flat else change.key, change.old)
    yield Step(_day(rows[0]) - timedelta(days=1), _feed(source, state, "first"), ())
    releases: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        releases[row["date"], row["source_commit"]].append(row)
    for (_, commit), some in releases.items():
        changes = tuple(_change(row) for row in some)
        state |= {change.key: change.new for change in changes}
        yield Step(_day(some[0]), _feed(source, state, f"{_day(some[0]):%Y-%m-%d} {commit}"), changes)


def _feed(source: str, state: dict[SeriesKey, Decimal], name: str) -> Feed:
    candidates = [Candidate(key, Figure(price, 1_000_000, "USD"), EPOCH, None, name) for key, price in state.items()]
    reading = Reading(source, {candidate.key.owner: () for candidate in candidates}, candidates)
    return Feed(reading, name, hashlib.sha256(f"{source} {name}".encode()).hexdigest())


def _change(row: dict[str, str]) -> Change:
    key = _key(row)
    assert key
    correction = row["subject_hint"] == "subject_says_correction"
    return Change(key, Decimal(row["old_price_usd"]), Decimal(row["new_price_usd"]), correction, row["tier"].startswith("flat ->"))


def _key(row: dict[str, str]) -> SeriesKey | None:
    kind, model = row["token_kind"], row["model"]
    name = litellm._model(model, {"litellm_provider": row["provider"] or ("google" if "gemini" in model else "openai")})
    assert name
    if row["source_repo"] == "AgentOps-AI/tokencost":
        series = litellm._series(kind)
        return SeriesKey(*name, series[0], context_threshold=series[4]) if series else None
    unit = genai.UNITS[kind][0] if kind in genai.UNITS else _OTHER_UNITS.get(kind)
    tier = row["tier"].removeprefix("flat -> ")
    threshold = int(tier.removeprefix(">").removesuffix(" tokens")) + 1 if tier.startswith(">") else 0
    return SeriesKey(*name, unit, context_threshold=threshold) if unit else None


def _day(row: dict[str, str]) -> datetime:
    return datetime.fromisoformat(row["date"]).replace(tzinfo=UTC)


def _grouped(rows: list[dict[str, str]], column: str) -> Iterator[tuple[str, list[dict[str, str]]]]:
    for value, some in groupby(sorted(rows, key=lambda row: row[column]), key=lambda row: row[column]):
        yield value, list(some)
