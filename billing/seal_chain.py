"""The arithmetic of seals, done by the database over the values as they are stored, so that no rounding of a program can
come between. Both the sealing and the check of the seals use it.
"""

from datetime import UTC, datetime

from django.db import connection

GENESIS = "0" * 64
# Before the first entry that anybody could record.
BEGINNING = datetime(1, 1, 2, tzinfo=UTC)

# Everything that an entry says, as a row literal: it quotes what needs it and depends on no setting of the session.
CANONICAL = """
    ROW(e.id, e.transaction_id, e.wallet_id, e.lot_id, e.kind, e.credits, e.value, e.provider_cost, e.platform_fee,
        e.balance_after, e.available_after, e.actor, e.reason, e.request_id, e.project_id, e.event_type_id, e.model,
        e.usage_record_id, e.price_version_id, e.payment_id, e.approved_by_id, e.reverses_id,
        extract(epoch FROM e.occurred_at), extract(epoch FROM e.recorded_at))::text
"""
# One row per hour that has entries: start, count, credits, value, digest of the entries in the order of their ids.
HOURS = f"""
    SELECT date_trunc('hour', e.recorded_at, 'UTC') AS starts_at, count(*), sum(e.credits), sum(e.value),
        encode(sha256(convert_to(string_agg({CANONICAL}, E'\\n' ORDER BY e.id), 'UTF8')), 'hex')
    FROM billing_ledgerentry e
    WHERE e.recorded_at >= %s AND e.recorded_at < %s
    GROUP BY 1 ORDER BY 1
"""
_CHAIN = "SELECT encode(sha256(convert_to(%s, 'UTF8')), 'hex')"


def chain(previous_digest: str, starts_at: datetime, entries_digest: str) -> str:
    """Return the digest of a seal: of the seal before it, the hour, and the entries of the hour."""
    with connection.cursor() as cursor:
        cursor.execute(_CHAIN, [f"{previous_digest}|{starts_at.astimezone(UTC).isoformat()}|{entries_digest}"])
        return str(cursor.fetchone()[0])
