"""Which budgets concern a project, and which one is its monthly limit."""

from django.db.models import Q, QuerySet

from billing.budgeting import Action, Measure, Window
from billing.models import Budget


def applying_to(*, project_id: int, team_id: int | None) -> "QuerySet[Budget]":
    """Return the running budgets that something of the project may count for: its own, its team's, of its keys and customers,
    and those without any of these.
    """
    return Budget.objects.filter(
        Q(project=None) | Q(project=project_id),
        Q(team=None) | Q(team=team_id),
        Q(api_key=None) | Q(api_key__project=project_id),
        Q(customer=None) | Q(customer__project=project_id),
        ended_at=None,
    ).select_related("team", "project", "api_key", "customer", "event_type")


def monthly(project_id: int) -> Budget | None:
    """Return the project's monthly cost budget: of the project as a whole. Of several the one for alerts, else the oldest."""
    nothing_else = dict.fromkeys(("team", "api_key", "customer", "event_type"))
    no_text = dict.fromkeys(("environment", "user", "agent_type", "model"), "")
    rows = Budget.objects.filter(**nothing_else, **no_text, project=project_id, measure=Measure.COST, window=Window.MONTH, ended_at=None)
    return min(rows, key=lambda row: (row.action != Action.ALERT, row.pk), default=None)
