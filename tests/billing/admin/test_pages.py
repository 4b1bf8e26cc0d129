"""Every list and every record opens for whoever may view it, with few queries, and for nobody else."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from billing.events import Owner
from billing.models import (
    AgentJob,
    ApiKey,
    CostCenter,
    CreditPack,
    Customer,
    Hold,
    LedgerEntry,
    Lot,
    Operation,
    Payment,
    PipelineRun,
    Project,
    Seal,
    Team,
    TopUp,
    UsageRecord,
    Wallet,
)
from billing.services import charging, customers, holds, runs
from billing.services.idempotency import Call
from config.roles import Role
from pricing.units import Usage
from tests.billing.factories import NOW, ProjectFactory, a_caller, a_price, a_token, a_wallet, an_event
from tests.billing.selling import a_pack, a_session, an_order, told
from tests.people import signed_in

pytestmark = pytest.mark.django_db

MODELS = [
    AgentJob,
    ApiKey,
    CostCenter,
    CreditPack,
    Customer,
    Hold,
    LedgerEntry,
    Lot,
    Payment,
    PipelineRun,
    Project,
    Seal,
    Team,
    TopUp,
    UsageRecord,
    Wallet,
]
READ_ONLY = [AgentJob, ApiKey, Hold, LedgerEntry, Lot, Payment, PipelineRun, Seal, TopUp, UsageRecord, Wallet]


@pytest.fixture
def company() -> Wallet:
    """A customer who has topped up, spent and holds something, in a run."""
    project = ProjectFactory.create()
    a_token(project)
    caller = a_caller(project)
    a_price("4")
    wallet = a_wallet(caller, credits="1000")
    runs.put_run(caller=caller, run_id="run-1", changes={}, now=NOW)
    runs.put_job(caller=caller, job_id="job-1", changes={"run_id": "run-1"}, now=NOW)
    owner, usage = Owner(run_id="run-1", job_id="job-1"), Usage(provider="acme", model="m-1", input_tokens=10)
    charging.charge([an_event(caller, owner=owner, usage=usage) for _ in range(3)], now=NOW)
    call = Call(project.pk, "hold", Operation.HOLD, b"0" * 16)
    placed = {"event": "chat.reply", "quantity": None, "credits": 5, "expires_in": 60}
    holds.place(caller=caller, customer=wallet.customer, now=NOW, call=call, **placed)  # type: ignore[arg-type]
    Seal.objects.create(
        starts_at=NOW.replace(year=2025), ends_at=NOW.replace(year=2025, hour=11), entry_count=0, credits=0, value=0,
        previous_digest="", digest="d" * 64, sealed_at=NOW,
    )  # fmt: skip
    topup = an_order(wallet, pack=a_pack(), bonus_credits=10)
    told("checkout.session.completed", a_session(topup))
    return wallet


@pytest.fixture
def root(admin_client: Client) -> Client:
    return admin_client


def listed(model: type[Model], query: str = "") -> str:
    return reverse(f"admin:{model._meta.label_lower.replace('.', '_')}_changelist") + query


def record(row: Model) -> str:
    return reverse(f"admin:{row._meta.label_lower.replace('.', '_')}_change", args=(row.pk,))


class TestPages:
    @pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
    def test_open_with_and_without_rows(self, root: Client, model: type[Any], request: pytest.FixtureRequest) -> None:
        assert root.get(listed(model)).status_code == 200
        request.getfixturevalue("company")
        assert root.get(listed(model)).status_code == 200
        response = root.get(record(model.objects.all()[0]), follow=True)
        assert response.status_code == 200
        assert "(&#x27;" not in response.content.decode(), "a badge shows as a tuple"

    @pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
    def test_are_closed_to_who_may_not_view_them(self, company: Wallet, model: type[Any]) -> None:
        browser = signed_in()
        assert browser.get(listed(model)).status_code == 403
        assert browser.get(record(model.objects.all()[0])).status_code == 403

    @pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model.__name__)
    def test_of_records_take_no_form(self, company: Wallet, root: Client, model: type[Any]) -> None:
        row = model.objects.all()[0]
        assert root.post(record(row), {"reason": "x"}).status_code == 403
        assert root.post(listed(model), {"action": "delete_selected", "_selected_action": row.pk}).status_code == 403
        assert root.post(record(row).replace("change", "delete"), {"post": "yes"}).status_code == 403
        assert root.get(listed(model) + "add/").status_code == 403

    @pytest.mark.parametrize(
        "model", [LedgerEntry, UsageRecord, Customer, Wallet, Hold, Lot, Payment, TopUp], ids=lambda model: model.__name__
    )
    def test_ask_the_same_number_of_questions_for_many_rows(
        self, company: Wallet, root: Client, model: type[Any], django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        caller = a_caller(company.customer.project)
        for number in range(20):
            an_order(a_wallet(caller, f"more_{number}", credits="10"), pack=a_pack(f"more-{number}"))
        charging.charge([an_event(caller, customer=f"more_{number}") for number in range(20)], now=NOW)
        root.get(listed(model))
        with django_assert_max_num_queries(14):
            root.get(listed(model))

    def test_show_times_in_the_workspaces_zone_and_say_so(self, company: Wallet, root: Client) -> None:
        from pricing.models import Workspace

        Workspace.objects.update_or_create(pk=1, defaults={"time_zone": "Europe/Vienna"})
        page = root.get(listed(LedgerEntry)).content.decode()
        assert "2026-11-20 11:00:00" in page
        assert "Times in Europe/Vienna" in page


class TestCustomerPage:
    def test_shows_wallet_lots_and_newest_entries_in_one_view(self, company: Wallet) -> None:
        customers.set_low_balance_threshold(wallet_id=company.pk, threshold=company.balance * 2, reason="x")
        page = signed_in(Role.FINANCE).get(record(company.customer)).content.decode()
        for words in (
            "1,998",
            "1,993",
            "below the mark",
            "Newest entries",
            "Lots, in the order",
            "Newest top-ups",
            "9.99 USD",
            "Open holds",
            "hold_",
        ):
            assert words in page
        assert f"wallet__customer__id__exact={company.customer.pk}" in page

    def test_hides_contact_data_from_support(self, company: Wallet) -> None:
        company.customer.email = "anna@example.com"
        company.customer.save()
        support = signed_in(Role.SUPPORT)
        assert "anna@example.com" not in support.get(record(company.customer)).content.decode()
        assert support.get(record(company.customer).replace("change", "history")).status_code == 403
        assert f"/customer/{company.customer.pk}/" not in support.get(listed(Customer, "?q=anna@example.com")).content.decode()
        finance = signed_in(Role.FINANCE)
        contacts, _ = Permission.objects.get_or_create(
            content_type=ContentType.objects.get_for_model(Customer),
            codename="view_contact_data",
            defaults={"name": "Can see e-mail addresses"},
        )
        Group.objects.get(name=Role.FINANCE.value).permissions.add(contacts)
        assert "anna@example.com" in finance.get(record(company.customer)).content.decode()
        assert f"/customer/{company.customer.pk}/" in finance.get(listed(Customer, "?q=anna@example.com")).content.decode()

    def test_is_where_a_wallet_leads(self, company: Wallet, root: Client) -> None:
        assert root.get(record(company)).headers["Location"] == record(company.customer)
