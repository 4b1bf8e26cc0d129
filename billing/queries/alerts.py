"""Alerts for pages: who sees which, who may see to which, and whether what they owe has arrived."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Case, IntegerField, Q, QuerySet, Value, When

from billing.models import Alert, AlertDelivery, AlertKind, AlertState, Budget, DeliveryOutcome, Team

OF_WALLETS: Final = (AlertKind.WALLET_LOW, AlertKind.CREDITS_EXPIRE, AlertKind.WALLET_FROZEN)
ALL: Final = "billing.acknowledge_alert"
SPIKES: Final = "billing.acknowledge_spike"
_LATELY: Final = timedelta(days=7)
_MOST_SPIKES: Final = 100
Person = User | AnonymousUser

# What waits for somebody first.
BY_URGENCY: Final = Case(
    When(state=AlertState.OPEN, then=Value(0)),
    When(state=AlertState.ACKNOWLEDGED, then=Value(1)),
    default=Value(2),
    output_field=IntegerField(),
)


def visible(alerts: "QuerySet[Alert]", person: Person) -> "QuerySet[Alert]":
    """Leave out what tells of wallets from whoever may not see wallets."""
    return alerts if person.has_perm("billing.view_wallet") else alerts.exclude(kind__in=OF_WALLETS)


def may_see_to_some(person: Person) -> bool:
    """Say whether the person may acknowledge and resolve alerts of any kind."""
    return person.has_perm(ALL) or person.has_perm(SPIKES)


def may_see_to(person: Person) -> Q:
    """Return which alerts the person may acknowledge and resolve."""
    if person.has_perm(ALL):
        return Q()
    return Q(kind=AlertKind.SPIKE) if person.has_perm(SPIKES) else Q(pk__in=())


def owned_by(alerts: "QuerySet[Alert]", person_id: int) -> "QuerySet[Alert]":
    """Return those that a person answers for: by the budget, else by its team, else by the team of the project."""
    of_budget = Q(budget__owner=person_id)
    of_team = Q(budget__owner=None, budget__team__budget_owner=person_id)
    of_project = Q(budget__owner=None, budget__team=None, project__team__budget_owner=person_id)
    return alerts.filter(of_budget | of_team | of_project)


def owners() -> list[User]:
    """Return who answers for a budget or a team."""
    of_budgets = Budget.objects.exclude(owner=None).values("owner")
    of_teams = Team.objects.exclude(budget_owner=None).values("budget_owner")
    return list(User.objects.filter(Q(pk__in=of_budgets) | Q(pk__in=of_teams)).order_by("username"))


def spikes(now: datetime) -> list[Alert]:
    """Return the spikes of the last seven days and those that are not over, the open and the newest first."""
    lately = Q(raised_at__gt=now - _LATELY) | ~Q(state=AlertState.RESOLVED)
    rows = Alert.objects.filter(lately, kind=AlertKind.SPIKE).select_related("project", "acknowledged_by", "resolved_by")
    return list(rows.order_by(BY_URGENCY, "-raised_at", "-pk")[:_MOST_SPIKES])


def dead() -> "QuerySet[AlertDelivery]":
    """Return the messages that were given up."""
    return AlertDelivery.objects.filter(outcome=DeliveryOutcome.EXPIRED)


def arrival(deliveries: Iterable[AlertDelivery]) -> tuple[str, str]:
    """Say in a few words whether what an alert owes has arrived, after a key: dead, waits, sent or none."""
    counts = Counter(one.outcome for one in deliveries)
    sent, due, given_up = counts[DeliveryOutcome.SENT], counts[DeliveryOutcome.DUE], counts[DeliveryOutcome.EXPIRED]
    parts = [f"{given_up} given up"] * bool(given_up) + [f"{due} on the way"] * bool(due) + [f"{sent} arrived"] * bool(sent)
    key = "dead" if given_up else "waits" if due else "sent" if sent else "none"
    return key, ", ".join(parts) or "Nobody is told"


def is_seen_to_by(alert: Alert, person: Person) -> bool:
    """Say whether the person may acknowledge and resolve this alert."""
    return person.has_perm(ALL) or (alert.kind == AlertKind.SPIKE and person.has_perm(SPIKES))
