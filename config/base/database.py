"""Talking to the database when it is busy: what may be tried again, and how often."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import psycopg
from django.db import connection, transaction
from django.db.models import Model

T = TypeVar("T")

# Times that people may type. PostgreSQL keeps years that Python cannot read, so nothing is stored from outside these.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)

ATTEMPTS = 5
# What was prepared does not fit the tables any more, or is not there: a migration, a pooler.
_STALE = (psycopg.errors.FeatureNotSupported, psycopg.errors.InvalidSqlStatementName)
_NUMBERS = (int, Decimal)
_TRANSIENT = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)


def retrying(work: Callable[[], T], *, also: tuple[type[Exception], ...] = ()) -> T:
    """Run `work`, a whole transaction, again when it lost a race: serialization failure, deadlock, or one of `also`; and
    once when its connection was gone, or what it had prepared was stale. `work` must be safe to run
    again.

    At most `ATTEMPTS` times, and not at all inside an outer transaction, which a retry could not undo.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return work()
        except Exception as error:
            # Django wraps what psycopg raises; the raw connection of the charge may hand it over as it is.
            is_transient = isinstance(error, (*_TRANSIENT, *also)) or isinstance(error.__cause__, _TRANSIENT)
            is_stale = isinstance(error.__cause__, _STALE)
            is_gone = connection.connection is not None and connection.connection.closed
            is_lost = attempt == 1 and (is_gone or is_stale)
            if not (is_transient or is_lost) or attempt == ATTEMPTS or connection.in_atomic_block:
                raise
            if is_lost:
                connection.close()  # the next attempt opens a new one; a commit that went through is found by its key
            time.sleep(random.uniform(0, 0.01 * attempt))  # noqa: S311 - spreads rivals, guards nothing
    raise AssertionError("unreachable")


@contextmanager
def snapshot() -> Iterator[None]:
    """Read everything inside as of one moment; inside another transaction, as that transaction sees it."""
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


def patient(*, seconds: int) -> None:
    """Let what follows in this transaction take longer than a request usually may: its statements, and the work between them."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{seconds}s'; SET LOCAL idle_in_transaction_session_timeout = '{seconds}s'")


def sync(raw: "psycopg.Connection[Any]", pipeline: psycopg.Pipeline) -> None:
    """Have all that was sent answered; raises what went wrong.

    `Pipeline.sync` alone starts to wait before it has sent the end of a long message, for which the server waits.
    """
    raw.wait(psycopg.generators.send(raw.pgconn))
    pipeline.sync()


def array_literal(values: Sequence[Any]) -> str:
    """Write a column of values as PostgreSQL reads an array, for `unnest(%s::type[], …)`.

    A column of a flush repeats few values many times, so each is written once. psycopg's own arrays cost a Python call
    per item, which for the sixty columns of a usage record is most of the time of a flush.
    """
    first, count = values[0], len(values)
    if values.count(first) == count:
        return "{" + ",".join([_literal(first)] * count) + "}"
    distinct = set(values)
    if len(distinct) == count:
        return "{" + ",".join(map(_literal, values)) + "}"
    written = {value: _literal(value) for value in distinct}
    return "{" + ",".join([written[value] for value in values]) + "}"


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    text = f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)
    if isinstance(value, _NUMBERS):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def insert_all(model: type[Model], columns: str, *, after: int = 0) -> str:
    """Build the statement that inserts rows of `model` from one array per column, for a RawCursor, `after` so many others.

    psycopg rewrites placeholders of its own kind, and for more than 50 of them anew with every call.
    """
    types = {field.column: field.rel_db_type(connection) for field in model._meta.concrete_fields}
    names = [name.strip() for name in columns.split(",")]
    arrays = ", ".join(f"unnest(${number}::{types[name]}[])" for number, name in enumerate(names, start=after + 1))
    quoted = ", ".join(f'"{name}"' for name in names)
    return f'INSERT INTO "{model._meta.db_table}" ({quoted}) SELECT {arrays}'


def clock() -> datetime:
    """Return the database's time: one clock for work that orders what many machines have recorded."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now
