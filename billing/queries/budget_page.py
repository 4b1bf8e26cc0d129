"""What the page of one budget shows: how it stands, its past windows, exceptions and alerts."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from billing.budgeting import Exemption, Span, State, percent_of, state_of
from billing.models import Alert, Budget, BudgetException, BudgetWindow
from billing.queries import budget_book, budget_exceptions
from billing.queries.budgets import Shown, shown

MOST: Final = 12


@dataclass(frozen=True, slots=True)
class PastWindow:
    """One window that is over, or the one that runs. `limit` is what held at its end, with the exceptions of that time."""

    span: Span
    spent: Decimal
    late: Decimal
    limit: Decimal
    is_over: bool

    @property
    def percent(self) -> Decimal:
        return percent_of(self.spent, self.limit)

    @property
    def state(self) -> State:
        return state_of(self.spent, self.limit)


@dataclass(frozen=True, slots=True)
class BudgetPage:
    """`shown` of a budget that has ended is as it stood then."""

    shown: Shown
    windows: tuple[PastWindow, ...]
    exceptions: tuple[BudgetException, ...]
    alerts: tuple[Alert, ...]


def load(row: Budget, *, now: datetime) -> BudgetPage:
    """Read the page of a budget."""
    [found] = shown([row], now=row.ended_at or now)
    return BudgetPage(
        shown=found,
        windows=tuple(_windows(row, now)),
        exceptions=tuple(budget_exceptions.of_budget(row)[:MOST]),
        alerts=tuple(row.alerts.order_by("-raised_at", "-id")[:MOST]),
    )


def _windows(row: Budget, now: datetime) -> list[PastWindow]:
    limits = list(Budget.history.filter(id=row.pk).order_by("history_date").values_list("history_date", "limit"))
    [budget] = budget_book.as_known_to_charges(Budget.objects.filter(pk=row.pk))
    return [
        PastWindow(
            span=Span(window.starts_at, window.ends_at),
            spent=window.spent,
            late=window.late,
            limit=_limit_until(window, limits, row.limit) + _granted(window, budget.exemptions),
            is_over=window.ends_at <= now,
        )
        for window in BudgetWindow.objects.filter(budget=row)[:MOST]
    ]


def _limit_until(window: BudgetWindow, limits: list[tuple[datetime, Decimal]], limit: Decimal) -> Decimal:
    """Return the limit at the end of a window; the first one where the budget was made later."""
    known = [value for at, value in limits if at < window.ends_at] or [value for _, value in limits[:1]]
    return known[-1] if known else limit


def _granted(window: BudgetWindow, exemptions: tuple[Exemption, ...]) -> Decimal:
    return sum((one.extra for one in exemptions if one.starts_at < window.ends_at and one.expires_at > window.starts_at), Decimal(0))
