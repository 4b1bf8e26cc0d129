"""The work queue of unpriced usage: counting it into groups, and who sees to which.

The records are counted by a task, in one statement over the index of the unpriced, so that the page is as fast with
millions of them as with ten. A group keeps its row when its records have been priced: its owner and note are its history.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.contrib.auth.models import User
from django.db import connection, transaction

from billing.models import UnpricedGroup, UsageRecord
from billing.models.fields import save_with_reason
from billing.services import recosting
from config.base.errors import DomainError
from pricing import price_book, rate_gaps
from pricing.price_book import PriceBook
from pricing.rate_gaps import Gap
from pricing.units import UnitKind

# What a record used, as `pricing.units.normalise` takes it apart.
_USED: Final = {
    UnitKind.INPUT: "u.input_tokens > u.cache_read_tokens + u.cache_write_tokens + u.audio_input_tokens",
    UnitKind.CACHE_READ: "u.cache_read_tokens > 0",
    UnitKind.CACHE_WRITE: "u.cache_write_tokens > u.cache_write_1h_tokens",
    UnitKind.CACHE_WRITE_1H: "u.cache_write_1h_tokens > 0",
    UnitKind.OUTPUT: "u.output_tokens > u.reasoning_tokens + u.audio_output_tokens",
    UnitKind.REASONING: "u.reasoning_tokens > 0",
    UnitKind.AUDIO_INPUT: "u.audio_input_tokens > 0",
    UnitKind.AUDIO_OUTPUT: "u.audio_output_tokens > 0",
    UnitKind.IMAGE: "u.images > 0",
    UnitKind.VIDEO_SECOND: "u.video_seconds > 0",
}
_LACKS = {kind: f"""{used} AND NOT u.cost_lines @> '[{{"unit": "{kind}"}}]'""" for kind, used in _USED.items()}
_NAMED = [f"CASE WHEN {lacks} THEN '{kind}' END" for kind, lacks in _LACKS.items()]
_ANY_NAMED = [f"CASE WHEN bool_or({lacks}) THEN '{kind}' END" for kind, lacks in _LACKS.items()]
# Of a group whose units all have rates, in currencies that do not add up.
CURRENCIES: Final = "currencies"
_COUNT = f"""
    INSERT INTO billing_unpricedgroup AS g (provider, model, service_tier, is_batch, missing, units, records, customers, credits,
        first_seen_at, last_seen_at, first_record_id, last_record_id, counted_at, note)
    SELECT u.provider, u.model, u.service_tier, u.is_batch,
        CASE WHEN u.cost_lines = '[]' THEN '' ELSE coalesce(nullif(concat_ws(',', {", ".join(_NAMED)}), ''), '{CURRENCIES}') END,
        array_remove(ARRAY[{", ".join(_ANY_NAMED)}], NULL),
        count(*), count(DISTINCT u.customer_id), sum(u.credits), min(u.occurred_at), max(u.occurred_at), min(u.id), max(u.id), %s, ''
    FROM billing_usagerecord u
    WHERE u.cost_status = 'unpriced' AND NOT EXISTS (SELECT FROM billing_costadjustment a WHERE a.usage_record_id = u.id)
    GROUP BY 1, 2, 3, 4, 5
    ON CONFLICT (provider, model, service_tier, is_batch, missing) DO UPDATE SET units = excluded.units, records = excluded.records,
        customers = excluded.customers, credits = excluded.credits, first_seen_at = excluded.first_seen_at,
        last_seen_at = excluded.last_seen_at, first_record_id = excluded.first_record_id, last_record_id = excluded.last_record_id,
        counted_at = excluded.counted_at
"""
# Only one counts at a time.
_LOCK: Final = 7_300_005


class UnknownOwnerError(DomainError):
    """Choose somebody who may see the queue."""

    code = "unknown_owner"


@transaction.atomic
def count(*, now: datetime) -> None:
    """Bring the figures of all groups up to `now`; those without records are at zero."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '10min'")
        cursor.execute("SET LOCAL lock_timeout = '1min'")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute(_COUNT, [now])
    UnpricedGroup.objects.exclude(counted_at=now).update(records=0, customers=0, credits=0, counted_at=now)


@transaction.atomic
def assign(*, group: UnpricedGroup, owner: User | None, note: str, reason: str) -> UnpricedGroup:
    """Say who sees to a group, and how far they are.

    Raises:
        UnknownOwnerError: the person may not see the queue.
    """
    if owner is not None and not (owner.is_active and owner.has_perm("billing.view_unpricedgroup")):
        raise UnknownOwnerError(f"{owner} may not see unpriced usage. Choose somebody who may.")
    row = UnpricedGroup.objects.select_for_update().get(pk=group.pk)
    row.owner, row.note = owner, note
    save_with_reason(row, "owner", "note", reason=reason)
    return row


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why the records of a group have no cost, by the catalogue of this moment, told by its first and its last one."""

    gaps: tuple[Gap, ...]
    is_ready: bool  # some of them would be priced by a re-rating now

    @property
    def sentences(self) -> tuple[str, ...]:
        ready = ("The catalogue has a rate now: re-rate them.",) if self.is_ready else ()
        return tuple(dict.fromkeys((*ready, *(gap.sentence for gap in self.gaps))))


def reasons(groups: Sequence[UnpricedGroup]) -> dict[int, Reasons]:
    """Look at the first and the last record of each group; those of a group whose records were dropped are told nothing of."""
    wanted = {record_id for group in groups for record_id in (group.first_record_id, group.last_record_id)}
    book = price_book.current()
    seen = {record.id: record for record in recosting.read(UsageRecord.objects.filter(pk__in=wanted))} if wanted else {}
    return {
        group.pk: _reasons([seen[key] for key in dict.fromkeys((group.first_record_id, group.last_record_id)) if key in seen], book)
        for group in groups
    }


def _reasons(samples: Sequence[recosting.Recorded], book: PriceBook) -> Reasons:
    found = [
        rate_gaps.find(book.catalogue, sample.usage, service_tier=sample.service_tier, is_batch=sample.is_batch, at=sample.occurred_at)
        for sample in samples
    ]
    return Reasons(tuple(gap for gap in found if gap), None in found)
