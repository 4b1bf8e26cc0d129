"""A release as it is kept with its import, so that it can be compared again without its file."""

import json
import zlib
from datetime import datetime
from decimal import Decimal
from typing import Any

from pricing.feeds.statement import Candidate, Figure, ModelName, Reading, SeriesKey, Skipped
from pricing.units import UnitKind


def pack(reading: Reading) -> bytes:
    """Return the whole reading as compressed JSON: some 100 kB for thousands of prices."""
    whole = {
        "names": [[*model, aliases] for model, aliases in reading.names.items()],
        "candidates": [[c.key, c.figure, c.effective_from, c.effective_to, c.detail] for c in reading.candidates],
        "skipped": [[s.provider, s.model, s.what, s.reason] for s in reading.skipped],
    }
    return zlib.compress(json.dumps(whole, default=_plain).encode())


def unpack(source: str, packed: bytes) -> Reading:
    """Return what `pack` was given."""
    whole = json.loads(zlib.decompress(packed))
    return Reading(
        source,
        {ModelName(provider, name): tuple(aliases) for provider, name, aliases in whole["names"]},
        [_candidate(*row) for row in whole["candidates"]],
        [Skipped(*row) for row in whole["skipped"]],
    )


def _candidate(key: list[Any], figure: list[Any], start: str, end: str | None, detail: str) -> Candidate:
    provider, model, unit, *rest = key
    price, per, currency = figure
    return Candidate(
        SeriesKey(provider, model, UnitKind(unit), *rest),
        Figure(Decimal(price), per, currency),
        datetime.fromisoformat(start),
        datetime.fromisoformat(end) if end else None,
        detail,
    )


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
