"""What each action used in two weeks, for finding spikes: one pass over the records, which their time index narrows."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from psycopg.errors import QueryCanceled

from billing.models import Launch
from billing.spikes import MINIMUM_EVENTS, Planned, Subject, Used, Weeks
from pricing.queries import workspace

# A task may read for longer than a page; a desk too large for it is told so in the log, and nothing is concluded.
PATIENCE = "120s"
_MOST_ROUTES: Final = 20
_TOTAL, _WHO, _ROUTE = "total", "who", "route"
_COUNTED: Final = ("requests", "retries", "fallbacks", "failed", "batched", "customers", "users", "costed")

# Three sums of the same rows: per subject and week, per customer and user of it, per model and route of it. The second is
# counted, not returned, so that what comes back is bounded by the actions there are, whatever the number of customers.
_USED: Final = f"""
    WITH recorded AS (
        SELECT r.project_id, r.environment, r.event_type_id, r.occurred_at >= %(middle)s AS is_now, r.occurred_at, r.customer_id, r."user",
               concat_ws(' via ', nullif(concat_ws('/', nullif(r.provider, ''), nullif(r.model, '')), ''),
                         nullif(r.final_route, '')) AS route,
               greatest(r.requests, 1) AS requests, r.retries, r.fallbacks, r.is_batch OR r.batch_job_id <> '' AS is_batch,
               r.status NOT IN ('', 'ok') OR coalesce(r.status_code >= 400, false) OR coalesce(NOT r.is_accepted, false) AS is_failed,
               (newest.usage_record_id IS NOT NULL OR r.cost_status <> 'unpriced')
                   AND coalesce(newest.currency, r.cost_currency) IN ('', %(currency)s) AS is_known,
               coalesce(newest.amount_after, r.cost_amount, 0) AS cost
        FROM billing_usagerecord r
        LEFT JOIN (
            SELECT DISTINCT ON (usage_record_id) usage_record_id, amount_after, currency FROM billing_costadjustment
            WHERE occurred_at >= %(start)s AND occurred_at < %(end)s ORDER BY usage_record_id, number DESC
        ) newest ON newest.usage_record_id = r.id
        WHERE r.occurred_at >= %(start)s AND r.occurred_at < %(end)s
    ), summed AS (
        SELECT project_id, environment, event_type_id, is_now, customer_id, "user", route,
               CASE WHEN grouping(route) = 0 THEN '{_ROUTE}' WHEN grouping(customer_id) = 0 THEN '{_WHO}' ELSE '{_TOTAL}' END AS what,
               count(*) AS events, sum(requests) AS requests, sum(retries) AS retries, sum(fallbacks) AS fallbacks,
               count(*) FILTER (WHERE is_failed) AS failed, count(*) FILTER (WHERE is_batch) AS batched,
               count(*) FILTER (WHERE is_known) AS costed, coalesce(sum(cost) FILTER (WHERE is_known), 0) AS cost,
               min(occurred_at) AS first_at
        FROM recorded
        GROUP BY GROUPING SETS (
            (project_id, environment, event_type_id, is_now),
            (project_id, environment, event_type_id, is_now, customer_id, "user"),
            (project_id, environment, event_type_id, is_now, route)
        )
    ), people AS (
        SELECT project_id, environment, event_type_id, is_now, count(DISTINCT customer_id) AS customers,
               count(*) FILTER (WHERE "user" <> '') AS users
        FROM summed WHERE what = '{_WHO}' GROUP BY 1, 2, 3, 4
    ), loud AS (
        SELECT project_id, environment, event_type_id FROM summed WHERE what = '{_TOTAL}' AND is_now AND events >= %(minimum)s
    ), ranked AS (
        SELECT project_id, environment, event_type_id, is_now, route, events,
               row_number() OVER (PARTITION BY project_id, environment, event_type_id, is_now ORDER BY events DESC, route) AS place
        FROM summed JOIN loud USING (project_id, environment, event_type_id) WHERE what = '{_ROUTE}'
    )
    SELECT '{_TOTAL}', project_id, environment, event_type_id, is_now, '', events, requests, retries, fallbacks, failed, batched,
           customers, users, costed, cost, first_at
    FROM summed JOIN people USING (project_id, environment, event_type_id, is_now) WHERE what = '{_TOTAL}'
    UNION ALL
    SELECT '{_ROUTE}', project_id, environment, event_type_id, is_now, route, events, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL
    FROM ranked WHERE place <= {_MOST_ROUTES}
"""


class TooMuchToCompare(Exception):
    """Two weeks of usage took too long to read; nothing is said of a part of them."""


@dataclass(frozen=True, slots=True)
class Found:
    """The week before and the last one of each subject, and when each project was first used in them."""

    used: dict[Subject, tuple[Used, Used]]
    since: dict[int, datetime]


def used_in(weeks: Weeks, currency: str) -> Found:
    """Add up two weeks of usage; costs in another currency than the book's count as unknown. Raises TooMuchToCompare."""
    sums: dict[Subject, list[Used]] = defaultdict(lambda: [Used(), Used()])
    routes: dict[tuple[Subject, bool], dict[str, int]] = defaultdict(dict)
    since: dict[int, datetime] = {}
    for what, project_id, environment, event_type_id, is_now, route, events, *rest in _rows(weeks, currency):
        subject = Subject(project_id, environment, event_type_id)
        if what == _ROUTE:
            routes[subject, is_now][route] = events
            continue
        *counted, cost, first_at = rest
        figures: dict[str, Any] = {name: int(count) for name, count in zip(_COUNTED, counted, strict=True)}
        sums[subject][is_now] = Used(events=events, cost=cost, **figures)
        since[project_id] = min(first_at, since.get(project_id, first_at))
    used = {
        subject: (replace(before, routes=routes[subject, False]), replace(now, routes=routes[subject, True]))
        for subject, (before, now) in sums.items()
    }
    return Found(used, since)


def planned(since: datetime, until: datetime) -> list[Planned]:
    """Return what the calendar has for any time in `[since, until)`, as the arithmetic knows it."""
    return list(map(as_planned, launches(since, until)))


def launches(since: datetime, until: datetime) -> "QuerySet[Launch]":
    """Return the entries of the calendar for any time in `[since, until)`."""
    return Launch.objects.filter(starts_at__lt=until, ends_at__gt=since).order_by("starts_at", "pk")


def as_planned(row: Launch) -> Planned:
    """Return an entry of the calendar as the arithmetic knows it."""
    return Planned(row.name, row.get_kind_display(), row.starts_at, row.ends_at, row.project_id, row.event_type_id, row.environment)


def currency() -> str:
    """Return the currency of the books."""
    return workspace.load().currency


def _rows(weeks: Weeks, currency: str) -> Iterable[tuple[Any, ...]]:
    parameters: dict[str, Any] = {
        "start": weeks.starts_at,
        "middle": weeks.middle,
        "end": weeks.ends_at,
        "currency": currency,
        "minimum": MINIMUM_EVENTS,
    }
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            # Compiling such a statement takes longer than most desks' rows.
            cursor.execute(f"SET LOCAL statement_timeout = '{PATIENCE}'; SET LOCAL jit = off")
            cursor.execute(_USED, parameters)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        raise TooMuchToCompare(f"reading two weeks of usage took longer than {PATIENCE}") from error
