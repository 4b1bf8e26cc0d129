"""Finding spikes: each is told once, and is over when the usage is down again or a launch explains it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from django.db import connection, transaction

from billing.models import Alert, AlertKind, AlertState, Launch, Project
from billing.queries import spikes as figures
from billing.services import alerts
from billing.spikes import Cause, Spike, Subject, Weeks, facts, find, last_two_weeks
from pricing.models import EventType
from pricing.queries import workspace

# Only one looks at a time.
_LOCK: Final = 7_300_053


@transaction.atomic
def look(*, now: datetime) -> tuple[int, int]:
    """Compare the last seven days with the seven before; return how many alerts were raised, and how many resolved.

    A spike is told once per action, environment and week of the calendar, and not again while an earlier alert of it is
    not resolved: the seven days move on, and nearly every spike lasts into a second week. What a launch explains is
    not told at all.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            return 0, 0
    weeks, currency = last_two_weeks(now), figures.currency()
    found = figures.used_in(weeks, currency)
    calendar = figures.planned(weeks.middle, weeks.ends_at)
    spikes = find(found.used, since=found.since, planned=calendar, weeks=weeks, currency=currency)
    unexplained = {spike.subject: spike for spike in spikes if spike.cause is not Cause.LAUNCH}
    told = {subject_of(alert): alert for alert in unresolved()}
    over = [alert for subject, alert in told.items() if subject not in unexplained]
    fresh = [spike for subject, spike in unexplained.items() if subject not in told]
    return _raise(fresh, weeks, currency, now), alerts.resolve(alerts=over, by=None, now=now)


def explain(*, launch: Launch, now: datetime) -> int:
    """Resolve the alerts that a launch explains, at once instead of with the next look; return how many."""
    planned = figures.as_planned(launch)
    explained = [alert for alert in unresolved() if planned.explains(subject_of(alert), *span_of(alert))]
    return alerts.resolve(alerts=explained, by=None, now=now)


def unresolved() -> list[Alert]:
    """Return the spikes that are not over, the oldest first."""
    return list(Alert.objects.filter(kind=AlertKind.SPIKE).exclude(state=AlertState.RESOLVED).order_by("pk"))


def subject_of(alert: Alert) -> Subject:
    """Return whose usage an alert is about."""
    return Subject(alert.project_id or 0, alert.facts["environment"], alert.facts["event_type"])


def span_of(alert: Alert) -> tuple[datetime, datetime]:
    """Return the seven days in which usage doubled."""
    return datetime.fromisoformat(alert.facts["from"]), datetime.fromisoformat(alert.facts["to"])


def _raise(spikes: Iterable[Spike], weeks: Weeks, currency: str, now: datetime) -> int:
    spikes = list(spikes)
    projects = Project.objects.select_related("team__budget_owner").in_bulk({spike.subject.project_id for spike in spikes})
    events = EventType.objects.in_bulk({spike.subject.event_type_id for spike in spikes})
    year, week, _ = now.astimezone(ZoneInfo(workspace.load().time_zone)).isocalendar()
    raised = 0
    for spike in spikes:
        project, event = projects[spike.subject.project_id], events[spike.subject.event_type_id]
        named = {"project": project.name, "event": event.name, "event_type": event.pk, "environment": spike.subject.environment}
        cause = f"spike:{project.pk}:{spike.subject.environment}:{event.pk}:{year}-W{week:02}"
        kept = named | {"week": f"{year}-W{week:02}", "currency": currency} | dict(facts(spike, weeks))
        raised += alerts.raise_alert(kind=AlertKind.SPIKE, cause=cause, facts=kept, now=now, project=project) is not None
    return raised
