"""Spikes on pages: the two weeks side by side, what they are, and the way to a launch that explains one."""

from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.safestring import SafeString

from billing.admin.alert_view import STATE_COLOURS
from billing.models import Alert
from billing.queries import alert_words
from billing.queries import alerts as inbox
from billing.queries import spikes as calendar
from billing.services.spikes import span_of, subject_of
from billing.spikes import MINIMUM_EVENTS, WEEK, Cause, last_two_weeks, times
from config.base.admin import badge, lines, link, places, short_money, table
from config.base.exact import CONTEXT

CAUSES: Final = {
    Cause.LAUNCH: "Launch",
    Cause.STAGING: "Not production",
    Cause.RETRY: "Retry loop",
    Cause.BATCH: "Batch work",
    Cause.ROUTE: "Change of route",
    Cause.GROWTH: "Growth",
    Cause.UNEXPLAINED: "No reason found",
}
CAUSE_COLOURS: Final = {
    Cause.LAUNCH: "success",
    Cause.STAGING: "warning",
    Cause.RETRY: "danger",
    Cause.BATCH: "info",
    Cause.ROUTE: "warning",
    Cause.GROWTH: "success",
    Cause.UNEXPLAINED: "danger",
}
_COUNTS: Final = (
    ("events", "Events"),
    ("requests", "Calls of providers"),
    ("customers", "Customers"),
    ("users", "Users"),
    ("retries", "Retries"),
    ("fallbacks", "Fallbacks"),
    ("failed", "Errors"),
    ("batched", "Batch work"),
)


def page(model_admin: "ModelAdmin[Any]", request: HttpRequest) -> HttpResponse:
    """Show the spikes of the last seven days and those that are not over."""
    now = timezone.now()
    weeks = last_two_weeks(now)
    may_plan = request.user.has_perm("billing.add_launch")
    shown = [
        {
            "alert": alert,
            "cause": cause_badge(alert),
            "state": badge(alert.state, alert.get_state_display(), STATE_COLOURS),
            "words": alert_words.sentence(alert),
            "also": alert.facts["also"],
            "next_step": alert_words.next_step(alert),
            "evidence": evidence(alert),
            "plan": plan_link(alert, may_plan=may_plan),
            "page": link("Open the alert", "billing_alert_change", alert.pk),
            "usage": _usage_link(alert),
        }
        for alert in inbox.spikes(now)
    ]
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Spikes",
        "spikes": shown,
        "minimum": MINIMUM_EVENTS,
        "planned": [(link(launch, "billing_launch_change", launch.pk), launch) for launch in calendar.launches(weeks.middle, now)],
        "calendar": places.list_of(request, "billing.launch"),
    }
    return render(request, "admin/billing/spikes.html", context)


def cause_badge(alert: Alert) -> SafeString:
    """Show what a spike is; a launch that covers it by now comes before what the figures said."""
    cause = Cause.LAUNCH if _plans(alert) else Cause(alert.facts["class"])
    return badge(cause, CAUSES[cause], CAUSE_COLOURS)


def evidence(alert: Alert) -> SafeString:
    """Show the two weeks beside each other, as they were when the alert was raised."""
    before, now, currency = alert.facts["before"], alert.facts["now"], alert.facts["currency"]
    rows: list[tuple[Any, ...]] = [
        (words, f"{before[name]:,}", f"{now[name]:,}", times(now[name], before[name]) if now[name] else "-")
        for name, words in _COUNTS
        if before[name] or now[name]
    ]
    rows.append(("Known cost", _cost(before, currency), _cost(now, currency), "-"))
    rows.append(("Cost of an event", _unit_cost(before, currency), _unit_cost(now, currency), "-"))
    for route in sorted({*before["routes"], *now["routes"]}, key=lambda name: (-now["routes"].get(name, 0), name)):
        counts = (before["routes"].get(route, 0), now["routes"].get(route, 0))
        rows.append((f"By {route}" if route else "By no model", f"{counts[0]:,}", f"{counts[1]:,}", times(counts[1], counts[0])))
    return table(("Counted", "7 days before", "Last 7 days", "That is"), rows, figures=(1, 2))


def plan_link(alert: Alert, *, may_plan: bool) -> SafeString | str:
    """Name the launches that cover a spike, or lead to a new one that would."""
    if plans := _plans(alert):
        return lines(link(f"Explained by {launch}", "billing_launch_change", launch.pk) for launch in plans)
    if not may_plan:
        return "No launch covers it. A product manager can enter one."
    since, until = span_of(alert)
    subject = subject_of(alert)
    terms = {
        "name": f"{alert.facts['event']} of {alert.facts['project']}"[:150],
        "project": subject.project_id,
        "event_type": subject.event_type_id,
        "environment": subject.environment,
        "starts_at": f"{timezone.localtime(since):%Y-%m-%dT%H:%M}",
        "ends_at": f"{timezone.localtime(until + WEEK):%Y-%m-%dT%H:%M}",
    }
    return link("Enter a launch that explains it", "billing_launch_add", query=urlencode(terms))


def _plans(alert: Alert) -> list[Any]:
    if not hasattr(alert, "plans"):
        subject, (since, until) = subject_of(alert), span_of(alert)
        found = calendar.launches(since, until)
        alert.plans = [row for row in found if calendar.as_planned(row).explains(subject, since, until)]  # type: ignore[attr-defined]
    plans: list[Any] = alert.plans  # type: ignore[attr-defined]
    return plans


def _usage_link(alert: Alert) -> SafeString:
    since, until = span_of(alert)
    subject = subject_of(alert)
    asked = {
        "occurred_at_from": f"{timezone.localtime(since):%Y-%m-%dT%H:%M}",
        "occurred_at_to": f"{timezone.localtime(until):%Y-%m-%dT%H:%M}",
        "project__id__exact": subject.project_id,
        "environment__exact": subject.environment,
        "event_type__id__exact": subject.event_type_id,
    }
    return link("Its usage records", "billing_usagerecord_changelist", query=urlencode(asked))


def _cost(used: dict[str, Any], currency: str) -> SafeString:
    return short_money(Decimal(used["cost"]), currency)


def _unit_cost(used: dict[str, Any], currency: str) -> SafeString:
    if not used["costed"]:
        return short_money(None, currency)
    return short_money(CONTEXT.divide(Decimal(used["cost"]), used["costed"]), currency)
