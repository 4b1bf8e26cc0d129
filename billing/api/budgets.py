"""`/budgets`, `/ai-cost/budget-limit`: how the budgets stand that concern the key's project, and its monthly limit."""

from typing import Annotated

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Query, Router

from billing.api import answers
from billing.api.auth import KeyAuth, caller_of
from billing.api.budget_schemas import BudgetLimitIn, BudgetLimitOut, BudgetPage, BudgetStateOut
from billing.api.common import PageQuery, cut, read_id, respond
from billing.api.common import answers as declared
from billing.errors import UnknownBudget, UnknownProject
from billing.events import Caller
from billing.models import Budget, Scope
from billing.queries import budget_limits, budgets
from billing.services import budget_limits as limits
from config.base.database import snapshot

router = Router(tags=["Budgets"])


@router.put(
    "/ai-cost/budget-limit",
    auth=KeyAuth(Scope.BUDGETS),
    response=declared({200: BudgetLimitOut, 201: BudgetLimitOut}, "unknown_project", "budget_kept"),
    summary="Set the project's monthly limit on AI cost",
)
def put_limit(request: HttpRequest, body: BudgetLimitIn) -> HttpResponse:
    """A budget for alerts at 80 and 100 % of the month's provider cost. Answers 201 when it is new, else 200; the same limit again
    changes nothing. People may make it stricter in the admin; then its limit is theirs to change.
    """
    caller, now = caller_of(request), timezone.now()
    if body.project_id != caller.project_key:
        raise UnknownProject(
            f"This key is of the project {caller.project_key!r} and sets its limit only. Use a key of {body.project_id!r} for that one."
        )
    limit = limits.set_monthly_limit(caller=caller, limit=body.limit_dollars, now=now)
    [shown] = budgets.shown([limit.budget], now=now)
    return respond(answers.budget_limit(shown, project=caller.project_key, now=now), status=201 if limit.is_new else 200)


@router.get("/budgets", auth=KeyAuth(Scope.BUDGETS), response=declared({200: BudgetPage}), summary="List budgets, newest first")
def list_budgets(request: HttpRequest, query: Annotated[PageQuery, Query()]) -> HttpResponse:
    """Those that the key's project counts for: of the project, its team, its keys and customers, and those of the whole workspace,
    each in the window that runs now.
    """
    now = timezone.now()
    with snapshot():
        found, cursor = cut(_of(caller_of(request)), query)
        data = [answers.budget(shown, now=now) for shown in budgets.shown(found, now=now)]
    return respond({"data": data, "next_cursor": cursor})


@router.get(
    "/budgets/{budget_id}", auth=KeyAuth(Scope.BUDGETS), response=declared({200: BudgetStateOut}, "unknown_budget"), summary="A budget"
)
def get_budget(request: HttpRequest, budget_id: str) -> HttpResponse:
    """How it stands in the window that runs now, and where it is heading."""
    number, now = read_id("bud", budget_id, UnknownBudget), timezone.now()
    with snapshot():
        found = budgets.shown(_of(caller_of(request)).filter(pk=number), now=now)
    if not found:
        raise UnknownBudget(f"No running budget {budget_id!r} concerns this key's project. GET /budgets lists those that do.")
    return respond(answers.budget(found[0], now=now))


def _of(caller: Caller) -> "QuerySet[Budget]":
    return budget_limits.applying_to(project_id=caller.project_id, team_id=caller.team_id)
