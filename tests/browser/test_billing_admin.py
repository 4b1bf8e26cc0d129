"""A finance person's day in the admin, in a real browser."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from billing.models import Customer, LedgerEntry, Project
from billing.services import charging
from config.roles import Role
from tests.billing.factories import NOW, ProjectFactory, a_caller, a_price, a_wallet, an_event

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def customer(live_server: LiveServer) -> Customer:
    caller = a_caller()
    a_price("4")
    a_wallet(caller, "someone_else", credits="5")
    wallet = a_wallet(caller, credits="100")
    charging.charge([an_event(caller)], now=NOW)
    return wallet.customer


def widest(page: Page) -> int:
    """Return by how many pixels the page is wider than the screen."""
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


class TestFinance:
    def test_finds_a_customer_grants_credits_and_follows_an_entry_to_its_request(
        self, customer: Customer, a_page: Callable[[Role], Page]
    ) -> None:
        page = a_page(Role.FINANCE)
        page.goto("/admin/billing/customer/")
        page.fill("#searchbar", "user_4")
        page.press("#searchbar", "Enter")
        expect(page.locator("#result_list tbody")).to_have_count(1)
        page.click("#result_list th a")
        expect(page.locator("#wallet")).to_contain_text("96")

        page.get_by_role("link", name="Grant credits").click()
        page.fill("#dialog input[name=credits]", "25.5")
        page.click("#dialog button[type=submit]")
        expect(page.locator("#dialog")).to_contain_text("This field is required")
        expect(page.locator("#dialog input[name=credits]")).to_have_value("25.5")
        page.fill("#dialog textarea[name=reason]", "Sorry for the outage")
        page.click("#dialog button[type=submit]")
        expect(page.locator("body")).to_contain_text("25.5 credits were granted to user_42.")
        expect(page.locator("#wallet")).to_contain_text("121.5")
        assert LedgerEntry.objects.get(kind="grant").actor == "user:finance"

        page.get_by_role("link", name="Full ledger").click()
        expect(page.locator("#result_list tbody")).to_have_count(3)
        page.locator("#result_list tbody", has_text="Charge").locator("th a").click()
        expect(page.locator("body")).to_contain_text("Deferred revenue")
        page.get_by_role("link", name="evt_", exact=False).first.click()
        expect(page.locator("body")).to_contain_text("Privacy and retention")

    def test_reads_on_a_phone(self, customer: Customer, a_page: Callable[[Role], Page]) -> None:
        page = a_page(Role.FINANCE)
        page.set_viewport_size({"width": 390, "height": 844})
        entry = LedgerEntry.objects.get(kind="charge")
        for path in (
            "customer/",
            f"customer/{customer.pk}/change/",
            "ledgerentry/",
            f"ledgerentry/{entry.pk}/change/",
            f"usagerecord/{entry.usage_record_id}/change/",
            f"project/{customer.project_id}/change/",
        ):
            page.goto(f"/admin/billing/{path}")
            assert widest(page) <= 0, path

    def test_chooses_days_in_the_browsers_calendar(self, customer: Customer, a_page: Callable[[Role], Page]) -> None:
        page = a_page(Role.FINANCE)
        page.goto("/admin/billing/ledgerentry/")
        page.locator("a", has_text="Filters").click()
        page.fill("input[name=recorded_at_from]", "2026-11-21")
        page.get_by_role("button", name="Apply Filters").click()
        expect(page.locator("body")).to_contain_text("Nothing matches")


class TestEngineer:
    def test_makes_a_key_and_copies_its_secret(self, live_server: LiveServer, a_page: Callable[[Role], Page]) -> None:
        project: Project = ProjectFactory.create()
        page = a_page(Role.ENGINEER)
        page.goto(f"/admin/billing/project/{project.pk}/change/")
        page.get_by_role("link", name="New key").click()
        page.fill("#dialog input[name=name]", "Chat backend")
        page.locator("#dialog input[name=scopes]").first.check()
        page.click("#dialog button[type=submit]")
        expect(page.locator("#new-key")).to_contain_text("md_live_")
        page.click("#copy-key")
        expect(page.locator("#copy-key")).to_contain_text("Copied")
        page.get_by_role("button", name="Done").click()
        expect(page.locator("body")).to_contain_text("Chat backend")
        assert "md_live_" not in page.content()
