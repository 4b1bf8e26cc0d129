"""The budgets of the demo company: opened two months ago, and looked at again today, when limits are set by what is used by now.

So on whatever day the demo is made, one budget is green, one yellow, one red with an exception, and one heads for its end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth.models import User

from billing.budgeting import Action, Measure, Window
from billing.models import Budget, Project
from billing.queries import budgets as standings
from billing.services import budget_exceptions, budget_folding, budgets
from billing.services.budgets import Terms

OPENED_DAYS_AGO: Final = 60
REVIEWED: Final = "Reviewed: set by what was used in the last months"


@dataclass(frozen=True, slots=True)
class Plan:
    """A budget, and which share of its limit is used today."""

    name: str
    project: str
    owner: str
    measure: Measure
    window: Window
    first_limit: int
    used: str
    scope: Mapping[str, str] = field(default_factory=dict)
    action: Action = Action.ALERT
    target: str = ""


EVALUATION: Final = "Model evaluation, monthly"
IMAGES: Final = "Image studio, weekly"
PLANS: Final = (
    Plan("Support chat, monthly", "support-chat", "product", Measure.COST, Window.MONTH, 150, "0.52"),
    Plan(IMAGES, "image-studio", "product", Measure.CREDITS, Window.WEEK, 10_000, "0.88"),
    Plan(EVALUATION, "agent-platform", "engineer", Measure.COST, Window.MONTH, 9, "1.2", scope={"environment": "evaluation"}),
    Plan(
        *("Agents in production, monthly", "agent-platform", "engineer", Measure.TOKENS, Window.MONTH, 30_000_000, "0.72"),
        scope={"environment": "production"},
        action=Action.DOWNGRADE,
        target="claude-haiku-4-5",
    ),
)


def open_all(users: Mapping[str, User], *, now: datetime) -> None:
    """Make the budgets with their first limits. In a transaction that has charged nothing yet."""
    for plan in PLANS:
        scope: dict[str, Any] = {"project": Project.objects.get(key=plan.project), **plan.scope}
        terms = Terms(
            name=plan.name,
            measure=plan.measure,
            window=plan.window,
            limit=Decimal(plan.first_limit),
            scope=scope,
            action=plan.action,
            target=plan.target,
            owner=users[plan.owner],
        )
        budgets.open_budget(terms, now=now, reason="Every project has a limit from now on")


def review(users: Mapping[str, User], *, now: datetime) -> None:
    """Count what was used, set today's limits, and let people ask for exceptions. In a transaction that has charged nothing yet."""
    budget_folding.fold(now=now)
    used = {plan.name: Decimal(plan.used) for plan in PLANS}
    for shown in standings.shown(Budget.objects.filter(name__in=used), now=now):
        if spent := shown.standing.spent:
            budgets.change_budget(shown.row, now=now, reason=REVIEWED, limit=_round(spent / used[shown.row.name]))
    evaluation, images = (Budget.objects.get(name=name) for name in (EVALUATION, IMAGES))
    budgets.change_budget(evaluation, now=now, reason="Over its limit twice: what does not fit is refused from now on", action=Action.BLOCK)
    granted = budget_exceptions.request(
        budget=evaluation,
        extra=_round(evaluation.limit * Decimal("0.1")),
        reason="The new model runs once through the whole set of tests",
        ticket="OPS-212",
        expires_at=now + timedelta(days=6),
        requested_by=users["engineer"],
        now=now - timedelta(hours=26),
    )
    about = {"reason": "Agreed for this one run", "decided_by": users["finance"], "now": now - timedelta(hours=22)}
    budget_exceptions.approve(exception_id=granted.pk, **about)  # type: ignore[arg-type]
    budget_exceptions.request(
        budget=images,
        extra=_round(images.limit * Decimal("0.25")),
        reason="The winter campaign starts on Monday",
        ticket="MKT-88",
        recharge_id="invoice 2026-1107",
        expires_at=now + timedelta(days=12),
        requested_by=users["product"],
        now=now - timedelta(hours=3),
    )


def _round(value: Decimal) -> Decimal:
    """Keep the first two digits, as people set limits."""
    return Decimal(int(round(value, 1 - value.adjusted()))) if value >= 10 else round(value, 1 - value.adjusted())
