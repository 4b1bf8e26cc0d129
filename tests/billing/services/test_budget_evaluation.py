"""Alerts of budgets: once whatever happens, gone when they are not true any more, and told late rather than never."""

from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest

from billing.budgeting import Action, Measure, Window
from billing.events import Caller
from billing.models import Alert, AlertChannel, AlertDelivery, AlertKind, AlertState, Basis, Budget, BudgetException, Project
from billing.queries import alert_words
from billing.services import alerts, budget_evaluation, budgets, charging, rerating
from billing.services.rerating import Scope
from config.roles import Role
from pricing.queries import workspace
from pricing.units import Usage
from tests.billing.budgeting import a_budget
from tests.billing.factories import NOW, ProjectFactory, a_caller, a_price, a_wallet, an_event
from tests.billing.services.rivals import at_once
from tests.people import a_person
from tests.pricing.factories import ProviderRateFactory, RateSeriesFactory

pytestmark = pytest.mark.django_db(transaction=True)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EVENING = NOW + 13 * HOUR  # 23:00: the pace foresees little


@pytest.fixture
def caller() -> Caller:
    a_price("10")
    caller = a_caller()
    a_wallet(caller, credits="100000")
    return caller


def spend(caller: Caller, events: int, *, now: object = EVENING, **fields: object) -> None:
    charging.charge([an_event(caller, **fields) for _ in range(events)], now=now)  # type: ignore[arg-type]


def told(budget: Budget) -> list[tuple[int | None, str]]:
    """Return threshold and state of each threshold alert, in the order in which they were raised."""
    found = budget.alerts.filter(kind=AlertKind.THRESHOLD).order_by("pk")
    return [(alert.threshold, alert.state) for alert in found]


class TestOnce:
    @pytest.mark.parametrize("action", [Action.ALERT, Action.BLOCK])
    def test_whoever_looks_and_however_many_at_once(self, caller: Caller, action: Action) -> None:
        AlertChannel.objects.create(name="Desk", kind="slack", address="http://127.0.0.1:9/")
        made = [a_budget("100", action=action, thresholds=(50, 80, 100)) for _ in range(4)]
        spend(caller, 10)
        results = at_once([partial(budget_evaluation.evaluate, now=EVENING)] * 8)
        assert sum(result for result in results if isinstance(result, int)) == 12, results
        assert not [result for result in results if isinstance(result, Exception)]
        for budget in made:
            assert sorted(told(budget)) == [(50, "open"), (80, "open"), (100, "open")]
        assert AlertDelivery.objects.count() == 12

    def test_and_the_database_keeps_it_so(self, caller: Caller) -> None:
        budget = a_budget("100", thresholds=(50,))
        spend(caller, 5)
        results = at_once([partial(self.tell, budget, f"cause {number}") for number in range(8)])
        assert sum(result is not None for result in results) == 1

    def tell(self, budget: Budget, cause: str) -> Alert | None:
        return alerts.raise_alert(
            kind=AlertKind.THRESHOLD, cause=cause, facts={}, now=NOW, budget=budget, window_starts_at=NOW, threshold=50
        )


class TestGone:
    def test_when_the_limit_was_raised_and_told_again_of_the_new_one(self, caller: Caller) -> None:
        budget = a_budget("100", thresholds=(80,))
        spend(caller, 8)
        budget_evaluation.evaluate(now=EVENING)
        budgets.change_budget(budget, now=EVENING, reason="More", limit=Decimal(200))
        assert budget_evaluation.evaluate(now=EVENING) == 0
        assert told(budget) == [(80, "resolved")]
        spend(caller, 8)
        assert budget_evaluation.evaluate(now=EVENING) == 1
        assert told(budget) == [(80, "resolved"), (80, "open")]

    def test_but_not_told_again_when_it_was_lowered(self, caller: Caller) -> None:
        budget = a_budget("100", action=Action.ALERT, thresholds=(80,))
        spend(caller, 8)
        budget_evaluation.evaluate(now=EVENING)
        budgets.change_budget(budget, now=EVENING, reason="Less", limit=Decimal(50))
        assert budget_evaluation.evaluate(now=EVENING) == 0
        assert told(budget) == [(80, "open")]

    def test_while_an_exception_makes_it_untrue(self, caller: Caller) -> None:
        budget = a_budget("100", thresholds=(100,))
        spend(caller, 10)
        budget_evaluation.evaluate(now=EVENING)
        facts = {"reason": "Launch", "ticket": "OPS-1", "state": "approved", "requested_at": NOW, "decided_at": NOW}
        BudgetException.objects.create(
            budget=budget, extra=Decimal(50), starts_at=NOW, expires_at=EVENING + HOUR / 2, requested_by=a_person(Role.PRODUCT_MANAGER),
            decided_by=a_person(Role.FINANCE), **facts,
        )  # fmt: skip
        budget_evaluation.evaluate(now=EVENING)
        assert told(budget) == [(100, "resolved")]
        assert budget_evaluation.evaluate(now=EVENING + HOUR / 2) == 0, "of the limit of 100 it was told already"

    def test_with_the_budget(self, caller: Caller) -> None:
        budget = a_budget("100", thresholds=(50,))
        spend(caller, 5)
        budget_evaluation.evaluate(now=EVENING)
        budgets.end_budget(budget, now=EVENING, reason="Done")
        budget_evaluation.evaluate(now=EVENING)
        assert told(budget) == [(50, "resolved")]


class TestLate:
    def test_a_window_that_passed_while_nobody_looked_is_told(self, caller: Caller) -> None:
        budget = a_budget("100", window=Window.HOUR, action=Action.ALERT, thresholds=(100,))
        budget_evaluation.evaluate(now=NOW)
        spend(caller, 10, now=NOW + HOUR)
        much_later = NOW + 3 * DAY
        assert budget_evaluation.evaluate(now=much_later) == 1
        [alert] = budget.alerts.all()
        assert alert.window_starts_at == NOW + HOUR
        assert "had spent 100 of 100 credits" in alert_words.sentence(alert)
        assert "The hour was over when this was found." in alert_words.sentence(alert)
        assert budget_evaluation.evaluate(now=much_later) == 0
        assert told(budget) == [(100, "resolved")]
        assert budget_evaluation.evaluate(now=much_later) == 0

    @pytest.mark.parametrize("action", [Action.ALERT, Action.BLOCK])
    def test_late_usage_counts_in_its_own_window(self, caller: Caller, action: Action) -> None:
        budget = a_budget("100", action=action, thresholds=(50, 100))
        spend(caller, 5)
        budget_evaluation.evaluate(now=EVENING)
        tomorrow = EVENING + DAY
        spend(caller, 5, now=tomorrow, occurred_at=EVENING)
        assert budget_evaluation.evaluate(now=tomorrow) == 1
        alert = budget.alerts.get(threshold=100)
        assert (alert.window_starts_at, alert.facts["is_over"]) == (NOW - 10 * HOUR, True)

    def test_a_cost_that_was_found_later_counts_as_well(self, caller: Caller) -> None:
        workspace.load().save()  # whose currency is counted
        budget = a_budget("0.003", measure=Measure.COST, thresholds=(100,))
        spend(caller, 1, usage=Usage("acme", "nova-2", input_tokens=1_000))
        assert budget_evaluation.evaluate(now=EVENING) == 0
        series = RateSeriesFactory.create(provider_model__provider="acme", provider_model__name="nova-2")
        ProviderRateFactory.create(series=series, price=Decimal(3))
        tomorrow = EVENING + DAY
        budget_evaluation.evaluate(now=tomorrow)
        scope = Scope(since=NOW - DAY, until=EVENING + HOUR, basis=Basis.ALL)
        rerating.request(scope=scope, reason="x", actor="user:vera", now=tomorrow)
        rerating.run_waiting(clock=lambda: tomorrow)
        assert budget_evaluation.evaluate(now=tomorrow) == 1
        [alert] = budget.alerts.all()
        assert "had spent 0.003 of 0.003 USD (100 %) in the day 2026-11-20" in alert_words.sentence(alert)

    def test_windows_that_are_over_are_left_alone_when_the_terms_change(self, caller: Caller) -> None:
        budget = a_budget("100", action=Action.ALERT, thresholds=(100,))
        spend(caller, 6)
        budget_evaluation.evaluate(now=EVENING)
        tomorrow = EVENING + DAY
        budget_evaluation.evaluate(now=tomorrow)
        budgets.change_budget(budget, now=tomorrow, reason="Less", limit=Decimal(50), thresholds=[50])
        assert budget_evaluation.evaluate(now=tomorrow) == 0


class TestForecast:
    def test_is_told_once_and_gone_when_it_is_back_below(self, caller: Caller) -> None:
        budget = a_budget("100", thresholds=(100,))
        spend(caller, 5, now=NOW)
        assert [budget_evaluation.evaluate(now=NOW) for _ in range(2)] == [1, 0]
        budget_evaluation.evaluate(now=NOW + 4 * HOUR)
        assert list(budget.alerts.values_list("kind", "state")) == [("forecast", "resolved")]
        spend(caller, 3, now=NOW + 5 * HOUR)
        assert budget_evaluation.evaluate(now=NOW + 5 * HOUR) == 0

    def test_says_nothing_in_the_first_tenth(self, caller: Caller) -> None:
        midnight = NOW - 10 * HOUR
        a_budget("100", now=midnight, thresholds=(100,))
        spend(caller, 5, now=midnight + HOUR)
        assert budget_evaluation.evaluate(now=midnight + 2 * HOUR) == 0
        assert budget_evaluation.evaluate(now=midnight + 3 * HOUR) == 1


class TestTold:
    def test_are_the_owner_or_who_answers_for_the_team_and_the_channels_that_want_it(self, caller: Caller) -> None:
        ann, ben = a_person(Role.FINANCE, name="ann"), a_person(Role.PRODUCT_MANAGER, name="ben")
        for person in (ann, ben):
            person.email = f"{person.username}@example.com"
            person.save()
        other = ProjectFactory.create()
        project = Project.objects.select_related("team").get(pk=caller.project_id)
        assert project.team
        project.team.budget_owner = ben
        project.team.save()
        AlertChannel.objects.create(name="All", kind="slack", address="https://a.example")
        AlertChannel.objects.create(name="Wallets", kind="slack", address="https://b.example", alerts=["wallet_low"])
        AlertChannel.objects.create(name="Other", kind="slack", address="https://c.example", project=other)
        AlertChannel.objects.create(name="Ours", kind="email", address="desk@example.com", project=project)
        AlertChannel.objects.create(name="Off", kind="email", address="off@example.com", is_active=False)
        a_budget("10", name="Owned", owner=ann, thresholds=(100,))
        a_budget("10", name="Team", team=project.team, thresholds=(100,))
        a_budget("10", name="Project", project=project, thresholds=(100,))
        spend(caller, 1)
        budget_evaluation.evaluate(now=EVENING)
        told = {
            name: sorted(AlertDelivery.objects.filter(alert__budget__name=name).values_list("address", flat=True))
            for name in ("Owned", "Team", "Project")
        }
        assert told == {
            "Owned": ["ann@example.com", "https://a.example"],
            "Team": ["ben@example.com", "https://a.example"],
            "Project": ["ben@example.com", "desk@example.com", "https://a.example"],
        }


class TestSeeingToIt:
    def test_is_noted_once_and_goes_only_on(self, caller: Caller) -> None:
        budget = a_budget("10", thresholds=(50, 100))
        spend(caller, 1)
        budget_evaluation.evaluate(now=EVENING)
        ann = a_person(Role.FINANCE)
        assert alerts.acknowledge(alerts=budget.alerts.all(), by=ann, note="Looking", now=EVENING) == 2
        assert alerts.acknowledge(alerts=budget.alerts.all(), by=ann, note="Again", now=EVENING) == 0
        assert set(budget.alerts.values_list("state", "note")) == {(AlertState.ACKNOWLEDGED, "Looking")}
        assert alerts.resolve(alerts=budget.alerts.filter(threshold=50), by=ann, now=EVENING) == 1
        assert budget_evaluation.evaluate(now=EVENING) == 0, "what a person resolved is not told again"
        budget_evaluation.evaluate(now=EVENING + DAY)
        assert set(budget.alerts.values_list("threshold", "state", "resolved_by")) == {(50, "resolved", ann.pk), (100, "resolved", None)}
