"""Reads Azure's public LLM inference traces; what their columns mean is told in `billing.traces`."""

import csv
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

from billing.traces.trace import Step, Trace, TraceError, digest_of, read_bytes
from pricing.units import Usage

EVENT = "llm.request"
PROVIDER = "azure"
COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_LARGEST = 10**12


def read(path: Path) -> Trace:
    """Read a CSV file. Raises TraceError for a file that is none; a row that cannot be read becomes a fault."""
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TraceError("is not a CSV file: it is not UTF-8") from error
    rows = csv.reader(StringIO(text, newline=""))
    found: list[tuple[datetime, int, Usage]] = []
    faults = []
    try:
        header = next(rows, [])
        if missing := [name for name in COLUMNS if name not in header]:
            raise TraceError(f"is not a trace that we can read: row 1 has no column {', '.join(missing)}")
        places = [header.index(name) for name in COLUMNS]
        for position, row in enumerate((row for row in rows if row), 1):
            try:
                found.append((_moment(row[places[0]]), position, _usage(row[places[1]], row[places[2]])))
            except IndexError:
                faults.append(f"row {rows.line_num}: has {len(row)} columns, {len(header)} are needed")
            except ValueError as error:
                faults.append(f"row {rows.line_num}: {error}")
    except csv.Error as error:
        raise TraceError(f"is not a CSV file: row {rows.line_num}: {error}") from error
    found.sort(key=lambda row: row[:2])
    first = found[0][0] if found else None
    steps = (Step(position=position, offset=at - found[0][0], usage=usage, is_seen_to_the_end=True) for at, position, usage in found)
    return Trace(
        name=path.stem, digest=digest_of(content), event=EVENT, endpoint="", steps=tuple(steps), faults=tuple(faults), recorded_at=first
    )


def _moment(text: str) -> datetime:
    """Read a time; digits beyond microseconds fall away. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(f"{COLUMNS[0]} {text!r} is not a time") from error
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _usage(context: str, generated: str) -> Usage:
    return Usage(PROVIDER, input_tokens=_count(COLUMNS[1], context), output_tokens=_count(COLUMNS[2], generated))


def _count(name: str, text: str) -> int:
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit() and int(stripped[:13]) <= _LARGEST and len(stripped) <= 13):
        raise ValueError(f"{name} {text!r} is not a number of tokens")
    return int(stripped)
