"""Killed web workers with a blocking budget: what it counts is what was used, and its limit is met to the last event."""

import time
from collections.abc import Callable
from decimal import Decimal

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from billing import checks
from billing.budgeting import Window
from billing.models import BudgetWindow, Project, UsageRecord
from billing.services import budgets
from tests.billing.budgeting import a_budget
from tests.faults.conftest import Site, prove
from tests.faults.load import Load

pytestmark = pytest.mark.slow


class TestABlockingBudget:
    def test_counts_what_was_used_and_holds_its_limit_through_kills(self, site: Site) -> None:
        token = site.fill()
        project = Project.objects.latest("pk")
        budget = a_budget("100000000", now=timezone.now(), project=project, window=Window.MONTH)
        with site.web(workers=2) as web:
            with Load(web.port, token, threads=24, prefix="budget") as load:
                until(lambda: len(load.sent) > 200)
                web.kill_workers()
                killed_at, answered = time.monotonic(), len(load.sent)
                until(lambda: len(load.sent) > answered + 200)
            assert load.failures, "the kill was not felt"
            assert not load.gave_up
            prove(load.sent)
            used = spent(project)
            assert used == 4 * len(load.sent)

            limit = used + 4 * 1000
            budgets.change_budget(budget, now=timezone.now(), reason="hold it", limit=limit)
            time.sleep(max(0.0, 6 - (time.monotonic() - killed_at)))  # the server takes two deaths within 5.5 s for a crash loop
            with Load(web.port, token, threads=24, retries=False, prefix="last") as load:
                until(lambda: len(load.sent) > 100)
                web.kill_workers()
                until(lambda: load.failures["429"] > 100)
        assert load.resent or load.failures.keys() - {"429"}, "the kill was not felt"
        assert spent(project) == limit, "not one event more, and none is refused while there is room"


def spent(project: Project) -> Decimal:
    """What the budget of the project counts; it is what was used."""
    connection.close()
    [window] = BudgetWindow.objects.filter(budget__project=project)
    assert window.spent == UsageRecord.objects.filter(project=project).aggregate(used=Sum("credits"))["used"]
    report = checks.run()
    assert report.is_clean, report.breaks
    return window.spent


def until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.02)
