"""Monthly partitions of usage records, made before they are needed.

A record of a month without a partition goes to the default partition: nothing is refused or lost. Such a month stays
there; only empty months get a partition of their own.
"""

import logging
from datetime import UTC, datetime, timedelta

from django.db import DatabaseError, connection, transaction

log = logging.getLogger(__name__)
MONTHS_AHEAD = 3


def month_start(at: datetime) -> datetime:
    """Return the first moment of the month of `at`, UTC."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(start: datetime) -> datetime:
    """Return the first moment of the month after the one that begins at `start`."""
    return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)


def ensure(*, first: datetime, last: datetime) -> list[str]:
    """Make the partitions of every month from `first` to `last` that has none; return the names of the new ones."""
    made = []
    start = month_start(first)
    while start <= last:
        name = f"billing_usagerecord_{start:%Y_%m}"
        try:
            if _make(name, start, next_month(start)):
                made.append(name)
        except DatabaseError:
            # Somebody reads for long, or has just recorded into that month: the default partition serves it meanwhile.
            log.warning("no partition for %s yet", name, exc_info=True)
        start = next_month(start)
    return made


def ensure_ahead(*, now: datetime) -> list[str]:
    """Make the partitions from last month to three months ahead."""
    this_month = month_start(now)
    return ensure(first=this_month - timedelta(days=1), last=this_month + timedelta(days=31 * MONTHS_AHEAD))


def _make(name: str, start: datetime, end: datetime) -> bool:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('billing_usagerecord'))")
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        if cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT EXISTS (SELECT FROM billing_usagerecord_default WHERE occurred_at >= %s AND occurred_at < %s)", [start, end])
        if cursor.fetchone()[0]:
            return False
        # Attached instead of created as a partition: that would lock the whole table, and wait for its longest reader first.
        cursor.execute(f"CREATE TABLE {name} (LIKE billing_usagerecord INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
        cursor.execute(f"ALTER TABLE billing_usagerecord ATTACH PARTITION {name} FOR VALUES FROM (%s) TO (%s)", [start, end])
        return True
