"""Budgets as an app meets them: in the answers that it reads, in the refusals that it heeds, and in calls of their own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from billing.budgeting import Action, Measure, Window
from billing.models import Budget, BudgetException, Environment, Project, Scope
from billing.services import budget_folding, budgets
from config.roles import Role
from tests.api import client
from tests.api.client import Answer, Api
from tests.api.conftest import an_event, charges
from tests.api.test_events import refused
from tests.api.test_holds import place, settle
from tests.billing.budgeting import a_budget, spent
from tests.billing.factories import ProjectFactory, TeamFactory, a_caller, a_wallet
from tests.billing.services.rivals import at_once
from tests.people import a_person

STANDING = {"name", "state", "action", "percent", "measure", "limit", "spent", "held", "remaining", "target", "window"}
STATE = STANDING | {"id", "scope", "period", "time_zone", "base_limit", "thresholds", "at_limit", "forecast", "as_of"}


@pytest.fixture
def noon() -> datetime:
    """Noon of a day to come: no window ends in the middle of a test."""
    return datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)


@pytest.fixture(autouse=True)
def _at_noon(api: Api, noon: datetime) -> Iterator[None]:
    with time_machine.travel(noon):
        yield


@pytest.fixture
def budget(project: Project, noon: datetime) -> Callable[..., Budget]:
    """Make a budget of the project: its credits of a day, blocking, unless told otherwise."""

    def make(limit: str, **terms: Any) -> Budget:
        of = {} if {"team", "project"} & set(terms) else {"project": project}
        return a_budget(limit, now=noon, **{"name": f"{project.key} {Budget.objects.count()}", **of, **terms})

    return make


@contextmanager
def later(at: datetime) -> Iterator[None]:
    with time_machine.travel(at):
        yield


def an_exception(budget: Budget, extra: str, *, now: datetime, hours: int = 1) -> BudgetException:
    return BudgetException.objects.create(
        budget=budget,
        extra=Decimal(extra),
        reason="Launch day",
        ticket="OPS-1",
        starts_at=now,
        expires_at=now + timedelta(hours=hours),
        requested_by=a_person(Role.PRODUCT_MANAGER, name=f"asks {budget.pk}"),
        requested_at=now,
        state="approved",
        decided_by=a_person(Role.FINANCE, name=f"decides {budget.pk}"),
        decided_at=now,
    )


def refused_by(answer: Answer) -> list[str]:
    assert refused(answer, 429, "budget_exceeded")
    return [budget["name"] for budget in answer["budgets"]]


class TestAnAppThatHeedsItsBudgets:
    def test_is_downgraded_then_refused_then_let_through_by_an_exception(
        self, api: Api, project: Project, budget: Callable[..., Budget], noon: datetime
    ) -> None:
        soft = budget("8", name=f"{project.key} soft", action=Action.DOWNGRADE, target="claude-haiku-4-5")
        hard = budget("16", name=f"{project.key} hard")

        def actions(key: str) -> dict[str, str]:
            return {told["name"].split()[1]: told["action"] for told in api.post("/events", an_event(key))["budgets"]}

        assert actions("k1") == {"soft": "none", "hard": "none"}
        assert actions("k2") == {"soft": "none", "hard": "none"}
        budget_folding.fold(now=noon)
        answer = api.post("/events", an_event("k3"))
        [told] = [told for told in answer["budgets"] if told["action"] != "none"]
        assert (told["name"], told["action"], told["target"], told["percent"]) == (soft.name, "downgrade", "claude-haiku-4-5", "150")
        assert actions("k4") == {"soft": "downgrade", "hard": "block"}, "spent to the last credit: the next one is refused"

        assert refused_by(api.post("/estimate", an_event("k5"))) == [hard.name]
        assert refused_by(api.post("/events", an_event("k5"))) == [hard.name]
        an_exception(hard, "4", now=noon)
        let_through = api.post("/events", an_event("k5"))
        assert let_through.status == 201
        assert [told["limit"] for told in let_through["budgets"] if told["name"] == hard.name] == ["20"]
        assert refused_by(api.post("/events", an_event("k6"))) == [hard.name]
        assert charges(project) == 5
        assert spent(hard) == [20]

    def test_comes_back_with_the_same_key_when_it_was_told_to(self, api: Api, project: Project, budget: Callable[..., Budget]) -> None:
        hard = budget("4")
        api.post("/events", an_event("k1"))
        answer = api.post("/events", an_event("k2"))
        assert refused_by(answer) == [hard.name]
        told_at, wait = timezone.now(), int(answer.headers["Retry-After"])
        assert 11 * 3600 < wait <= 12 * 3600
        assert "It starts anew at" in answer["detail"]
        with later(told_at + timedelta(seconds=wait - 60)):
            assert refused_by(api.post("/events", an_event("k2"))) == [hard.name]
        with later(told_at + timedelta(seconds=wait)):
            assert [api.post("/events", an_event("k2")).status for _ in range(2)] == [201, 200]
        assert spent(hard) == [4, 4]
        assert charges(project) == 2


class TestARefusal:
    def test_tells_each_budget_in_the_way_with_its_figures(self, api: Api, budget: Callable[..., Budget], noon: datetime) -> None:
        first, second = budget("7", target=""), budget("6", environment=Environment.PRODUCTION)
        budget("100")
        api.post("/events", an_event("k1"))
        answer = api.post("/events", an_event("k2"))
        assert refused_by(answer) == [second.name, first.name], "the least left first"
        assert set(answer.json()) == {"type", "title", "status", "detail", "code", "request_id", "budgets"}
        told = answer["budgets"][0]
        assert set(told) == STANDING | {"late"}
        figures = ("limit", "spent", "held", "remaining", "percent", "state", "measure", "late")
        assert [told[name] for name in figures] == ["6", "4", "0", "2", "66.6", "green", "credits", False]
        midnight = noon.replace(hour=0)
        assert told["window"] == {"from": midnight.isoformat(), "to": (midnight + timedelta(days=1)).isoformat()}

    def test_is_the_same_on_the_short_road_and_the_long_one(
        self, api: Api, budget: Callable[..., Budget], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        budget("0")
        short = api.post("/events", an_event("k1"))
        monkeypatch.setattr(client, "application", client.long_road)
        long = api.post("/events", an_event("k1"))
        assert refused_by(short) == refused_by(long)
        assert {**short.json(), "request_id": ""} == {**long.json(), "request_id": ""}

    def test_of_a_limit_that_no_window_has_room_for_names_no_time(self, api: Api, budget: Callable[..., Budget]) -> None:
        budget("3")
        answer = api.post("/events", an_event("k1"))
        assert refused(answer, 429, "budget_exceeded")
        assert "Retry-After" not in answer.headers
        assert "more than the whole limit" in answer["detail"]

    @pytest.mark.parametrize("days", [0, 1])
    def test_of_what_says_when_it_occurred_tells_that_waiting_does_not_help(
        self, api: Api, budget: Callable[..., Budget], noon: datetime, days: int
    ) -> None:
        hard = budget("4")
        api.post("/events", an_event("k1"))
        dated = an_event("k2", occurred_at=noon.isoformat())
        with later(noon + timedelta(days=days, seconds=1)):
            answer = api.post("/events", dated)
            assert refused(answer, 429, "budget_exceeded")
            assert "Retry-After" not in answer.headers
            assert [told["late"] for told in answer["budgets"]] == [bool(days)]
            assert ("which is over" in answer["detail"]) == bool(days)
            assert "ask the budget's owner for an exception or a higher limit, then send it again" in answer["detail"]
            budgets.change_budget(hard, now=timezone.now(), reason="more", limit=Decimal(8))
            assert api.post("/events", dated).status == 201
        assert hard.windows.get().spent == 8

    def test_of_an_event_from_the_future_opens_no_window_there(self, api: Api, budget: Callable[..., Budget], noon: datetime) -> None:
        hard = budget("4")
        assert refused(api.post("/events", an_event("k1", occurred_at=(noon + timedelta(days=9)).isoformat())), 422, "invalid_request")
        assert spent(hard) == []

    def test_in_a_batch_stands_beside_what_went_through(self, api: Api, project: Project, budget: Callable[..., Budget]) -> None:
        hard = budget("8")
        answer = api.post("/events/batch", {"events": [an_event(f"k{number}") for number in range(4)]})
        assert [result["status"] for result in answer["results"]] == ["created", "created", "rejected", "rejected"]
        problem = answer["results"][2]["problem"]
        assert (problem["code"], problem["status"], problem["budgets"][0]["name"]) == ("budget_exceeded", 429, hard.name)
        assert 0 < problem["retry_after"] <= 12 * 3600
        again = api.post("/events/batch", {"events": [an_event(f"k{number}") for number in range(4)]})
        assert [result["status"] for result in again["results"]] == ["duplicate", "duplicate", "rejected", "rejected"]
        assert charges(project) == 2

    def test_of_a_hold_and_of_its_capture(self, api: Api, budget: Callable[..., Budget]) -> None:
        hard = budget("8")
        held = place(api, credits="6")
        assert held.status == 201
        assert refused_by(place(api, "h2", credits="4")) == [hard.name]
        answer = api.post("/events", an_event("k1"))
        assert refused_by(answer) == [hard.name]
        assert (answer["budgets"][0]["held"], answer["budgets"][0]["remaining"]) == ("6", "2")
        assert "Retry-After" in answer.headers
        dear = settle(api, held["id"], "k2", quantity="3", overage="available")
        assert refused_by(dear) == [hard.name]
        assert settle(api, held["id"], "k2", quantity="2", overage="available").status == 201
        assert spent(hard) == [8]

    def test_is_counted_for_prometheus(self, api: Api, budget: Callable[..., Budget]) -> None:
        def counted(line: str) -> float:
            lines = api.get("/metrics").body.decode().splitlines()
            return next((float(text.rpartition(" ")[2]) for text in lines if text.startswith(line)), 0.0)

        events, calls = 'meterdesk_events_total{result="budget_exceeded"}', 'meterdesk_refusals_total{code="budget_exceeded"}'
        held = place(api, credits="1")["id"]
        budget("0")
        before = counted(events), counted(calls)
        api.post("/events", an_event("k1"))
        api.post("/events/batch", {"events": [an_event("k1"), an_event("k2")]})
        settle(api, held, "k3")
        place(api, "h2", credits="1")
        assert (counted(events), counted(calls)) == (before[0] + 4, before[1] + 3)


class TestTheList:
    def test_shows_what_the_project_counts_for_and_nothing_else(self, api: Api, project: Project, budget: Callable[..., Budget]) -> None:
        other = ProjectFactory.create()
        key, foreign = project.api_keys.get(), a_wallet(a_caller(other), now=timezone.now()).customer
        own = project.customers.get()
        shown = [
            budget("100"),
            budget("100", team=project.team),
            budget("100", api_key=key, project=None),
            budget("100", customer=own, project=None, measure=Measure.COST, action=Action.ALERT),
            budget("100", team=None, environment=Environment.STAGING, user="u", agent_type="a", model="m"),
        ]
        hidden = [
            budget("100", project=other),
            budget("100", team=TeamFactory.create()),
            budget("100", customer=foreign, project=None),
            budget("100"),
        ]
        budgets.end_budget(hidden[-1], now=timezone.now(), reason="over")
        try:
            listed = {budget["name"]: budget for budget in api.get("/budgets?limit=200")["data"]}
        finally:
            budgets.end_budget(shown[-1], now=timezone.now(), reason="of all projects")
        assert {budget.name for budget in shown} <= set(listed)
        assert not {budget.name for budget in hidden} & set(listed)
        assert all(set(told) == STATE for told in listed.values())
        scopes = [{name: value for name, value in listed[budget.name]["scope"].items() if value} for budget in shown]
        assert project.team is not None
        assert scopes == [
            {"project": project.key},
            {"team": project.team.name},
            {"api_key": key.public_id},
            {"customer": "user_42", "environment": "production"},
            {"environment": "staging", "user": "u", "agent_type": "a", "model": "m"},
        ]

    def test_comes_in_pages(self, api: Api, budget: Callable[..., Budget]) -> None:
        made = [budget("100").name for _ in range(3)]
        first = api.get("/budgets?limit=2")
        assert [told["name"] for told in first["data"]] == [made[2], made[1]]
        rest = api.get(f"/budgets?limit=2&cursor={first['next_cursor']}")
        assert rest["data"][0]["name"] == made[0]

    def test_tells_how_each_stands_and_where_it_is_heading(self, api: Api, budget: Callable[..., Budget], noon: datetime) -> None:
        hard = budget("20")
        soft = budget("40", action=Action.REROUTE, target="cheap")
        an_exception(hard, "4", now=noon)
        api.post("/events", an_event("k1"))
        place(api, credits="8")
        budget_folding.fold(now=noon)
        told = api.get(f"/budgets/bud_{hard.pk}").json()
        figures = ("limit", "base_limit", "spent", "held", "remaining", "percent", "state", "action", "target", "measure", "period")
        assert [told[name] for name in figures] == ["24", "20", "4", "8", "12", "16.6", "green", "none", "", "credits", "day"]
        assert told["at_limit"] == {"action": "block", "target": ""}
        amount = Decimal(told["forecast"]["amount"])
        assert Decimal("7.9") < amount <= 8, "half of the day is over"
        assert told["forecast"]["method"] == "at the pace of this window so far"
        assert told["forecast"]["runs_out_at"] is None
        assert told["as_of"] >= noon.isoformat()
        other = api.get(f"/budgets/bud_{soft.pk}").json()
        assert (other["as_of"], other["at_limit"], other["spent"]) == (noon.isoformat(), {"action": "reroute", "target": "cheap"}, "4")

    @pytest.mark.parametrize("number", ["bud_999999999", "bud_x", "7", "evt_1"])
    def test_knows_no_others(self, api: Api, number: str) -> None:
        assert refused(api.get(f"/budgets/{number}"), 404, "unknown_budget")

    def test_keeps_other_projects_to_themselves(self, api: Api, budget: Callable[..., Budget]) -> None:
        hidden = budget("5", project=ProjectFactory.create())
        assert refused(api.get(f"/budgets/bud_{hidden.pk}"), 404, "unknown_budget")


def set_limit(api: Api, project: Project, dollars: str) -> Answer:
    return api.put("/ai-cost/budget-limit", {"project_id": project.key, "limit_dollars": dollars})


class TestTheMonthlyLimit:
    def test_is_made_once_and_then_changed(self, api: Api, project: Project) -> None:
        first = set_limit(api, project, "10")
        assert first.status == 201
        assert set(first.json()) == STATE | {"project_id", "budget_limit", "budget_pct"}
        figures = ("project_id", "budget_limit", "budget_pct", "measure", "period", "thresholds", "state")
        assert [first[name] for name in figures] == [project.key, "10", "0", "cost", "month", [80, 100], "green"]
        assert first["at_limit"] == {"action": "alert", "target": ""}
        api.post("/events", an_event("k1", provider_cost="8.5"))
        budget_folding.fold(now=timezone.now())
        again = set_limit(api, project, "10.00")
        assert again.status == 200
        assert [again[name] for name in ("id", "budget_pct", "percent", "spent", "state")] == [first["id"], "85", "85", "8.5", "yellow"]
        lower = set_limit(api, project, "8")
        assert [lower[name] for name in ("id", "budget_limit", "budget_pct", "state", "action")] == [
            first["id"],
            "8",
            "106.2",
            "red",
            "alert",
        ]
        made = Budget.objects.get(project=project)
        assert list(made.history.values_list("limit", flat=True)) == [8, 10], "the same limit again is no change"
        key = project.api_keys.get()
        assert made.history.latest().history_change_reason == f"by key:{key.public_id}"

    def test_counts_what_the_month_had_spent_before(self, api: Api, project: Project) -> None:
        api.post("/events", an_event("k1", provider_cost="3"))
        assert set_limit(api, project, "12")["budget_pct"] == "25"

    def test_set_by_eight_at_once_is_one_budget(self, api: Api, project: Project) -> None:
        answers = at_once([partial(set_limit, api, project, "10") for _ in range(8)])
        statuses = sorted(answer.status for answer in answers if isinstance(answer, Answer))
        assert statuses == [200] * 7 + [201], answers
        assert Budget.objects.filter(project=project).count() == 1

    def test_is_of_the_key_s_own_project(self, api: Api) -> None:
        other = ProjectFactory.create()
        for name in (other.key, "nowhere"):
            answer = api.put("/ai-cost/budget-limit", {"project_id": name, "limit_dollars": "10"})
            assert refused(answer, 404, "unknown_project")
            assert name in answer["detail"]
        assert not Budget.objects.filter(project=other).exists()

    def test_needs_the_scope(self, key_for: Callable[..., Api], project: Project) -> None:
        metering = key_for(Scope.METER)
        assert refused(set_limit(metering, project, "10"), 403, "forbidden")
        assert refused(metering.get("/budgets"), 403, "forbidden")
        assert set_limit(key_for(Scope.BUDGETS), project, "10").status == 201

    def test_that_people_made_block_is_theirs_to_change(self, api: Api, project: Project, noon: datetime) -> None:
        set_limit(api, project, "10")
        made = Budget.objects.get(project=project)
        budgets.change_budget(made, now=noon, reason="Hold it", action=Action.BLOCK)
        assert set_limit(api, project, "10").status == 200
        answer = set_limit(api, project, "1000")
        assert refused(answer, 409, "budget_kept")
        assert "does more than alert" in answer["detail"]
        made.refresh_from_db()
        assert made.limit == 10

    def test_that_people_ended_is_made_anew(self, api: Api, project: Project, noon: datetime) -> None:
        first = set_limit(api, project, "10")
        budgets.end_budget(Budget.objects.get(project=project), now=noon + timedelta(minutes=1), reason="over")
        again = set_limit(api, project, "20")
        assert again.status == 201
        assert again["id"] != first["id"]

    def test_leaves_a_budget_of_its_name_alone(self, api: Api, project: Project, budget: Callable[..., Budget]) -> None:
        taken = budget("5", name=f"AI cost of {project.key} a month", window=Window.WEEK)
        answer = set_limit(api, project, "10")
        assert refused(answer, 409, "budget_kept")
        assert taken.name in answer["detail"]

    @pytest.mark.parametrize("limit", ["-1", "1e3", "NaN", "", "0.0000000000001", "9" * 15, None, 10])
    def test_must_be_an_amount(self, api: Api, project: Project, limit: Any) -> None:
        answer = api.put("/ai-cost/budget-limit", {"project_id": project.key, "limit_dollars": limit})
        assert refused(answer, 422, "invalid_request")
        assert answer["errors"][0]["field"] == "limit_dollars"
