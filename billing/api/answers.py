"""Answers as JSON objects: decimals as strings, times in ISO 8601 with offset, ids with a prefix that says of what."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from billing import minor_units
from billing.budgeting import Action, percent_of
from billing.events import Charged
from billing.models import AgentJob, Customer, Hold, LedgerEntry, Lot, PipelineRun, TopUp, TopUpStatus
from billing.queries import money_back
from billing.queries.budgets import Shown
from billing.queries.wallets import WalletView
from billing.services.journal import Posted
from config.base.exact import plain


def time(value: datetime | None) -> str | None:
    """Write a time in UTC."""
    return value.astimezone(UTC).isoformat() if value else None


def number(value: Decimal | None) -> str | None:
    """Write a decimal, or null."""
    return None if value is None else plain(value)


def event(charged: Charged) -> dict[str, Any]:
    """Answer an event (`EventOut`)."""
    cost = charged.cost
    return {
        "id": f"evt_{charged.record_id}",
        "event": charged.event,
        "customer": charged.customer,
        "credits": plain(charged.credits),
        "balance": number(charged.balance),
        "available": number(charged.available),
        "price": {"rule": charged.rule, "version": charged.version, "lines": charged.price_lines} if charged.rule else None,
        "lots": [{"id": f"lot_{part.lot_id}", "credits": plain(part.credits)} for part in charged.lots],
        "provider_cost": {"amount": number(cost.amount), "currency": cost.currency, "status": str(cost.status)},
        "budgets": [standing.as_json() for standing in charged.budgets],
        "occurred_at": time(charged.occurred_at),
        "recorded_at": time(charged.recorded_at),
        "request_id": charged.request_id,
        "replayed": charged.replayed,
    }


def entry(row: LedgerEntry) -> dict[str, Any]:
    """A movement as the customer's own app may show it: without value, cost or margin."""
    return {
        "id": f"ent_{row.pk}",
        "transaction_id": f"txn_{row.transaction_id}",
        "kind": row.kind,
        "credits": plain(row.credits),
        "balance_after": plain(row.balance_after),
        "lot": f"lot_{row.lot_id}",
        "event": row.event_type.name if row.event_type else None,
        "event_id": f"evt_{row.usage_record_id}" if row.usage_record_id else None,
        "reason": row.reason,
        "request_id": row.request_id,
        "occurred_at": time(row.occurred_at),
        "recorded_at": time(row.recorded_at),
    }


def lot(row: Lot, *, now: datetime) -> dict[str, Any]:
    """A lot as the customer's own app may show it."""
    if row.remaining <= 0:
        state = "owed" if row.remaining < 0 else "used"
    else:
        state = "expired" if row.expires_at and row.expires_at <= now else "open"
    return {
        "id": f"lot_{row.pk}",
        "kind": row.kind,
        "granted": plain(row.granted),
        "remaining": plain(row.remaining),
        "expires_at": time(row.expires_at),
        "created_at": time(row.created_at),
        "status": state,
    }


def customer(row: Customer, wallet: dict[str, Any]) -> dict[str, Any]:
    """A customer with its wallet."""
    return {
        "customer": row.external_id,
        "environment": row.environment,
        "name": row.name,
        "plan": row.plan,
        "email": row.email,
        "metadata": row.metadata,
        "created_at": time(row.created_at),
        "wallet": wallet,
    }


def hold(row: Hold, *, available: Decimal | None = None, expires_at: datetime | None = None, status: str | None = None) -> dict[str, Any]:
    """A hold; a repeated placement passes what the first one was told."""
    answer = {
        "id": f"hold_{row.pk}",
        "customer": row.wallet.customer.external_id,
        "event": row.event_type.name,
        "credits": plain(row.credits),
        "status": status or row.status,
        "created_at": time(row.created_at),
        "expires_at": time(expires_at or row.expires_at),
        "captured_credits": number(row.captured_credits) if status is None else None,
        "event_id": f"evt_{row.usage_record_id}" if row.usage_record_id and status is None else None,
    }
    return answer | ({"available": plain(available)} if available is not None else {})


def topup(row: TopUp, *, status: str | None = None) -> dict[str, Any]:
    """An order; a repeated call passes the status that the first one was told."""
    shown = status or row.status
    left = money_back.left_of(row) if status is None else money_back.Left(0, 0)
    return {
        "id": f"topup_{row.pk}",
        "customer": row.wallet.customer.external_id,
        "url": row.url if shown == TopUpStatus.OPEN else None,
        "status": shown,
        "pack": row.pack.key if row.pack else None,
        "credits": plain(row.credits),
        "bonus_credits": plain(row.bonus_credits),
        "amount": plain(minor_units.to_major(row.amount_minor, row.currency)),
        "currency": row.currency,
        "expires_at": time(row.expires_at),
        "created_at": time(row.created_at),
        "paid_at": time(row.paid_at) if status is None else None,
        "amount_refunded": plain(minor_units.to_major(left.refunded_minor, row.currency)),
        "amount_disputed": plain(minor_units.to_major(left.disputed_minor, row.currency)),
        "test_mode": not row.is_live,
    }


def run(row: PipelineRun) -> dict[str, Any]:
    """A pipeline run."""
    return {
        "run_id": row.run_id,
        "trigger": row.trigger,
        "status": row.status,
        "started_at": time(row.started_at),
        "ended_at": time(row.ended_at),
    }


def job(row: AgentJob) -> dict[str, Any]:
    """An agent job."""
    return {
        "job_id": row.job_id,
        "run_id": row.run.run_id if row.run else None,
        "agent_type": row.agent_type,
        "status": row.status,
        "started_at": time(row.started_at),
        "ended_at": time(row.ended_at),
    }


def posted(result: Posted) -> dict[str, Any]:
    """What a command on the ledger wrote, and how the wallet stood after it."""
    return {
        "entries": [entry(row) for row in result.entries],
        "balance": plain(result.balance),
        "available": plain(result.available),
        "replayed": result.replayed,
    }


def wallet(view: WalletView) -> dict[str, Any]:
    """What a wallet page needs, in product words."""
    expiry = view.next_expiry
    return {
        "customer": view.customer.external_id,
        "balance": plain(view.wallet.balance),
        "held": plain(view.wallet.held),
        "available": plain(view.available),
        "status": view.wallet.status,
        "low_balance": view.wallet.is_low,
        "next_expiry": {"credits": plain(expiry.credits), "expires_at": time(expiry.expires_at)} if expiry else None,
    }


def budget(shown: Shown, *, now: datetime) -> dict[str, Any]:
    """How a budget stands in the window that runs now (`BudgetStateOut`)."""
    row, standing = shown.row, shown.standing.as_json()
    del standing["late"]  # only events can be
    return {
        "id": f"bud_{row.pk}",
        **standing,
        "scope": {
            "team": row.team.name if row.team else None,
            "project": row.project.key if row.project else None,
            "environment": row.environment or (row.customer.environment if row.customer else None),
            "api_key": row.api_key.public_id if row.api_key else None,
            "customer": row.customer.external_id if row.customer else None,
            "user": row.user or None,
            "event": row.event_type.name if row.event_type else None,
            "agent_type": row.agent_type or None,
            "model": row.model or None,
        },
        "period": row.window,
        "time_zone": row.time_zone,
        "base_limit": plain(row.limit),
        "thresholds": row.thresholds,
        "at_limit": {"action": row.action, "target": row.target},
        "forecast": {
            "amount": plain(shown.forecast.amount),
            "method": shown.forecast.method,
            "runs_out_at": time(shown.forecast.runs_out_at),
        },
        "as_of": time(now if row.action == Action.BLOCK else shown.as_of),
    }


def budget_limit(shown: Shown, *, project: str, now: datetime) -> dict[str, Any]:
    """The same of a project's monthly limit, in the words of its dashboard (`BudgetLimitOut`)."""
    limit, spent = shown.row.limit, shown.standing.spent
    figures = {"project_id": project, "budget_limit": plain(limit), "budget_pct": plain(percent_of(spent, limit))}
    return budget(shown, now=now) | figures
