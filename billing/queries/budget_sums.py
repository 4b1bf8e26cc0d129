"""What budgets spent, summed up from the records: for counting in what came, for a new budget, and for the ledger check.

The charge decides in Python which budgets an event counts for (`billing.budgeting`); here the same is said in SQL.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.db import connection

from billing.budgeting import Budget, Measure, Span, span_of
from pricing.models import Workspace

# Costs in other currencies do not count; a database that lost the row of the workspace has the default, as everywhere.
BOOK_CURRENCY: Final = f"(SELECT coalesce(max(currency), '{Workspace._meta.get_field('currency').get_default()}') FROM pricing_workspace)"
_AMOUNT: Final = {
    Measure.CREDITS: "r.credits",
    Measure.COST: f"CASE WHEN r.cost_currency = {BOOK_CURRENCY} THEN coalesce(r.cost_amount, 0) ELSE 0 END",
    Measure.TOKENS: "r.input_tokens + r.output_tokens",
    Measure.REQUESTS: "greatest(r.requests, 1)",
}
_SCOPE: Final = {
    "team_id": "r.team_id = %s",
    "project_id": "r.project_id = %s",
    "api_key_id": "r.api_key_id = %s",
    "environment": "r.environment = %s",
    "user": "r.user = %s",
    "event": "r.event_type_id = (SELECT id FROM pricing_eventtype WHERE name = %s)",
    "agent_type": "r.agent_type = %s",
    "model": "r.model = %s",
    "customer": "r.customer_id = (SELECT id FROM billing_customer WHERE project_id = %s AND environment = %s AND external_id = %s)",
}
# Clocks of all zones differ from UTC by whole quarters of an hour.
_QUARTERS: Final = "SELECT DISTINCT date_bin('15 minutes', r.occurred_at, '2000-01-01Z') FROM {source} WHERE {rows}"
_RECORDS: Final = "billing_usagerecord r"
_ADJUSTMENTS: Final = "billing_costadjustment a JOIN billing_usagerecord r ON r.id = a.usage_record_id AND r.occurred_at = a.occurred_at"


class Sum(NamedTuple):
    """What one window of a budget spent; `late` is the part that was recorded after the window had ended."""

    span: Span
    spent: Decimal
    late: Decimal


def quarters_of_records(after: int, upto: int) -> list[datetime]:
    """Return the quarters of an hour in which records `after` < id <= `upto` occurred."""
    return _column(_QUARTERS.format(source=_RECORDS, rows="r.id > %s AND r.id <= %s"), [after, upto])


def quarters_of_adjustments(after: int, upto: int) -> list[datetime]:
    """Return the quarters in which the records of adjustments occurred."""
    return _column(_QUARTERS.format(source=_ADJUSTMENTS, rows="a.id > %s AND a.id <= %s"), [after, upto])


def spans(budget: Budget, times: Iterable[datetime]) -> list[Span]:
    """Return the windows of `budget` that `times` fall in, without those before it was made."""
    return sorted({span for at in times if (span := span_of(budget.window, at, budget.zone)).starts_at >= budget.counts_from})


def of_records(budget: Budget, windows: Sequence[Span], *, after: int, upto: int) -> list[Sum]:
    """Sum up the records `after` < id <= `upto` in `windows`."""
    return _sums(budget, windows, _RECORDS, _AMOUNT[budget.measure], "r.id > %s AND r.id <= %s", "r.recorded_at", [after, upto])


def of_adjustments(budget: Budget, windows: Sequence[Span], *, after: int, upto: int) -> list[Sum]:
    """Sum up what adjustments `after` < id <= `upto` changed of the cost in `windows`; nothing of other measures."""
    if budget.measure is not Measure.COST:
        return []
    amount = f"CASE WHEN a.currency = {BOOK_CURRENCY} THEN a.amount ELSE 0 END"
    return _sums(budget, windows, _ADJUSTMENTS, amount, "a.id > %s AND a.id <= %s", "r.recorded_at", [after, upto])


def _sums(budget: Budget, windows: Sequence[Span], source: str, amount: str, rows: str, known_at: str, bounds: list[int]) -> list[Sum]:
    if not windows:
        return []
    scope, values = _scope(budget)
    statement = f"""
        SELECT n.starts_at, n.ends_at, sum({amount}), coalesce(sum({amount}) FILTER (WHERE {known_at} >= n.ends_at), 0)
        FROM {source} JOIN unnest(%s::timestamptz[], %s::timestamptz[]) AS n (starts_at, ends_at)
          ON r.occurred_at >= n.starts_at AND r.occurred_at < n.ends_at
        WHERE {rows} AND r.occurred_at >= %s AND r.occurred_at < %s {scope} GROUP BY 1, 2
    """
    starts, ends = [span.starts_at for span in windows], [span.ends_at for span in windows]
    with connection.cursor() as cursor:
        cursor.execute(statement, [starts, ends, *bounds, min(starts), max(ends), *values])
        return [Sum(Span(starts_at, ends_at), spent, late) for starts_at, ends_at, spent, late in cursor.fetchall()]


def _scope(budget: Budget) -> tuple[str, list[Any]]:
    values: list[Any] = []
    for value in budget.scope.values():
        values += value if isinstance(value, tuple) else [value]
    return "".join(f" AND {_SCOPE[name]}" for name in budget.scope), values


def _column(statement: str, parameters: list[Any]) -> list[datetime]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [value for (value,) in cursor.fetchall()]
