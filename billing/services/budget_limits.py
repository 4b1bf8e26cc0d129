"""The monthly limit of a project as its app sets it (seed 003, `aiCost.setBudgetLimit`).

It is an ordinary budget: the project's cost in a month, for alerts. People may rename it, watch it and end it like any
other. What people made stricter, to block for example, an app's key does not change any more.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db import IntegrityError

from billing.budgeting import Action, Measure, Window
from billing.errors import BudgetKept
from billing.events import Caller
from billing.models import Budget, Project
from billing.queries import budget_limits
from billing.services import budgets
from config.base.exact import plain

_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class LimitSet:
    budget: Budget
    is_new: bool


def set_monthly_limit(*, caller: Caller, limit: Decimal, now: datetime) -> LimitSet:
    """Make the monthly cost budget of the caller's project, or change its limit (book currency). Raises BudgetKept.

    The same limit again changes nothing. Two calls at once make one budget: running budgets have names of their own, so the
    second one fails there, looks again and finds it.
    """
    name = f"AI cost of {caller.project_key} a month"
    for _ in range(_ATTEMPTS):
        found = budget_limits.monthly(caller.project_id)
        try:
            if found is None and Budget.objects.filter(name=name, ended_at__isnull=True).exists():
                continue  # made just now by another call, or not the monthly limit at all
            if found is None:
                scope = {"project": Project.objects.get(pk=caller.project_id)}
                terms = budgets.Terms(name=name, measure=Measure.COST, window=Window.MONTH, limit=limit, scope=scope)
                return LimitSet(budgets.open_budget(terms, now=now, reason=f"by {caller.actor}"), is_new=True)
            if found.limit != limit:
                _refuse_unless_alerting(found)
                budgets.change_budget(found, now=now, reason=f"by {caller.actor}", limit=limit)
            return LimitSet(found, is_new=False)
        except IntegrityError:
            continue  # another call has just made it, or a person has just ended it: look again
    raise BudgetKept(f"There is another budget of the name {name!r}. Rename that one in the admin, then send the call again.")


def _refuse_unless_alerting(budget: Budget) -> None:
    if budget.action != Action.ALERT:
        raise BudgetKept(
            f"The limit is {plain(budget.limit)}, and the budget {budget.name!r} does more than alert at it ({budget.action}): people "
            "decided that, so its limit is changed in the admin, by them."
        )
