import json
import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.models import CheckRun, CostStatus, Customer, Project, UsageRecord, Wallet
from billing.queries import badges
from config import navigation
from config.roles import Role
from pricing.models import ProposalState
from tests import desk, people
from tests.billing.alerting import an_alert
from tests.billing.factories import ProjectFactory, a_caller, a_wallet
from tests.billing.selling import an_order
from tests.pricing.proposals import a_persons_proposal, a_rule

pytestmark = pytest.mark.django_db

ALERTS = ["Alerts", "Spikes", "Launches", "Alert channels"]
CUSTOMERS = ["Customers", "Wallets", "Holds", "Requests"]
MONEY = [
    *("Top-ups", "Refunds of top-ups", "Disputes", "Credit packs", "Reconciliation", "Breaks with Stripe"),
    *("Payouts", "Balance transactions", "Platform fees", "Auto top-ups", "Stripe events"),
]
BUDGETS = ["Budgets", "Budget exceptions"]
USAGE = ["Usage records", "Pipeline runs", "Agent jobs"]
COSTS = ["Usage records", "Unpriced usage", "Re-ratings", "Pipeline runs", "Agent jobs"]
SIDEBARS = {
    Role.FINANCE: {
        "": ["Overview"],
        "Alerts": ALERTS,
        "Customers & wallets": CUSTOMERS,
        "Money in & out": MONEY,
        "Ledger": ["Ledger entries", "Payments", "Lots", "Ledger check", "Seals"],
        "Usage": COSTS,
        "Budgets": BUDGETS,
        "Prices": [
            "Event types",
            "Price rules",
            "Proposals",
            "Prices as of a date",
            "Simulator",
            "Price versions",
            "Provider models",
            "Provider rates",
            "Rate imports",
            "Workspace",
        ],
        "Projects & keys": ["Projects", "Teams", "Cost centres"],
    },
    Role.PRODUCT_MANAGER: {
        "": ["Overview"],
        "Alerts": ALERTS,
        "Customers & wallets": CUSTOMERS,
        "Money in & out": ["Top-ups", "Credit packs", "Auto top-ups"],
        "Ledger": ["Ledger entries", "Lots"],
        "Usage": COSTS,
        "Budgets": BUDGETS,
        "Prices": [
            "Event types",
            "Price rules",
            "Proposals",
            "Prices as of a date",
            "Simulator",
            "Price versions",
            "Provider models",
            "Provider rates",
            "Rate imports",
            "Workspace",
        ],
        "Projects & keys": ["Projects", "Teams", "Cost centres"],
    },
    Role.SUPPORT: {
        "": ["Overview"],
        "Alerts": ALERTS[:3],
        "Customers & wallets": CUSTOMERS,
        "Money in & out": ["Top-ups", "Refunds of top-ups", "Disputes", "Auto top-ups"],
        "Ledger": ["Ledger entries", "Payments", "Lots"],
        "Usage": USAGE,
        "Budgets": BUDGETS,
        "Prices": ["Event types", "Price rules", "Proposals", "Prices as of a date", "Price versions"],
        "Projects & keys": ["Projects"],
    },
    Role.ENGINEER: {
        "": ["Overview"],
        "Alerts": ALERTS[:3],
        "Usage": USAGE,
        "Budgets": BUDGETS,
        "Prices": ["Event types", "Provider models"],
        "Projects & keys": ["Projects", "Teams", "Cost centres", "API keys"],
    },
    Role.ADMINISTRATOR: {
        "": ["Overview"],
        "Alerts": ALERTS,
        "Customers & wallets": CUSTOMERS,
        "Money in & out": MONEY,
        "Ledger": ["Ledger entries", "Payments", "Lots", "Ledger check", "Seals"],
        "Usage": COSTS,
        "Budgets": BUDGETS,
        "Prices": [
            "Event types",
            "Price rules",
            "Proposals",
            "Prices as of a date",
            "Simulator",
            "Price versions",
            "Provider models",
            "Provider rates",
            "Rate imports",
            "Workspace",
        ],
        "Projects & keys": ["Projects", "Teams", "Cost centres", "API keys"],
        "Administration": ["Users", "Groups", "Access attempts", "Periodic tasks"],
    },
}


@pytest.fixture(autouse=True)
def _no_kept_badges() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def _header(page: Any) -> str:
    [head] = re.findall(r"<h1[^>]*>.*?</h1>", page.content.decode(), re.DOTALL)
    return str(re.findall(r">\s*([^<>]+?)\s*</a>", head)[-1])


class TestSidebar:
    @pytest.mark.parametrize("role", Role)
    def test_shows_a_role_its_tasks_and_no_more(self, role: Role) -> None:
        request = RequestFactory().get("/admin/")
        request.user = people.a_person(role)
        shown = {group["title"]: [item["title"] for item in group["items"]] for group in navigation.sidebar(request)}
        assert shown == SIDEBARS[role]

    @pytest.mark.parametrize("role", Role)
    def test_every_link_opens(self, role: Role) -> None:
        client = people.signed_in(role)
        request = RequestFactory().get("/admin/")
        request.user = client.get("/admin/").context["user"]
        links = [item["link"] for group in navigation.sidebar(request) for item in group["items"]]
        assert {link: client.get(link, follow=True).status_code for link in links} == dict.fromkeys(links, 200)

    def test_a_list_has_the_name_that_its_link_has(self) -> None:
        client = people.signed_in(Role.ADMINISTRATOR)
        request = RequestFactory().get("/admin/")
        request.user = client.get("/admin/").context["user"]
        items = [item for group in navigation.sidebar(request) for item in group["items"]]
        pages = [(item["title"], client.get(item["link"])) for item in items]
        lists = [(title, page.context["title"], _header(page)) for title, page in pages if page.context and "cl" in page.context]
        assert len(lists) > 15
        assert [one for one in lists if len(set(one)) > 1] == []

    def test_a_page_that_is_not_there_is_not_linked(self) -> None:
        request = RequestFactory().get("/admin/")
        request.user = User.objects.create_superuser("root")
        assert navigation.address(request, navigation.PageLink("Later", "star", "a_page_of_tomorrow")) == ""


class TestBadges:
    def test_count_wallets_below_their_threshold(self) -> None:
        caller = a_caller()
        for name, threshold in (("low", "11"), ("even", "10"), ("quiet", None)):
            wallet = a_wallet(caller, name, credits="10")
            Wallet.objects.filter(pk=wallet.pk).update(low_balance_threshold=Decimal(threshold) if threshold else None)
        assert badges.low_wallets() == "1"

    def test_are_capped(self) -> None:
        project = ProjectFactory.create()
        made = Customer.objects.bulk_create(
            Customer(project=project, external_id=f"user_{n}", created_at=timezone.now()) for n in range(badges.CAP + 1)
        )
        Wallet.objects.bulk_create(Wallet(customer=customer, low_balance_threshold=1) for customer in made)
        with CaptureQueriesContext(connection) as queries:
            assert badges.low_wallets() == "99+"
        assert f"LIMIT {badges.CAP + 1}" in queries[0]["sql"]

    def test_count_unpriced_records_of_the_last_month(self) -> None:
        desk.a_company(timezone.now())
        known = UsageRecord.objects.get()
        for days in (0, 29, 31):
            known.pk += 1
            known.occurred_at, known.cost_status = timezone.now() - timedelta(days=days), CostStatus.UNPRICED
            known.save(force_insert=True)
        assert badges.unpriced_records() == "2"

    def test_count_the_prices_that_wait_for_a_decision(self) -> None:
        author = people.a_person(Role.FINANCE)
        a_persons_proposal(author, a_rule("a.first"))
        a_persons_proposal(author, a_rule("b.second"), state=ProposalState.DRAFT)
        assert badges.open_proposals() == "1"

    def test_tell_what_the_last_ledger_check_found(self) -> None:
        assert badges.broken_rules() == ""
        rules = [{"rule": "a", "break_count": 2}, {"rule": "b", "break_count": 0}]
        CheckRun.objects.create(started_at=timezone.now(), duration_ms=1, entry_count=1, is_clean=False, rules=rules, actor="system:tests")
        cache.clear()
        assert badges.broken_rules() == "1"

    def test_count_the_alerts_that_nobody_has_seen_to(self) -> None:
        assert (badges.open_alerts(), badges.open_spikes()) == ("", "")
        cache.clear()
        an_alert("wallet_low", wallet=a_wallet(a_caller()))
        an_alert("spike")
        an_alert("spike", state="resolved", resolved_at=timezone.now())
        assert (badges.open_alerts(), badges.open_spikes()) == ("2", "1")

    def test_are_for_whom_the_list_holds_as_much(self) -> None:
        an_alert("spike")
        for role, is_shown in ((Role.SUPPORT, True), (Role.ENGINEER, False)):
            page = people.signed_in(role).get("/admin/").content.decode()
            assert "Spikes that nobody has seen to: 1" in page
            assert ("Alerts that nobody has seen to: 1" in page) is is_shown

    def test_are_read_once_a_minute(self) -> None:
        badges.low_wallets()
        with CaptureQueriesContext(connection) as queries:
            badges.low_wallets()
        assert len(queries) == 0

    def test_stand_beside_their_link_with_words(self) -> None:
        wallet = a_wallet(a_caller())
        Wallet.objects.filter(pk=wallet.pk).update(low_balance_threshold=1)
        page = people.signed_in(Role.SUPPORT).get("/admin/").content.decode()
        assert "Wallets below their threshold: 1" in page


class TestEnvironment:
    def test_a_demo_company_is_called_one(self) -> None:
        client = people.signed_in(Role.SUPPORT)
        assert "Demo data" not in client.get("/admin/").content.decode()
        ProjectFactory.create(is_demo=True)
        cache.clear()
        assert "Demo data" in client.get("/admin/").content.decode()


class TestPalette:
    @pytest.fixture
    def project(self) -> Project:
        project = desk.a_company(timezone.now())
        customer = Customer.objects.get()
        customer.name, customer.email = "Ada Lovelace", "ada@example.com"
        customer.save()
        return project

    def _found(self, client: Client, text: str) -> list[str]:
        page = client.get("/admin/search/", {"s": text, "extended": "1"}).content.decode()
        return re.findall(r'data-title="([^"]*)"', page)

    @pytest.mark.parametrize("text", ["user_42", "user_4", "Ada L", "ada lo"])
    def test_finds_a_customer(self, text: str, project: Project) -> None:
        assert "Ada Lovelace" in self._found(people.signed_in(Role.SUPPORT), text)

    def test_finds_an_event_by_its_id_and_its_request(self, project: Project) -> None:
        record = UsageRecord.objects.get()
        client = people.signed_in(Role.ENGINEER)
        assert self._found(client, f"evt_{record.pk}") == [f"evt_{record.pk}"]
        assert self._found(client, "req_first") == [f"evt_{record.pk}"]

    def test_finds_a_topup_by_its_number_and_by_stripes_ids(self, project: Project) -> None:
        topup = an_order(Customer.objects.get().wallet, payment_intent="pi_1", charge="ch_1", checkout_session="cs_test_1")
        client = people.signed_in(Role.SUPPORT)
        for text in (f"topup_{topup.pk}", "pi_1", "ch_1", "cs_test_1"):
            assert self._found(client, text) == [f"topup_{topup.pk}"]
        for text in ("pi_2", "topup_", "topup_x", f"topup_{10**30}", "re_1", "dp_1"):
            assert self._found(client, text) == []
        assert self._found(people.signed_in(Role.ENGINEER), "pi_1") == []

    def test_finds_prices_pages_and_projects(self, project: Project) -> None:
        client = people.signed_in(Role.FINANCE)
        assert {"chat.reply", "chat.reply/default"} <= set(self._found(client, "chat."))
        assert self._found(client, "ledger ch").count("Ledger check") == 1
        assert self._found(client, "workspace").count("Workspace") == 1
        assert "Support bot" in self._found(client, "support-b")

    def test_finds_nothing_that_the_role_may_not_open(self, project: Project) -> None:
        client = people.signed_in(Role.ENGINEER)
        assert self._found(client, "user_42") == []
        assert self._found(client, "chat.reply") == ["chat.reply"]
        assert self._found(client, "ledger") == []

    @pytest.mark.parametrize("text", ["evt_", "evt_x", f"evt_{10**30}", "req_none", "\0", "%", "_", "'"])
    def test_finds_nothing_in_odd_words(self, text: str, project: Project) -> None:
        assert self._found(people.signed_in(Role.SUPPORT), text) == []

    def test_reads_no_table_of_customers_to_its_end(self) -> None:
        project = ProjectFactory.create()
        Customer.objects.bulk_create(
            Customer(project=project, external_id=f"user_{n}", name=f"Name {n}", created_at=timezone.now()) for n in range(20_000)
        )
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE billing_customer")
        from billing.queries import lookup

        with CaptureQueriesContext(connection) as queries:
            assert len(lookup.customers_by("user_199", at_most=8)) == 8
        [by_id] = [query["sql"] for query in queries if "external_id" in query["sql"]]
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (FORMAT json) {by_id}")
            plan = json.dumps(cursor.fetchone())
        assert "customer_is_known_once" in plan
        assert '"Seq Scan", "Parallel Aware": false, "Async Capable": false, "Relation Name": "billing_customer"' not in plan


class TestErrorPages:
    def test_speak_plainly(self, client: Client) -> None:
        response = client.get("/no/such/page")
        assert response.status_code == 404
        assert "There is no such page" in response.content.decode()

    def test_name_nobody_who_is_not_signed_in(self) -> None:
        page = people.signed_in(Role.ENGINEER).get("/admin/billing/ledgerentry/")
        assert page.status_code == 403
        assert "Your role does not open this page" in page.content.decode()

    def test_a_forged_form_is_refused_in_words(self) -> None:
        response = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "a", "password": "b"})
        assert response.status_code == 403
        assert "This page was open too long" in response.content.decode()

    def test_a_failure_tells_the_request(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        client.raise_request_exception = False
        monkeypatch.setattr(navigation, "TASKS", None)
        client.force_login(people.a_person(Role.SUPPORT))
        response = client.get("/admin/", headers={"X-Request-ID": "req_broken"})
        assert response.status_code == 500
        assert "req_broken" in response.content.decode()

    def test_a_locked_door_says_for_how_long(self, client: Client) -> None:
        for _ in range(11):
            response = client.post("/admin/login/", {"username": "ann", "password": "wrong"})
        assert response.status_code == 429
        assert "quarter of an hour" in response.content.decode()
