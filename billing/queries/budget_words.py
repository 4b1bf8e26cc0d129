"""Budgets in words, for pages and mails: what one counts, and figures with their unit."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from billing.budgeting import Measure
from billing.models import Budget
from config.base.exact import Rounding, grouped, round_to
from pricing.queries import workspace

# What the scope fields of a budget are called, the widest first.
SCOPE: Final = {
    "team": "Team",
    "project": "Project",
    "environment": "Environment",
    "api_key": "API key",
    "customer": "Customer",
    "user": "User",
    "event_type": "Action",
    "agent_type": "Agent type",
    "model": "Model",
}
_CENT: Final = Decimal("0.01")


def scope(budget: Budget) -> list[tuple[str, str]]:
    """Return what a budget counts, as pairs of a word and a name; nothing where it counts the whole workspace."""
    return list(_scope(budget))


def _scope(budget: Budget) -> Iterator[tuple[str, str]]:
    for field, word in SCOPE.items():
        if value := getattr(budget, field):
            yield word, budget.get_environment_display() if field == "environment" else str(value)


def amount(value: Decimal, measure: str) -> str:
    """Write an amount with its unit, to the last digit: 1,200 credits, 12.50 USD. What was computed reads better by `rough`."""
    whole, _, places = grouped(value).partition(".")
    if measure == Measure.COST:
        places = places.ljust(2, "0")
    return f"{whole}{'.' if places else ''}{places} {unit(measure)}"


def rough(value: Decimal, measure: str) -> str:
    """Write an amount as people compare it: money and credits to two places, where it is less to the first two digits; counts whole."""
    if measure in {Measure.TOKENS, Measure.REQUESTS}:
        return amount(round_to(value, Decimal(1), Rounding.HALF_UP), measure)
    step = min(_CENT, Decimal(1).scaleb(value.adjusted() - 1)) if value else _CENT
    return amount(round_to(value, step, Rounding.HALF_UP), measure)


def forecast(value: Decimal, measure: str) -> str:
    """Write what was drawn with a straight line: its first four digits, since more would be believed."""
    return rough(round_to(value, Decimal(1).scaleb(value.adjusted() - 3), Rounding.HALF_UP) if value else value, measure)


def unit(measure: str) -> str:
    """Return what a measure is counted in; costs in the book currency."""
    return workspace.load().currency if measure == Measure.COST else str(measure)
