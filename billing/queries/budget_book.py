"""The budget book: all budgets that run, as of one generation, in memory, for the charge.

A process keeps the book it has read. The charge compares its generation with the database's counter, which every change
of a budget or an exception raises in its own transaction, and loads another when they differ.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import QuerySet

from billing.budgeting import Action, Budget, Exemption, Measure, Place, Window
from billing.models import Budget as BudgetRow
from billing.models import BudgetException, ExceptionState

# Budgets of one of these are found by it; the rest are asked one by one. The most telling first.
_TELLING = ("customer", "api_key_id", "user", "project_id")


@dataclass(frozen=True, slots=True)
class BudgetBook:
    """The running budgets of one generation."""

    generation: int
    budgets: tuple[Budget, ...]
    _found_by: dict[tuple[str, object], list[Budget]] = field(default_factory=dict)
    # What of a place any budget looks at.
    _named: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        named = sorted({name for budget in self.budgets for name in budget.scope})
        object.__setattr__(self, "_named", tuple(named))
        for budget in self.budgets:
            telling = next((name for name in _TELLING if name in budget.scope), "")
            self._found_by.setdefault((telling, budget.scope.get(telling)), []).append(budget)

    def told_apart(self, place: Place) -> tuple[object, ...]:
        """Return what tells `place` from others: the same budgets apply to all places of which this is equal."""
        return tuple([getattr(place, name) for name in self._named])

    def applying(self, place: Place) -> Iterator[Budget]:
        """Yield the budgets that what happens at `place` counts for."""
        keys = [("", None), *((name, getattr(place, name)) for name in _TELLING)]
        for key in keys:
            for budget in self._found_by.get(key, ()):
                if budget.covers(place):
                    yield budget


_EMPTY = BudgetBook(0, ())
_cached: BudgetBook | None = None
_loading = Lock()


def cached() -> BudgetBook:
    """Return the book that this process has; an empty one of no generation before it has read any."""
    return _cached or _EMPTY


def at_generation(generation: int) -> BudgetBook:
    """Return the book of `generation`, which the caller read inside its own transaction; reload if ours is another."""
    global _cached  # noqa: PLW0603 - one book per process
    book = cached()
    if book.generation == generation:
        return book
    with _loading:
        if cached().generation != generation:
            _cached = BudgetBook(generation, tuple(running()))
        return cached()


def current() -> BudgetBook:
    """Return the book of the stored generation."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce((SELECT value FROM base_generation WHERE name = 'budgets'), 0)")
        [generation] = cursor.fetchone()
    return at_generation(generation)


def forget() -> None:
    """Drop the cached book: for tests, where a rolled back transaction gives its generation to the next one."""
    global _cached  # noqa: PLW0603
    _cached = None


def running() -> list[Budget]:
    """Read the budgets that have not ended."""
    return list(as_known_to_charges(BudgetRow.objects.filter(ended_at__isnull=True)))


def as_known_to_charges(rows: "QuerySet[BudgetRow]") -> Iterator[Budget]:
    """Read budgets with the exceptions that were approved."""
    chosen = list(rows.select_related("customer", "event_type").order_by("id"))
    granted: dict[int, list[Exemption]] = {}
    approved = BudgetException.objects.filter(state=ExceptionState.APPROVED, budget__in=chosen)
    for budget_id, extra, starts_at, expires_at in approved.values_list("budget_id", "extra", "starts_at", "expires_at"):
        granted.setdefault(budget_id, []).append(Exemption(extra, starts_at, expires_at))
    for row in chosen:
        yield Budget(
            id=row.pk,
            name=row.name,
            scope=_scope(row),
            measure=Measure(row.measure),
            window=Window(row.window),
            zone=ZoneInfo(row.time_zone),
            limit=row.limit,
            action=Action(row.action),
            target=row.target,
            counts_from=row.counts_from,
            exemptions=tuple(granted.get(row.pk, ())),
        )


def _scope(row: BudgetRow) -> dict[str, object]:
    customer = row.customer
    fields = {
        "team_id": row.team_id,
        "project_id": row.project_id,
        "api_key_id": row.api_key_id,
        "environment": row.environment or None,
        "customer": (customer.project_id, customer.environment, customer.external_id) if customer else None,
        "user": row.user or None,
        "event": row.event_type.name if row.event_type else None,
        "agent_type": row.agent_type or None,
        "model": row.model or None,
    }
    return {name: value for name, value in fields.items() if value is not None}
