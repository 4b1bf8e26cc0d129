"""Budgets as tests need them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.budgeting import Action, Measure, Window
from billing.models import Budget, BudgetWindow
from billing.services import budgets
from tests.billing.factories import NOW


def a_budget(limit: str = "100", *, now: datetime = NOW, **terms: Any) -> Budget:
    """Make a budget on the credits of a day that blocks, unless told otherwise; scope fields go by their names."""
    names = {"team", "project", "api_key", "environment", "customer", "user", "event_type", "agent_type", "model"}
    scope = {name: terms.pop(name) for name in names & set(terms)}
    facts: dict[str, Any] = {"measure": Measure.CREDITS, "window": Window.DAY, "action": Action.BLOCK, "time_zone": "UTC"}
    name = terms.pop("name", f"Budget {Budget.objects.count() + 1}")
    return budgets.open_budget(budgets.Terms(name=name, limit=Decimal(limit), scope=scope, **(facts | terms)), now=now)


def spent(budget: Budget) -> list[Decimal]:
    """Return what each window of a budget has spent, the newest first."""
    return list(BudgetWindow.objects.filter(budget=budget).values_list("spent", flat=True))
