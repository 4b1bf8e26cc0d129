"""Looking at budgets: which thresholds are reached, where a window is heading over its limit, and what is over again.

What is looked at: the windows that run, and those in which something was counted since the last look. How far that look
came is kept (`BudgetFold.evaluated_…`) and moved last, so that a look that was cut off is repeated, and a window that
came and went while nobody looked is told of all the same. Looking twice, or two at once, raises nothing twice.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db import OperationalError
from django.db.models import F, QuerySet
from django.db.models.functions import Greatest

from billing.budgeting import Budget, Forecast, Measure, Span, forecast, is_early, is_reached, percent_of
from billing.models import Alert, AlertKind, AlertState, BudgetFold, BudgetWindow
from billing.models import Budget as BudgetRow
from billing.queries import budget_book, budget_sums
from billing.services import alerts, budget_folding
from billing.services.alerts import News
from config.base.exact import ZERO, plain
from pricing.queries import workspace

log = logging.getLogger(__name__)

_KINDS: Final = (AlertKind.THRESHOLD, AlertKind.FORECAST)
_CHUNK: Final = 50_000  # ids that one statement goes through
_LIMIT: Final = 100  # per cent: what a forecast is measured by
_OWNERS: Final = (
    "owner",
    "team__budget_owner",
    "project__team__budget_owner",
    "api_key__project__team__budget_owner",
    "customer__project__team__budget_owner",
)
_Key = tuple[int, datetime]  # budget, start of a window


@dataclass(frozen=True, slots=True)
class _Look:
    """One window of one budget, as it is now or was when it ended."""

    budget: Budget
    span: Span
    spent: Decimal
    now: datetime

    @property
    def is_over(self) -> bool:
        return self.span.ends_at <= self.now

    @property
    def limit(self) -> Decimal:
        """With the exceptions of now, or of the window's last moment."""
        return self.budget.limit_at(min(self.now, self.span.ends_at - timedelta(microseconds=1)))

    def foresees(self) -> Forecast | None:
        """Return the forecast that passes the limit, if there is one to be trusted."""
        if self.is_over or is_early(self.span, self.now):
            return None
        expected = forecast(self.spent, self.span, self.limit, before=None, now=self.now)
        return expected if expected.amount > self.limit else None

    def is_true(self, alert: Alert) -> bool:
        """Say whether what an alert told still is so."""
        if self.is_over:
            return False
        if alert.kind == AlertKind.FORECAST:
            return self.foresees() is not None
        return is_reached(alert.threshold or _LIMIT, self.spent, self.limit)


def evaluate(*, now: datetime) -> int:
    """Count what came, resolve what is over, and raise what is reached; return how many alerts were raised."""
    try:
        budget_folding.fold(now=now)
    except OperationalError as error:
        log.warning("Budgets are looked at as far as they are counted; counting goes on at the next turn: %s", error)
    upto = BudgetFold.objects.get_or_create(pk=1)[0]
    rows = {row.pk: row for row in BudgetRow.objects.filter(ended_at__isnull=True).select_related(*_OWNERS)}
    standing = list(_unresolved().filter(budget__in=rows))
    looks = _looks(BudgetRow.objects.filter(pk__in=rows), standing, upto, now)
    over = [alert for alert in standing if not ((look := looks.get(_key(alert))) and look.is_true(alert))]
    alerts.resolve(alerts=[*over, *_unresolved().filter(budget__ended_at__isnull=False)], by=None, now=now)
    told = _told(looks, but_over={alert.pk for alert in over})
    currency = workspace.load().currency
    news = [one for look in looks.values() for one in _news(look, rows[look.budget.id], currency)]
    raised = alerts.raise_all([one for one in news if not {_name(one), (*_name(one), one.limit)} & told], now=now)
    _note_how_far(upto, now)
    return len(raised)


def _looks(rows: "QuerySet[BudgetRow]", standing: Iterable[Alert], upto: BudgetFold, now: datetime) -> dict[_Key, _Look]:
    """Return the windows to look at: those that run or ran at the last look, were counted in since, or have an alert."""
    times = [*_times_since(upto), now, upto.evaluated_at or now]
    alerted: dict[int | None, list[datetime]] = {}
    for alert in standing:
        if alert.window_starts_at:
            alerted.setdefault(alert.budget_id, []).append(alert.window_starts_at)
    looks = {}
    for budget in budget_book.as_known_to_charges(rows):
        for span in budget_sums.spans(budget, [*times, *alerted.get(budget.id, ())]):
            looks[budget.id, span.starts_at] = _Look(budget, span, ZERO, now)
    windows = BudgetWindow.objects.filter(budget__in={pk for pk, _ in looks}, starts_at__in={starts_at for _, starts_at in looks})
    for pk, starts_at, spent in windows.values_list("budget", "starts_at", "spent"):
        if look := looks.get((pk, starts_at)):
            looks[pk, starts_at] = replace(look, spent=spent)
    return looks


def _times_since(upto: BudgetFold) -> Iterator[datetime]:
    """Yield the quarters of an hour in which something was counted since the last look."""
    for after in range(upto.evaluated_record_id, upto.record_id, _CHUNK):
        yield from budget_sums.quarters_of_records(after, min(after + _CHUNK, upto.record_id))
    if upto.evaluated_adjustment_id < upto.adjustment_id:
        yield from budget_sums.quarters_of_adjustments(upto.evaluated_adjustment_id, upto.adjustment_id)


def _unresolved() -> "QuerySet[Alert]":
    return Alert.objects.filter(kind__in=_KINDS).exclude(state=AlertState.RESOLVED)


def _told(looks: Iterable[_Key], *, but_over: set[int]) -> set[tuple[object, ...]]:
    """Return the names of what need not be raised: alerts that stand, whatever the limit, and with their limit those that were."""
    keys = set(looks)
    found = Alert.objects.filter(
        kind__in=_KINDS, budget__in={pk for pk, _ in keys}, window_starts_at__in={starts_at for _, starts_at in keys}
    )
    told: set[tuple[object, ...]] = set()
    for alert in found:
        told.add((*_name(alert), alert.limit))
        if alert.state != AlertState.RESOLVED and alert.pk not in but_over:
            told.add(_name(alert))
    return told


def _name(one: Alert | News) -> tuple[object, ...]:
    return str(one.kind), one.budget_id, one.window_starts_at, one.threshold


def _key(alert: Alert) -> _Key:
    assert alert.budget_id, "`alert_of_a_budget_names_it`"
    assert alert.window_starts_at, "`alert_of_a_budget_names_it`"
    return alert.budget_id, alert.window_starts_at


def _news(look: _Look, row: BudgetRow, currency: str) -> Iterator[News]:
    """Yield what could be told of one window, told before or not."""
    for threshold in row.thresholds:
        if is_reached(threshold, look.spent, look.limit):
            yield _one(AlertKind.THRESHOLD, threshold, look, row, currency, {})
    expected = look.foresees() if look.spent < look.limit else None
    if expected:
        runs_out_at = expected.runs_out_at.isoformat() if expected.runs_out_at else None
        facts = {"forecast": plain(expected.amount), "method": expected.method, "runs_out_at": runs_out_at}
        yield _one(AlertKind.FORECAST, _LIMIT, look, row, currency, facts)


def _one(kind: AlertKind, threshold: int, look: _Look, row: BudgetRow, currency: str, more: alerts.Facts) -> News:
    budget, limit = look.budget, look.limit
    project = alerts.project_of(row)
    facts = {
        "budget": budget.name,
        "measure": str(budget.measure),
        "currency": currency if budget.measure is Measure.COST else None,
        "window": {
            "kind": str(budget.window),
            "from": look.span.starts_at.isoformat(),
            "to": look.span.ends_at.isoformat(),
            "zone": budget.zone.key,
        },
        "threshold": threshold,
        "limit": plain(limit),
        "spent": plain(look.spent),
        "percent": plain(percent_of(look.spent, limit)),
        "action": str(budget.action),
        "target": budget.target,
        "is_over": look.is_over,
        **more,
    }
    return News(
        kind=kind,
        cause=f"{kind}:{budget.id}:{look.span.starts_at:%Y-%m-%dT%H:%MZ}:{threshold}:{plain(limit)}",
        facts=facts,
        budget_id=budget.id,
        window_starts_at=look.span.starts_at,
        threshold=threshold,
        limit=limit,
        project_id=project.pk if project else None,
        told=alerts.address_of(alerts.answers_for(row, project)),
    )


def _note_how_far(upto: BudgetFold, now: datetime) -> None:
    """Move on, never back: another look may have come further."""
    BudgetFold.objects.filter(pk=1).update(
        evaluated_record_id=Greatest(F("evaluated_record_id"), upto.record_id),
        evaluated_adjustment_id=Greatest(F("evaluated_adjustment_id"), upto.adjustment_id),
        evaluated_at=now,
    )
