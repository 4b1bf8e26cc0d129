"""Finance closes March with Stripe in a real browser."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from billing.balance import movement
from billing.models import TopUp
from billing.services import settlements
from config.roles import Role
from reports.models import ReconciliationSignOff
from tests import stripe_objects
from tests.worked_examples.test_reconciliation import at, day, month

__all__ = ("month",)
pytestmark = pytest.mark.django_db(transaction=True)
SAMPLE = Path(__file__).resolve().parents[1] / "samples" / "stripe" / "balance_change.csv"


class TestFinance:
    def test_explains_a_break_signs_the_month_and_follows_a_payout(self, month: dict[str, TopUp], a_page: Callable[[Role], Page]) -> None:
        stranger = stripe_objects.balance_transaction(id="txn_x", created=at(12), source="ch_x", amount=700, fee=0, net=700)
        settlements.keep([movement(stranger)], now=day(13))
        page = a_page(Role.FINANCE)
        page.goto("/admin/")
        page.get_by_role("link", name=re.compile(r"Reconciliation$")).click()
        page.get_by_label("From").fill("2026-03-01")
        page.get_by_label("To, this day included").fill("2026-03-31")
        page.get_by_role("button", name="Show period").click()
        expect(page.get_by_role("cell", name="87.00 USD")).to_be_visible()
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("[...document.querySelectorAll('.desk-table')].every(one => one.scrollWidth <= one.clientWidth)")
        page.set_viewport_size({"width": 1280, "height": 720})

        page.get_by_role("link", name="Compare now").click()
        page.locator("#dialog button[type=submit]").click()
        page.get_by_role("link", name="Unknown here").click()
        page.get_by_role("link", name="Explain").click()
        page.get_by_label("Explanation").fill("A poster that we sold.")
        page.locator("#dialog button[type=submit]").click()
        expect(page.get_by_text("The break is explained.")).to_be_visible()

        page.goto("/admin/reports/reconciliationbreak/reconciliation/?from=2026-03-01&to=2026-03-31")
        page.get_by_role("link", name=re.compile(r" Sign$")).click()
        expect(page.locator("#dialog #id_first")).to_have_value("2026-03-01")
        page.locator("#dialog button[type=submit]").click()
        expect(page.get_by_text("finance signed it")).to_be_visible()
        assert ReconciliationSignOff.objects.get().line_count == 11

        page.get_by_role("link", name="po_march").click()
        expect(page.get_by_role("row", name="Charges txn_b")).to_contain_text("Given back 12.50 USD")
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("row", name="Charges txn_b").get_by_role("link", name="Ledger").click()
        expect(page.get_by_text("Withdrawal").first).to_be_visible()

    def test_imports_a_file(self, month: dict[str, TopUp], a_page: Callable[[Role], Page]) -> None:
        page = a_page(Role.FINANCE)
        page.goto("/admin/reports/reconciliationbreak/reconciliation/?from=2026-03-01&to=2026-03-31")
        page.get_by_role("link", name="Import Stripe file").click()
        page.locator("#dialog input[type=file]").set_input_files(SAMPLE)
        page.locator("#dialog button[type=submit]").click()
        expect(page.get_by_text("2 rows read, 1 of them new")).to_be_visible()
        expect(page.get_by_role("rowheader", name="USD fees")).to_be_visible()
