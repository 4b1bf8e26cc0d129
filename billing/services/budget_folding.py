"""Counting what charges do not count themselves: usage for budgets that do not block, and what re-rating found of costs.

One after the other, in the order of ids, exactly once: the row of `BudgetFold` says how far, and moves with the sums in
one transaction. An id that was taken may be committed later than a higher one. So the fold reads the last id that was
given out and waits for the charges that are under way just then; they hold the prices lock. None is held up by it.
"""

import time
from datetime import datetime
from typing import Final

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from billing.models import Budget as BudgetRow
from billing.models import BudgetFold, CostAdjustment
from billing.queries import budget_book, budget_sums
from pricing.locks import PRICES_LOCK

# Records that one transaction counts, and seconds that a charge may take at most (settings: statement and lock timeouts).
_CHUNK: Final = 50_000
_LONGEST_CHARGE_SECONDS: Final = 30.0
_UNDER_WAY: Final = f"""
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 0 AND objid = {PRICES_LOCK} AND granted AND mode = 'ShareLock'
      AND pid <> pg_backend_pid()  -- what we have done ourselves we see
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_ADD: Final = """
    INSERT INTO billing_budgetwindow (budget_id, starts_at, ends_at, spent, late) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (budget_id, starts_at) DO UPDATE
    SET spent = billing_budgetwindow.spent + excluded.spent, late = billing_budgetwindow.late + excluded.late
"""


def fold(*, now: datetime) -> int:
    """Count in what came since the last time, in chunks; return how many ids were gone through."""
    upto = last_record_id()
    _wait_for_charges_under_way()
    through = 0
    while True:
        with transaction.atomic():
            done = _fold_chunk(upto, now)
        through += done
        if not done:
            return through


def fold_the_rest(*, now: datetime) -> int:
    """Count in all there is, inside the caller's transaction, which holds the prices lock alone; return the last record's id.

    Call `fold` before taking that lock: what is left then is little.
    """
    upto = last_record_id()
    while _fold_chunk(upto, now):
        pass
    return upto


def locked() -> BudgetFold:
    """Lock the row that says how far it has come, and return it."""
    return BudgetFold.objects.select_for_update().get_or_create(pk=1)[0]


def last_record_id() -> int:
    """Return the last id that a charge has taken."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM billing_effect_seq")
        return int(cursor.fetchone()[0])


def _wait_for_charges_under_way() -> None:
    waited_for = _under_way()
    until = time.monotonic() + _LONGEST_CHARGE_SECONDS
    while waited_for & _under_way():
        if time.monotonic() > until:
            waited = "A charge has been under way for longer than one may take; counting goes on at the next turn."
            raise OperationalError(waited) from LockNotAvailable(waited)  # pages and the API ask for patience, as of any lock
        time.sleep(0.005)


def _under_way() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(_UNDER_WAY)
        return {transaction_id for (transaction_id,) in cursor.fetchall()}


def _fold_chunk(upto: int, now: datetime) -> int:
    fold = locked()
    chunk = min(upto, fold.record_id + _CHUNK)
    done = max(chunk - fold.record_id, 0)
    if done:
        _count_records(fold.record_id, chunk)
        fold.record_id = chunk
    if CostAdjustment.objects.filter(pk__gt=fold.adjustment_id).exists():
        fold.adjustment_id = _count_adjustments(fold.adjustment_id)
    fold.folded_at = now
    fold.save()
    return done


def _count_records(after: int, upto: int) -> None:
    budgets = [budget for budget in budget_book.running() if not budget.is_blocking]
    times = budget_sums.quarters_of_records(after, upto) if budgets else []
    for budget in budgets:
        add(budget.id, budget_sums.of_records(budget, budget_sums.spans(budget, times), after=after, upto=upto))


def _count_adjustments(after: int) -> int:
    """Count the differences in for all budgets: charges know nothing of them."""
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {CostAdjustment._meta.db_table} IN SHARE MODE")  # until those under way are committed
    upto: int = CostAdjustment.objects.order_by("-pk").values_list("pk", flat=True)[0]
    times = budget_sums.quarters_of_adjustments(after, upto)
    for budget in budget_book.as_known_to_charges(BudgetRow.objects.filter(ended_at__isnull=True, measure="cost")):
        add(budget.id, budget_sums.of_adjustments(budget, budget_sums.spans(budget, times), after=after, upto=upto))
    return upto


def add(budget_id: int, sums: list[budget_sums.Sum]) -> None:
    """Add sums to the windows of a budget."""
    if sums:
        with connection.cursor() as cursor:
            cursor.executemany(_ADD, [(budget_id, *one.span, one.spent, one.late) for one in sorted(sums)])
