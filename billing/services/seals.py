"""Sealing the ledger hour by hour, and verifying the chain.

An hour is sealed once it is over for longer than `GRACE`, while no entry is being written (`POSTING_LOCK`), and
`post_entries` refuses entries of a sealed hour. How a digest is made is in `billing.seal_chain`.
"""

from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from billing.models import Seal
from billing.seal_chain import BEGINNING, GENESIS, HOURS, chain

GRACE = timedelta(minutes=5)
HOUR = timedelta(hours=1)
# Held while hours are sealed; whoever writes into past hours, such as a demo company, holds it meanwhile.
SEALING_LOCK = 7_300_002
# Shared by whoever writes entries (`post_entries`), taken alone for the moment in which an hour is sealed.
POSTING_LOCK = 7_300_003
_HOURS_WITH_ENTRIES = """
    SELECT DISTINCT date_trunc('hour', recorded_at, 'UTC') FROM billing_ledgerentry WHERE recorded_at >= %s AND recorded_at < %s ORDER BY 1
"""


def seal_due(*, now: datetime) -> list[Seal]:
    """Seal every hour with entries that is over for longer than the grace, one transaction each; return the new seals."""
    until = (now - GRACE).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    last = Seal.objects.order_by("-starts_at").values_list("ends_at", flat=True).first()
    with connection.cursor() as cursor:
        cursor.execute(_HOURS_WITH_ENTRIES, [last or BEGINNING, until])
        hours = [row[0] for row in cursor.fetchall()]
    return [seal for hour in hours for seal in _seal_until(hour + HOUR, now=now)]


def _seal_until(until: datetime, *, now: datetime) -> list[Seal]:
    """Seal what is unsealed before `until`: one hour, or two where somebody has just recorded into an earlier one."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '10min'")
        cursor.execute("SELECT pg_advisory_xact_lock(%s), pg_advisory_xact_lock(%s)", [SEALING_LOCK, POSTING_LOCK])
        last = Seal.objects.order_by("-starts_at").first()
        cursor.execute(HOURS, [last.ends_at if last else BEGINNING, until])
        previous = last.digest if last else GENESIS
        seals = []
        for starts_at, count, credits, value, entries_digest in cursor.fetchall():
            seal = Seal(
                starts_at=starts_at,
                ends_at=starts_at + HOUR,
                entry_count=count,
                credits=credits,
                value=value,
                previous_digest=previous,
                digest=chain(previous, starts_at, entries_digest),
                sealed_at=now,
            )
            previous = seal.digest
            seals.append(seal)
        return Seal.objects.bulk_create(seals)
