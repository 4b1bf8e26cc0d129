"""`python manage.py migrate`: Django's own, under timeouts that suit a release instead of those that suit a request."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as DjangosMigrate
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

# Whoever wants a table after us waits behind us: shorter than the application's own lock_timeout, so that they do not fail.
LOCK_TIMEOUT = "2s"
ATTEMPTS = 5
PAUSE_SECONDS = 3
# A validation or an index reads a whole table, and Python may think for long between two statements.
_TIMEOUTS = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "lock_timeout": LOCK_TIMEOUT}

_IN_THE_WAY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


class Command(DjangosMigrate):
    """Never ends a statement for its length; gives up on a lock soon, tries again, and says who was in the way."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate. Raises CommandError where a lock could not be had; what was applied by then stays applied."""
        connection = connections[options["database"]]
        with _release_timeouts(connection), _seldom_collected():
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    super().handle(*args, **options)
                except OperationalError as error:
                    if not isinstance(error.__cause__, _IN_THE_WAY):
                        raise
                    in_the_way = _old_transactions(connection)
                    if attempt == ATTEMPTS:
                        raise CommandError(_refusal(in_the_way)) from error
                    self.stderr.write(f"A table is locked by somebody else; trying again in {PAUSE_SECONDS} s. {in_the_way}".rstrip())
                    time.sleep(PAUSE_SECONDS)  # who has queued behind us goes first
                else:
                    return


@contextmanager
def _release_timeouts(connection: BaseDatabaseWrapper) -> Iterator[None]:
    with connection.cursor() as cursor:
        for name, value in _TIMEOUTS.items():
            cursor.execute(f"SET {name} = '{value}'")
    try:
        yield
    finally:
        if connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                for name in _TIMEOUTS:
                    cursor.execute(f"RESET {name}")


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Let garbage lie for longer: each step renders models anew, and looking through all the others costs a quarter of the time."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _old_transactions(connection: BaseDatabaseWrapper) -> str:
    """Name the sessions with the oldest open transactions: one of them had the lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT pid, usename, extract(epoch FROM clock_timestamp() - xact_start)::int, left(regexp_replace(query, '\\s+', ' ', 'g'), 80)
            FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < clock_timestamp() - %s::interval
            ORDER BY xact_start LIMIT 5
            """,
            [LOCK_TIMEOUT],
        )
        found = [f"process {pid} of {user} for {seconds} s ({query})" for pid, user, seconds, query in cursor.fetchall()]
    return f"In a transaction: {'; '.join(found)}." if found else ""


def _refusal(in_the_way: str) -> str:
    return (
        f"Not migrated to the end: a table was locked by somebody else, {ATTEMPTS} times. {in_the_way}\n"
        "Nothing is half done. Let that work end, or end it with SELECT pg_terminate_backend(process), and run `migrate` again:"
        " it goes on where it stopped."
    )
