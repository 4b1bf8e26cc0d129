"""Budgets in the admin: how they stand, made, changed and ended in dialogs, for those whose business it is."""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.budgeting import Action, Measure, Window
from billing.events import Caller
from billing.models import ApiKey, Budget, BudgetException, Project, Team
from billing.queries import badges
from billing.services import budget_folding, budgets, charging
from config.roles import Role
from tests.billing.admin.dialogs import address, opened, send, went_through
from tests.billing.budgeting import a_budget
from tests.billing.factories import NOW, ProjectFactory, TeamFactory, a_caller, a_price, a_token, a_wallet, an_event
from tests.people import signed_in

pytestmark = pytest.mark.django_db
LIST = "admin:billing_budget_changelist"
PAGE = "admin:billing_budget_change"
NEW = "billing_budget_new_budget"
TERMS = {"name": "Support", "limit": "100", "measure": "credits", "window": "month", "action": "alert", "thresholds": "50, 80,100 %"}
TERMS |= {"time_zone": "UTC", "reason": "Every project has one"}


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    cache.clear()
    with time_machine.travel(NOW, tick=False):
        yield
    cache.clear()


@pytest.fixture
def caller() -> Caller:
    caller = a_caller()
    a_price("4")
    a_wallet(caller, credits="1000")
    return caller


@pytest.fixture
def pavel(db: None) -> Client:
    return signed_in(Role.PRODUCT_MANAGER, name="pavel")


@pytest.fixture
def fiona(db: None) -> Client:
    return signed_in(Role.FINANCE, name="fiona")


def seen(browser: Client, name: str, *args: Any, **query: str) -> str:
    response = browser.get(reverse(name, args=args), query)
    assert response.status_code == 200
    return re.sub(r"\s+", " ", response.content.decode()).replace("&nbsp;", " ").replace("\N{NO-BREAK SPACE}", " ")


def spend(caller: Caller, count: int) -> None:
    charging.charge([an_event(caller) for _ in range(count)], now=NOW)
    budget_folding.fold_the_rest(now=NOW)


class TestList:
    def test_tells_how_each_stands(self, caller: Caller, pavel: Client) -> None:
        pavels = User.objects.get(username="pavel")
        project = Project.objects.get(pk=caller.project_id)
        a_budget("100", name="Green", project=project, owner=pavels)
        a_budget("10", name="Yellow", action=Action.DOWNGRADE, target="nova", window=Window.MONTH)
        a_budget("8", name="Red", environment="production", model="", action=Action.ALERT)
        spend(caller, 2)
        page = seen(pavel, LIST)
        for words in (
            *("Green", f"Project {project}", "pavel", "100 credits", "a day", "8 %", "8 credits", "92 credits", "nothing held"),
            *("Yellow", "The whole workspace", "a month", "80 %", "runs out on", "Downgrade"),
            *("Red", "Environment Production", "used up", "at the pace of this window so far", "md-bar-red"),
        ):
            assert words in page, words

    def test_costs_as_many_queries_for_many_as_for_one(self, caller: Caller, pavel: Client) -> None:
        counts = []
        for count in (1, 12):
            for _ in range(count):
                a_budget(project=Project.objects.get(pk=caller.project_id), owner=User.objects.get(username="pavel"))
            cache.clear()
            with CaptureQueriesContext(connection) as queries:
                seen(pavel, LIST)
            counts.append(len(queries))
        assert counts[1] <= counts[0] + 1

    def test_filters(self, caller: Caller, pavel: Client) -> None:
        project, pavels = Project.objects.get(pk=caller.project_id), User.objects.get(username="pavel")
        a_budget("100", name="Small", owner=pavels)
        a_budget("8", name="Full", project=project, action=Action.ALERT)
        over = a_budget(name="Over")
        budgets.end_budget(over, now=NOW, reason="Over")
        spend(caller, 2)

        def found(**query: str) -> set[str]:
            page = seen(pavel, LIST, **query)
            return {name for name in ("Small", "Full", "Over") if f">{name}<" in page}

        assert found() == {"Small", "Full"}
        assert found(time="all") == {"Small", "Full", "Over"}
        assert found(time="ended") == {"Over"}
        assert found(owner="mine") == found(owner=str(pavels.pk)) == found(state="green") == found(q="mal") == {"Small"}
        assert found(owner="nobody") == found(state="red") == found(project=str(project.pk)) == found(action__exact="alert") == {"Full"}
        assert found(state="yellow") == set()

    @pytest.mark.parametrize(
        "query",
        [
            {"owner": "x"},
            {"owner": "9" * 30},
            {"project": "-1"},
            {"project": "²"},
            {"state": "blue"},
            {"time": "x"},
            {"q": "'%_"},
            {"o": "9"},
        ],
    )
    def test_strange_filters_break_nothing(self, pavel: Client, query: dict[str, str]) -> None:
        a_budget()
        assert pavel.get(reverse(LIST), query, follow=True).status_code == 200

    def test_says_what_budgets_are_for_where_there_are_none(self, pavel: Client) -> None:
        assert "Make one with New budget" in seen(pavel, LIST)


class TestPage:
    def test_guides_at_the_limit(self, caller: Caller, pavel: Client) -> None:
        a_budget("8", name="Block")
        spend(caller, 2)
        page = seen(pavel, PAGE, Budget.objects.get().pk)
        for words in ("100 % used", "Red: the limit is reached. What does not fit is refused until 2026-11-21 00:00.", "Starts anew"):
            assert words in page

    @pytest.mark.parametrize(
        ("count", "words"),
        [
            (1, "Green: below 80 %, and at this pace it lasts to the end of the window."),
            (5, "Green: below 80 %. But at this pace it runs out on 2026-11-20 18:00"),
            (9, "Yellow: 80-99 % is used. At this pace it runs out on 2026-11-20 11:06. Consider reviewing high-cost agents"),
        ],
    )
    def test_guides_before_it(self, caller: Caller, pavel: Client, count: int, words: str) -> None:
        budget = a_budget("40" if count > 5 else "36", action=Action.ALERT)
        spend(caller, count)
        assert words in seen(pavel, PAGE, budget.pk)

    def test_shows_past_windows_with_what_came_late_and_the_limit_of_then(self, caller: Caller, pavel: Client) -> None:
        budget = a_budget("10")
        spend(caller, 1)
        tomorrow = NOW + timedelta(days=1)
        charging.charge([an_event(caller, occurred_at=NOW)], now=tomorrow)
        with time_machine.travel(tomorrow, tick=False):
            budgets.change_budget(budget, now=tomorrow, reason="More", limit=Decimal(500))
            page = seen(signed_in(Role.SUPPORT), PAGE, budget.pk)
        for words in ("2026-11-20", "8 credits", "4 credits", "10 credits", "80 %", "500 credits a day"):
            assert words in page

    def test_says_where_open_holds_do_not_count(self, pavel: Client) -> None:
        told = "what it counts is not known before an action ends"
        budgets_of = [a_budget(measure=Measure.CREDITS), a_budget(measure=Measure.COST), a_budget(model="nova-2")]
        assert [told in seen(pavel, PAGE, budget.pk) for budget in budgets_of] == [False, True, True]

    def test_shows_exceptions_beside_it(self, caller: Caller, pavel: Client, fiona: Client) -> None:
        budget = a_budget("8")
        asked(pavel, budget)
        page = seen(fiona, PAGE, budget.pk)
        assert "4 credits more" in page
        assert "Waits" in page
        send(fiona, "billing_budgetexception_approve", BudgetException.objects.get(), reason="Fine")
        page = seen(fiona, PAGE, budget.pk)
        assert "In force" in page
        assert "of 12 credits, with 4 credits by exceptions" in page

    @pytest.mark.parametrize("measure", Measure)
    @pytest.mark.parametrize("window", Window)
    def test_opens_for_every_measure_and_window(self, pavel: Client, measure: Measure, window: Window) -> None:
        budget = a_budget("0", measure=measure, window=window, time_zone="Pacific/Chatham")
        assert "100 % used" in seen(pavel, PAGE, budget.pk)

    @pytest.mark.parametrize("number", ["0", "x", "9" * 30])
    def test_of_a_strange_number_is_not_found(self, pavel: Client, number: str) -> None:
        for where in (reverse(PAGE, args=(number,)), f"/admin/billing/budget/{number}/change-budget"):
            assert pavel.get(where, follow=True, headers={"HX-Request": "true"}).status_code in {200, 404}


class TestMaking:
    def test_makes_it_and_leads_to_it(self, caller: Caller, pavel: Client) -> None:
        project = Project.objects.get(pk=caller.project_id)
        scope = {"project": project.pk, "environment": "production", "customer": "user_42", "agent_type": "research"}
        response = send(pavel, NEW, **TERMS, **scope, owner=User.objects.get(username="pavel").pk)
        budget = Budget.objects.get()
        assert response.headers["HX-Redirect"] == reverse(PAGE, args=(budget.pk,))
        assert (budget.customer_id, budget.project_id, budget.environment, budget.agent_type) == (
            project.customers.get().pk,
            project.pk,
            "production",
            "research",
        )
        assert (budget.thresholds, budget.limit, str(budget.owner), budget.window) == ([50, 80, 100], 100, "pavel", "month")
        latest = budget.history.latest()
        assert (latest.history_change_reason, str(latest.history_user)) == ("Every project has one", "pavel")

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"limit": "NaN"}, "Enter a number."),
            ({"limit": "1e400"}, "digits"),
            ({"limit": "9" * 40}, "digits"),
            ({"limit": "-1"}, "greater than or equal to 0"),
            ({"thresholds": "a lot"}, "Write whole per cents from 1 to 1000"),
            ({"thresholds": "0"}, "Write whole per cents"),
            ({"thresholds": ","}, "Write whole per cents"),
            ({"thresholds": "²"}, "Write whole per cents"),
            ({"thresholds": ",".join(map(str, range(1, 13)))}, "Write at most 10."),
            ({"time_zone": "Mars/Olympus"}, "It must be an IANA name"),
            ({"time_zone": "../etc"}, "It must be an IANA name"),
            ({"action": "downgrade"}, "It must name the model to go down to"),
            ({"customer": "nobody"}, "There is no customer with this id"),
            ({"name": "x" * 101}, "at most 100"),
            ({"name": "Taken"}, "It is that of another budget that runs"),
            ({"name": "a\0b"}, "Null characters"),
            ({"project": "0"}, "Select a valid choice"),
            ({"owner": "9" * 30}, "Select a valid choice"),
            ({"measure": "joy"}, "Select a valid choice"),
            ({"reason": ""}, "required"),
        ],
    )
    def test_is_refused_in_words_and_keeps_what_was_typed(self, caller: Caller, pavel: Client, wrong: dict[str, str], words: str) -> None:
        a_budget(name="Taken")
        response = send(pavel, NEW, **(TERMS | wrong))
        assert (response.status_code, words in response.content.decode().replace("&#x27;", "'")) == (200, True)
        assert Budget.objects.count() == 1
        assert f'value="{(TERMS | wrong)["limit"]}"' in response.content.decode()

    def test_of_what_nothing_can_be_in_is_refused(self, caller: Caller, pavel: Client) -> None:
        other, team = ProjectFactory.create(), TeamFactory.create()
        a_token(other)
        key = ApiKey.objects.get()
        wrong: dict[str, dict[str, Any]] = {
            "is another one than that of the customer": {"customer": "user_42", "api_key": key.pk},
            "It does not have that project": {"team": team.pk, "project": other.pk},
            "It is another one than that of the customer or the API key": {"api_key": key.pk, "environment": "staging"},
        }
        for words, scope in wrong.items():
            assert words in send(pavel, NEW, **TERMS, **scope).content.decode()
        assert not Budget.objects.exists()
        assert Team.objects.filter(pk=team.pk).exists()

    def test_asks_for_the_project_of_a_customer_that_several_have(self, caller: Caller, pavel: Client) -> None:
        a_wallet(a_caller(), "user_42")
        assert "choose the project" in send(pavel, NEW, **TERMS, customer="user_42").content.decode()
        assert went_through(send(pavel, NEW, **TERMS, customer="user_42", project=caller.project_id))


class TestChanging:
    def terms(self, browser: Client, budget: Budget) -> dict[str, str]:
        form = opened(browser, "billing_budget_change_budget", budget)
        seen = re.search(r'name="seen" value="(\d+)"', form)
        assert seen
        named = {"name": budget.name, "limit": "100", "action": budget.action, "thresholds": "80, 100", "seen": seen[1]}
        return named | {"reason": "Growth"}

    def test_changes_the_terms_with_a_reason_and_says_what_stays(self, pavel: Client) -> None:
        budget = a_budget()
        assert "What it counts stays: scope, measure, window and time zone." in opened(pavel, "billing_budget_change_budget", budget)
        changed = self.terms(pavel, budget) | {"limit": "250", "action": "ask", "target": "Pavel"}
        assert went_through(send(pavel, "billing_budget_change_budget", budget, **changed))
        budget.refresh_from_db()
        assert (budget.limit, budget.action, budget.target) == (250, "ask", "Pavel")
        assert "Growth" in seen(pavel, "admin:billing_budget_history", budget.pk)

    def test_does_not_overwrite_what_somebody_changed_meanwhile(self, pavel: Client) -> None:
        budget = a_budget()
        terms = self.terms(pavel, budget) | {"name": "Mine"}
        budgets.change_budget(Budget.objects.get(), now=NOW, reason="x", limit=Decimal(7))
        answer = send(pavel, "billing_budget_change_budget", budget, **terms)
        assert "Somebody changed this budget since you opened it" in answer.content.decode()
        budget.refresh_from_db()
        assert (budget.limit, budget.name) == (7, "Budget 1")

    def test_of_nothing_is_said_so(self, pavel: Client) -> None:
        budget = a_budget()
        assert (
            "Nothing is different yet" in send(pavel, "billing_budget_change_budget", budget, **self.terms(pavel, budget)).content.decode()
        )

    def test_ends_it_once(self, pavel: Client, fiona: Client) -> None:
        budget = a_budget()
        terms = self.terms(pavel, budget) | {"limit": "3"}
        assert went_through(send(pavel, "billing_budget_end_budget", budget, reason="Project is over"))
        page = seen(fiona, PAGE, budget.pk)
        assert "It has ended: it counts and limits nothing more." in page
        assert address("billing_budget_end_budget", budget) not in page
        for action, fields in (("end_budget", {"reason": "x"}), ("change_budget", terms | {"seen": ""})):
            assert "has ended" in send(fiona, f"billing_budget_{action}", budget, **fields).content.decode()


def asked(browser: Client, budget: Budget, **fields: str) -> Any:
    facts = {"extra": "4", "ticket": "OPS-1", "expires_at": "2026-11-21T10:00", "reason": "Launch"}
    return send(browser, "billing_budget_ask_exception", budget, **(facts | fields))


class TestExceptions:
    def test_an_engineer_asks_and_finance_decides(self, pavel: Client, fiona: Client) -> None:
        budget = a_budget("8")
        enzo = signed_in(Role.ENGINEER, name="enzo")
        assert badges.waiting_exceptions() == ""
        assert went_through(asked(enzo, budget))
        row = BudgetException.objects.get()
        cache.clear()
        assert badges.waiting_exceptions() == "1"
        page = seen(fiona, "admin:billing_budgetexception_change", row.pk)
        for words in ("4 credits more", "OPS-1", "Launch", "enzo", "Without it", "8 credits", "With it", "12 credits"):
            assert words in page
        assert went_through(send(fiona, "billing_budgetexception_approve", row, reason="Fine"))
        assert "meanwhile" in send(pavel, "billing_budgetexception_reject", row, reason="No").content.decode()
        assert went_through(send(enzo, "billing_budgetexception_end_early", row, reason="Done"))
        row.refresh_from_db()
        assert (row.state, str(row.decided_by)) == ("revoked", "enzo")

    def test_offers_each_what_works(self, pavel: Client, fiona: Client) -> None:
        asked(pavel, a_budget())
        row = BudgetException.objects.get()

        def offered(browser: Client) -> list[str]:
            page = seen(browser, "admin:billing_budgetexception_change", row.pk)
            steps = ("approve", "reject", "take_back", "end_early")
            return [step for step in steps if address(f"billing_budgetexception_{step}", row) in page]

        support = signed_in(Role.SUPPORT)
        assert (offered(pavel), offered(fiona), offered(support)) == (["take_back"], ["approve", "reject"], [])
        send(fiona, "billing_budgetexception_approve", row, reason="Fine")
        assert (offered(pavel), offered(fiona), offered(support)) == (["end_early"], ["end_early"], [])

    def test_ones_own_is_refused_on_the_server_in_words(self, pavel: Client) -> None:
        asked(pavel, a_budget())
        answer = send(pavel, "billing_budgetexception_approve", BudgetException.objects.get(), reason="Mine").content.decode()
        assert "another person decides" in answer

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"extra": "NaN"}, "Enter a number."),
            ({"extra": "0"}, "It must be above 0"),
            ({"extra": "1e50"}, "digits"),
            ({"expires_at": "2026-11-20T09:00"}, "It must lie in the future"),
            ({"expires_at": "2027-11-20T09:00"}, "It must be at most 92 days from now"),
            ({"expires_at": "9999-12-31T23:59"}, "Choose a time"),
            ({"recharge_id": "topup_77"}, "It names a top-up that is not here"),
            ({"ticket": ""}, "required"),
        ],
    )
    def test_form_errors_are_said_at_their_field(self, pavel: Client, wrong: dict[str, str], words: str) -> None:
        assert words in asked(pavel, a_budget(), **wrong).content.decode()
        assert not BudgetException.objects.exists()

    @pytest.mark.parametrize("query", [{"budget__id__exact": "x"}, {"state__exact": "lost"}, {"requested_at_from": "x"}, {"q": "OPS"}])
    def test_strange_filters_break_nothing(self, pavel: Client, query: dict[str, str]) -> None:
        asked(pavel, a_budget())
        assert pavel.get(reverse("admin:billing_budgetexception_changelist"), query, follow=True).status_code == 200


class TestRoles:
    RUN = {Role.FINANCE, Role.PRODUCT_MANAGER, Role.ADMINISTRATOR}

    @pytest.mark.parametrize("role", Role)
    def test_may_what_is_their_business(self, role: Role, pavel: Client) -> None:
        budget = a_budget()
        asked(pavel, budget)
        row = BudgetException.objects.get()
        browser = signed_in(role)
        actions = {
            address(NEW): self.RUN,
            address("billing_budget_change_budget", budget): self.RUN,
            address("billing_budget_end_budget", budget): self.RUN,
            address("billing_budget_ask_exception", budget): self.RUN | {Role.ENGINEER},
            address("billing_budgetexception_approve", row): self.RUN,
            address("billing_budgetexception_reject", row): self.RUN,
        }
        for where, roles in actions.items():
            expected = 200 if role in roles else 403
            assert (where, browser.post(where, {}).status_code) == (where, expected)
        assert seen(browser, LIST)
        assert seen(browser, PAGE, budget.pk)


@pytest.mark.parametrize(
    ("page", "query"),
    [
        (LIST, "measure__exact=%00"),
        ("admin:billing_budgetexception_changelist", "state=%00"),
        ("admin:billing_alert_changelist", "raised_at_to=9999-12-31"),
    ],
)
def test_an_odd_filter_leads_back_to_the_list(pavel: Client, page: str, query: str) -> None:
    answer = pavel.get(f"{reverse(page)}?{query}")
    assert (answer.status_code, answer["Location"].endswith("?e=1")) == (302, True)
    assert pavel.get(answer["Location"]).status_code == 200
