"""Exceptions to budgets: which wait, and how one stands at a moment. They begin and end by themselves, without a change of state."""

from datetime import datetime
from enum import StrEnum

from django.db.models import QuerySet

from billing.models import Budget, BudgetException, ExceptionState, TopUp
from billing.queries import lookup

DECIDE = "billing.decide_exception"


class Standing(StrEnum):
    WAITS = "waits"  # for a second person
    TOO_LATE = "too late"  # nobody decided before its end
    AHEAD = "ahead"  # approved, not begun
    IN_FORCE = "in force"
    OVER = "over"
    REJECTED = "rejected"
    ENDED_EARLY = "ended early"


def standing(row: BudgetException, *, now: datetime) -> Standing:
    """Return how an exception stands at `now`."""
    is_over = row.expires_at <= now
    match row.state:
        case ExceptionState.REQUESTED:
            return Standing.TOO_LATE if is_over else Standing.WAITS
        case ExceptionState.REJECTED:
            return Standing.REJECTED
        case ExceptionState.REVOKED:
            return Standing.ENDED_EARLY
    if is_over:
        return Standing.OVER
    return Standing.IN_FORCE if row.starts_at <= now else Standing.AHEAD


def waiting() -> "QuerySet[BudgetException]":
    """Return the exceptions that nobody has decided on, of budgets that still run."""
    return BudgetException.objects.filter(state=ExceptionState.REQUESTED, budget__ended_at__isnull=True)


def recharge(row: BudgetException) -> TopUp | None:
    """Return the top-up that pays for an exception; none where it names a record of another system."""
    return lookup.topup(row.recharge_id) if row.recharge_id else None


def of_budget(budget: Budget) -> "QuerySet[BudgetException]":
    """Return the exceptions of a budget, the newest first."""
    return BudgetException.objects.filter(budget=budget).select_related("requested_by", "decided_by")
