"""Alerts as tests need them, with the figures that their sentences name."""

import itertools
from datetime import timedelta
from typing import Any, Final

from django.utils import timezone

from billing import spikes
from billing.models import Alert, AlertDelivery, Project
from billing.spikes import Subject, Used
from pricing.models import EventType
from tests.billing.factories import ProjectFactory

_numbers = itertools.count(1)
_WALLET: Final = {"customer": "user_42", "project": "Support bot", "environment": "production", "available": "3", "balance": "3"}


def an_alert(kind: str = "spike", **fields: Any) -> Alert:
    """Raise an alert, open unless told otherwise; a spike from 1,000 to 2,400 events unless it has facts of its own."""
    facts = fields.pop("facts", None)
    if kind == "spike":
        fields.setdefault("project", None)
        fields["project"] = fields["project"] or ProjectFactory.create()
        facts = facts or of_a_spike(fields["project"])
    fields.setdefault("raised_at", timezone.now())
    return Alert.objects.create(kind=kind, cause=f"test:{next(_numbers)}", facts=facts or _WALLET, **fields)


def of_a_spike(project: Project, *, environment: str = "production", event: str = "chat.reply", **now: Any) -> dict[str, Any]:
    """Return what an alert keeps of a spike."""
    event_type, _ = EventType.objects.get_or_create(name=event, defaults={"label": event})
    weeks = spikes.last_two_weeks(timezone.now())
    subject = Subject(project.pk, environment, event_type.pk)
    before = Used(1000, 1000, customers=100, costed=1000, routes={"acme/m-1": 1000})
    used: dict[str, Any] = {"events": 2400, "requests": 2400, "customers": 240, "costed": 2400, "routes": {"acme/m-1": 2400}} | now
    spiking = {subject: (before, Used(**used))}
    [spike] = spikes.find(spiking, since={project.pk: weeks.starts_at}, planned=[], weeks=weeks, currency="USD")
    named = {"project": project.name, "event": event, "event_type": event_type.pk, "environment": environment}
    return named | {"week": "2026-W47", "currency": "USD"} | dict(spikes.facts(spike, weeks))


def a_delivery(alert: Alert, outcome: str = "sent", **fields: Any) -> AlertDelivery:
    """Owe a message of an alert; one that is not due any more is done."""
    now = timezone.now()
    done_at = None if outcome == "due" else now
    facts = {"kind": "email", "address": f"person{next(_numbers)}@example.com", "created_at": now, "due_at": now + timedelta(minutes=2)}
    return AlertDelivery.objects.create(alert=alert, outcome=outcome, done_at=done_at, **(facts | fields))
