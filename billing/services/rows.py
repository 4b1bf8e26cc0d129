"""The rows that a flush comes to, and how they are written: with one statement, however many events there are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

import psycopg
from pydantic_core import to_json

from billing.allocation import Movement
from billing.events import Charged, Event
from billing.metering import WalletState
from billing.models import IdempotencyKey, LedgerEntry, UsageRecord
from config.base.database import array_literal, insert_all
from pricing.price import Price
from pricing.units import Usage


@dataclass(slots=True)
class Rows:
    """What one flush writes; `captures` are (hold, credits, record), `credit_limits` go by overdraft lot."""

    keys: list[tuple[int, str, str, bytes, int, datetime]] = field(default_factory=list)
    records: list[tuple[Any, ...]] = field(default_factory=list)
    entries: list[tuple[Any, ...]] = field(default_factory=list)
    captures: list[tuple[int, Decimal, int]] = field(default_factory=list)
    credit_limits: dict[int, Decimal] = field(default_factory=dict)


RECORD_COLUMNS = (
    "id, occurred_at, recorded_at, request_id, trace_id, gateway_log_id, batch_job_id, project_id, api_key_id, environment,"
    " team_id, cost_center, customer_id, user, service_account, workflow, run_id, job_id, agent_type, event_type_id, quantity,"
    " provider, model, endpoint, modality, service_tier, route_group, final_route, input_tokens, output_tokens,"
    " cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens,"
    " images, video_seconds, requests, fallbacks, retries, is_batch, is_stream, is_accepted, status, status_code, error_class,"
    " timeout_reason, latency_ms, ttft_ms, duration_ms, credits, price_version_id, price_lines, cost_status, cost_amount, cost_currency,"
    " cost_lines, balance_after, available_after, hold_id, metadata"
)
_NO_USAGE = Usage(requests=0)


def record_row(event: Event, charged: Charged, event_type_id: int, wallet: WalletState | None, price: Price | None) -> tuple[Any, ...]:
    caller, owner, route, outcome = event.caller, event.owner, event.route, event.outcome
    provider, model, *units = event.usage or _NO_USAGE
    return (
        *(charged.record_id, charged.occurred_at, charged.recorded_at, event.request_id, event.trace_id),
        *(route.gateway_log_id, route.batch_job_id, caller.project_id, caller.api_key_id, caller.environment),
        *(caller.team_id, owner.cost_center or caller.cost_center, wallet.customer_id if wallet else None),
        *(owner.user, owner.service_account, owner.workflow, owner.run_id, owner.job_id, owner.agent_type),
        *(event_type_id, event.quantity, provider, model, route.endpoint, route.modality, route.service_tier),
        *(route.route_group, route.final_route, *units, route.fallbacks, route.retries, route.batch, route.stream),
        *(outcome.accepted, outcome.status, outcome.status_code, outcome.error_class, outcome.timeout_reason),
        *(outcome.latency_ms, outcome.ttft_ms, outcome.duration_ms, charged.credits, price.version_id if price else None),
        *(_json(charged.price_lines), str(charged.cost.status), charged.cost.amount, charged.cost.currency),
        *(_json([line.as_json() for line in charged.cost.lines]), charged.balance, charged.available),
        *(charged.hold_id, _json(event.metadata) if event.metadata else "{}"),
    )


def _json(value: Any) -> str:
    return to_json(value).decode()


ENTRY_COLUMNS = (
    "transaction_id, wallet_id, lot_id, kind, credits, value, provider_cost, balance_after, actor, reason, request_id,"
    " project_id, event_type_id, model, usage_record_id, price_version_id, occurred_at, recorded_at"
)


def entry_row(
    event: Event,
    charged: Charged,
    event_type_id: int,
    wallet_id: int,
    price: Price,
    movement: Movement,
    provider_cost: Decimal | None,
    balance: Decimal,
) -> tuple[Any, ...]:
    return (
        *(charged.record_id, wallet_id, movement.lot_id, "charge", movement.credits, movement.value, provider_cost, balance),
        *(event.caller.actor, "", event.request_id, event.caller.project_id, event_type_id),
        *(event.usage.model if event.usage else "", charged.record_id, price.version_id, charged.occurred_at, charged.recorded_at),
    )


KEY_COLUMNS = "project_id, key, operation, body_hash, effect_id, occurred_at"
_END_HOLDS = """
    UPDATE billing_hold h SET status = 'captured', captured_credits = d.credits, usage_record_id = d.record_id, ended_at = %s
    FROM unnest(%s::bigint[], %s::numeric[], %s::bigint[]) AS d (id, credits, record_id) WHERE h.id = d.id
"""
_RAISE_LIMIT = "UPDATE billing_lot SET credit_limit = greatest(credit_limit, %s) WHERE id = %s"


def write(raw: "psycopg.Connection[Any]", rows: Rows, now: datetime) -> None:
    """Send a flush to the database inside the caller's pipeline; a key that is taken shows as UniqueViolation.

    Keys go in order: two flushes may claim the same ones, and neither holds a key while it waits for a wallet.
    """
    cursor = psycopg.Cursor(raw)
    if rows.captures:
        cursor.execute(_END_HOLDS, [now, *_columns(rows.captures)])
    for lot_id, limit in rows.credit_limits.items():
        cursor.execute(_RAISE_LIMIT, [limit, lot_id])
    columns = [*_columns(sorted(rows.keys)), *_columns(rows.records), *(_columns(rows.entries) or _NO_ENTRIES)]
    psycopg.RawCursor(raw).execute(_statement(), columns, prepare=True)


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    return [array_literal(column) for column in zip(*rows, strict=True)]


_NO_ENTRIES = ["{}"] * len(ENTRY_COLUMNS.split(","))


@cache
def _statement() -> str:
    """Build the statement once, when the models are loaded. Its parts are one round of the database's work, in any order."""
    keys, records = (len(columns.split(",")) for columns in (KEY_COLUMNS, RECORD_COLUMNS))
    return f"""
        WITH claimed AS ({insert_all(IdempotencyKey, KEY_COLUMNS)}),
             recorded AS ({insert_all(UsageRecord, RECORD_COLUMNS, after=keys)})
        {insert_all(LedgerEntry, ENTRY_COLUMNS, after=keys + records)}
    """
