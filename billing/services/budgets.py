"""Making, changing and ending budgets.

A budget counts its first window whole, what was spent in it before it was made included. What was recorded until just now
is summed up first; the rest, with all charges kept out for that moment, and from then on charges and the counting task
know the budget. Hence a sum that is exact at any time of day, and charges that never wait for long.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection, transaction

from billing.budgeting import Action, Measure, Window, span_of
from billing.errors import DecisionRefused, InvalidRequest
from billing.models import Budget
from billing.models.budget import MAX_THRESHOLD
from billing.models.fields import save_with_reason
from billing.queries import budget_book, budget_sums
from billing.services import budget_folding
from config.base.exact import MAX_MONEY, MONEY_PLACES, has_more_places
from pricing.locks import take_prices_lock_sql
from pricing.models.workspace import validate_time_zone
from pricing.queries import workspace

# Summing up a month of a large desk takes longer than a page may otherwise.
_COUNT_TIMEOUT: Final = "120s"
MAX_THRESHOLDS: Final = 10


@dataclass(frozen=True, slots=True)
class Terms:
    """What a budget limits, and how. `scope` names fields of `Budget`: team, project, api_key, environment, customer, user,
    event_type, agent_type, model.
    """

    name: str
    measure: Measure
    window: Window
    limit: Decimal
    scope: dict[str, Any] = field(default_factory=dict)
    action: Action = Action.ALERT
    target: str = ""
    thresholds: tuple[int, ...] = (80, 100)
    owner: User | None = None
    time_zone: str = ""


def open_budget(terms: Terms, *, now: datetime, reason: str = "") -> Budget:
    """Make a budget that counts from the start of the window that `now` falls in. Raises InvalidRequest."""
    zone = terms.time_zone or workspace.load().time_zone
    try:
        validate_time_zone(zone)
    except ValidationError as error:
        raise InvalidRequest("time_zone", "must be an IANA name such as Europe/Vienna") from error
    span = span_of(terms.window, now, ZoneInfo(zone))
    row = Budget(
        name=terms.name,
        **terms.scope,
        measure=terms.measure,
        window=terms.window,
        time_zone=zone,
        limit=terms.limit,
        action=terms.action,
        target=terms.target,
        thresholds=sorted(set(terms.thresholds)),
        owner=terms.owner,
        counts_from=span.starts_at,
        created_at=now,
    )
    check(row)
    _check_scope(row)
    budget_folding.fold(now=now)
    setattr(row, "_change_reason", reason)  # noqa: B010 - simple-history reads the reason from here
    with transaction.atomic():
        _allow_time()
        fold = budget_folding.locked()
        row.save(force_insert=True)
        [budget] = budget_book.as_known_to_charges(Budget.objects.filter(pk=row.pk))
        before = fold.record_id
        sums = budget_sums.of_records(budget, [span], after=0, upto=before)
        _keep_charges_out()
        upto = budget_folding.last_record_id()
        budget_folding.add(row.pk, sums)
        # The rest: the budget is among those that run now, unless charges keep it themselves.
        if budget.is_blocking:
            budget_folding.add(row.pk, budget_sums.of_records(budget, [span], after=before, upto=upto))
        budget_folding.fold_the_rest(now=now)
        budget_folding.add(row.pk, budget_sums.of_adjustments(budget, [span], after=0, upto=fold.adjustment_id))
    return row


def change_budget(row: Budget, *, now: datetime, reason: str, **changes: Any) -> Budget:
    """Change name, limit, action, target, thresholds or owner. Raises InvalidRequest, DecisionRefused (it has ended)."""
    for name, value in changes.items():
        setattr(row, name, value)
    check(row)
    if "action" in changes:
        budget_folding.fold(now=now)
    with transaction.atomic():
        if "action" in changes:
            # From one hand into the other: all until now has been counted, and nothing is under way.
            budget_folding.locked()
            _keep_charges_out()
            budget_folding.fold_the_rest(now=now)
        _refuse_ended(row)
        save_with_reason(row, *changes, reason=reason)
    return row


def end_budget(row: Budget, *, now: datetime, reason: str) -> None:
    """End a budget: it counts nothing more, and stays to be looked at. Raises DecisionRefused (it has ended)."""
    with transaction.atomic():
        _refuse_ended(row)
        row.ended_at = now
        save_with_reason(row, "ended_at", reason=reason)


def check(row: Budget) -> None:
    """Raise InvalidRequest where the terms of a budget make no sense."""
    if row.action in {Action.DOWNGRADE, Action.REROUTE} and not row.target.strip():
        what = "model to go down to" if row.action == Action.DOWNGRADE else "route to take"
        raise InvalidRequest("target", f"must name the {what}")
    if not row.thresholds:
        raise InvalidRequest("thresholds", "must name at least one per cent, such as 80")
    if len(row.thresholds) > MAX_THRESHOLDS or not all(1 <= threshold <= MAX_THRESHOLD for threshold in row.thresholds):
        raise InvalidRequest("thresholds", f"must be at most {MAX_THRESHOLDS} per cents from 1 to {MAX_THRESHOLD}")
    if not row.limit.is_finite() or not 0 <= row.limit <= MAX_MONEY or has_more_places(row.limit, MONEY_PLACES):
        raise InvalidRequest("limit", f"must be from 0 to {MAX_MONEY:,.0f}, with at most {MONEY_PLACES} places")
    if Budget.objects.filter(name=row.name, ended_at__isnull=True).exclude(pk=row.pk).exists():
        raise InvalidRequest("name", "is that of another budget that runs: answers and alerts tell them apart by it")


def _check_scope(row: Budget) -> None:
    """Refuse a scope that nothing can ever be in."""
    projects = {part.project_id for part in (row.customer, row.api_key) if part} | ({row.project.pk} if row.project else set())
    environments = {part.environment for part in (row.customer, row.api_key) if part} | ({row.environment} - {""})
    if len(projects) > 1:
        raise InvalidRequest("project", "is another one than that of the customer or the API key: leave it empty")
    if len(environments) > 1:
        raise InvalidRequest("environment", "is another one than that of the customer or the API key: leave it empty")
    if row.team and projects and not row.team.projects.filter(pk__in=projects).exists():
        raise InvalidRequest("team", "does not have that project: leave the team empty")


def _refuse_ended(row: Budget) -> None:
    """Take the budget for this transaction, if it runs."""
    ended_at = Budget.objects.select_for_update(no_key=True).values_list("ended_at", flat=True).get(pk=row.pk)
    if ended_at is not None:
        raise DecisionRefused(f"The budget {row.name} has ended meanwhile: make another one.")


def _allow_time() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{_COUNT_TIMEOUT}'")


def _keep_charges_out() -> None:
    with connection.cursor() as cursor:
        cursor.execute(take_prices_lock_sql)
