"""How budgets stand: what pages, answers and alerts tell of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection

from billing.budgeting import Forecast, Measure, Meter, Standing, counts_holds, forecast, span_of
from billing.models import Budget, BudgetFold, BudgetWindow
from billing.queries import budget_book
from config.base.exact import ZERO


@dataclass(frozen=True, slots=True)
class Shown:
    """A budget in the window that runs now. `as_of` is how far usage has been counted; None: to this moment (blocking)."""

    row: Budget
    standing: Standing
    forecast: Forecast
    before: Decimal | None
    as_of: datetime | None


def shown(rows: Iterable[Budget], *, now: datetime) -> list[Shown]:
    """Return how `rows` stand, in their order; five queries however many there are."""
    by_id = {row.pk: row for row in rows}
    known = {budget.id: budget for budget in budget_book.as_known_to_charges(Budget.objects.filter(pk__in=by_id))}
    meters, previous = {}, {}
    for pk, budget in known.items():
        span = span_of(budget.window, now, budget.zone)
        meters[pk] = Meter(budget, span)
        previous[pk] = span_of(budget.window, span.starts_at - timedelta(seconds=1), budget.zone).starts_at
    starts = {meter.span.starts_at for meter in meters.values()} | set(previous.values())
    spent = {
        (window.budget_id, window.starts_at): window.spent
        for window in BudgetWindow.objects.filter(budget__in=list(known), starts_at__in=starts)
    }
    held = _held(meters.values(), now)
    folded_at = BudgetFold.objects.values_list("folded_at", flat=True).first()
    answer = []
    for pk, row in by_id.items():
        meter = meters[pk]
        meter.spent, meter.held = spent.get((pk, meter.span.starts_at), ZERO), held.get(pk, ZERO)
        before = spent.get((pk, previous[pk]), ZERO) if previous[pk] >= row.counts_from else None
        standing = meter.standing(now)
        answer.append(
            Shown(
                row=row,
                standing=standing,
                forecast=forecast(meter.spent, meter.span, standing.limit, before=before, now=now),
                before=before,
                as_of=None if meter.budget.is_blocking else folded_at,
            )
        )
    return answer


# `billing.budgeting.counts_holds` says of which budgets a hold knows enough.
HELD = """
    SELECT b.id, sum(h.credits), count(*) FROM billing_budget b
    JOIN billing_hold h ON h.status = 'open' AND h.expires_at > $2::timestamptz
    JOIN billing_wallet w ON w.id = h.wallet_id
    JOIN billing_customer c ON c.id = w.customer_id
    JOIN billing_project p ON p.id = h.project_id
    WHERE b.id = ANY($1::bigint[]) AND b.user = '' AND b.agent_type = '' AND b.model = ''
      AND coalesce(b.team_id = p.team_id, b.team_id IS NULL) AND coalesce(b.project_id = h.project_id, b.project_id IS NULL)
      AND coalesce(b.api_key_id = h.api_key_id, b.api_key_id IS NULL) AND b.environment IN ('', c.environment)
      AND coalesce(b.customer_id = c.id, b.customer_id IS NULL) AND coalesce(b.event_type_id = h.event_type_id, b.event_type_id IS NULL)
    GROUP BY b.id
"""


def _held(meters: Iterable[Meter], now: datetime) -> dict[int, Decimal]:
    reserving = {meter.budget.id: meter.budget.measure for meter in meters if counts_holds(meter.budget)}
    if not reserving:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(HELD.replace("$1", "%s").replace("$2", "%s"), [now, list(reserving)])
        rows = cursor.fetchall()
    return {pk: Decimal(count) if reserving[pk] == Measure.REQUESTS else credits for pk, credits, count in rows}
