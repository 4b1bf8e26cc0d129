"""The same call again: its original answer, rebuilt from rows that never change.

Only the budget states of an answer tell the present; everything else is what the first call was told.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.events import Charged, LotPart, Refused, Result
from billing.models import EntryKind, LedgerEntry, Operation, UsageRecord
from pricing.cost import Cost, CostLine, CostStatus
from pricing.price import PriceLine

MISMATCH = Refused(
    "idempotency_mismatch",
    "This idempotency key was used before with another body. Use a new key for a new action; send the same body to retry.",
)

FIND_KEYS = """
    SELECT k.project_id, k.key, k.operation, k.body_hash, k.effect_id, k.occurred_at
    FROM billing_idempotencykey k
    JOIN unnest($1::bigint[], $2::text[]) AS named (project_id, key) ON k.project_id = named.project_id AND k.key = named.key
"""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an idempotency key stands for. `charged` is there for events whose record has not been dropped by retention."""

    operation: str
    body_hash: bytes
    effect_id: int
    occurred_at: datetime
    charged: Charged | None = None

    def answer(self, body_hash: bytes) -> Result:
        """Answer the repeated event, or refuse a key that was used for something else."""
        if self.operation != Operation.EVENT or self.body_hash != body_hash:
            return MISMATCH
        if self.charged is None:
            return Refused("record_dropped", "This event was charged, and its record has been dropped by retention. Do not send it again.")
        return self.charged


def with_answers(rows: Sequence[tuple[int, str, str, bytes, int, datetime]]) -> dict[tuple[int, str], Earlier]:
    """Load the answers of the events among the found keys."""
    if not rows:
        return {}
    events = [(effect_id, occurred_at) for _, _, operation, _, effect_id, occurred_at in rows if operation == Operation.EVENT]
    charged = _charged(events) if events else {}
    return {
        (project_id, key): Earlier(operation, bytes(body_hash), effect_id, occurred_at, charged.get(effect_id))
        for project_id, key, operation, body_hash, effect_id, occurred_at in rows
    }


def again(charged: Charged) -> Charged:
    """Mark an answer as given before."""
    return charged._replace(replayed=True)


def _charged(events: Sequence[tuple[int, datetime]]) -> dict[int, Charged]:
    ids = [record_id for record_id, _ in events]
    records = UsageRecord.objects.filter(id__in=ids, occurred_at__in={at for _, at in events}).select_related(
        "event_type", "customer", "price_version__rule__event_type"
    )
    lots: defaultdict[int, list[LotPart]] = defaultdict(list)
    entries = LedgerEntry.objects.filter(transaction_id__in=ids, kind=EntryKind.CHARGE).order_by("id")
    for transaction_id, lot_id, credits in entries.values_list("transaction_id", "lot_id", "credits"):
        lots[transaction_id].append(LotPart(lot_id, -credits))
    return {record.id: from_record(record, tuple(lots[record.id])) for record in records}


def from_record(record: UsageRecord, lots: tuple[LotPart, ...]) -> Charged:
    """Rebuild what the caller was told when `record` was made."""
    version = record.price_version
    return Charged(
        record_id=record.id,
        event=record.event_type.name,
        customer=record.customer.external_id if record.customer else None,
        credits=record.credits,
        balance=record.balance_after,
        available=record.available_after,
        rule=str(version.rule) if version else None,
        version=version.number if version else None,
        # Written anew, because jsonb keeps no order of its own and the answer shall be the same to the letter.
        price_lines=[PriceLine.from_json(line).as_json() for line in record.price_lines],
        lots=lots,
        cost=Cost(
            CostStatus(record.cost_status),
            record.cost_amount,
            record.cost_currency,
            tuple(CostLine(**_cost_line(line)) for line in record.cost_lines),
        ),
        occurred_at=record.occurred_at,
        recorded_at=record.recorded_at,
        request_id=record.request_id,
        hold_id=record.hold_id,
        replayed=True,
    )


def _cost_line(line: dict[str, str]) -> dict[str, Any]:
    numbers = {name: Decimal(line[name]) for name in ("quantity", "price", "amount")}
    return {"unit": line["unit"], "rate_id": int(line["rate_id"]), "per": int(line["per"]), **numbers}
