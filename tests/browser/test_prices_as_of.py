"""Finance answers "what did we charge in April?" in a real browser."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from config.roles import Role
from tests.pricing.queries.test_prices_as_of import a_story

pytestmark = pytest.mark.django_db(transaction=True)


class TestFinance:
    def test_asks_for_a_date_passes_it_on_and_takes_the_file(self, a_page: Callable[[Role], Page]) -> None:
        a_story()
        page = a_page(Role.FINANCE)
        page.goto("/admin/")
        page.get_by_role("link", name="Prices as of a date").click()
        expect(page.get_by_role("cell", name="5 credits per chat.reply")).to_be_visible()

        page.locator("#id_at").fill("2026-04-15T09:30:15")
        page.get_by_role("button", name="Show prices").click()
        expect(page.get_by_role("heading", name="As of 2026-04-15 09:30:15")).to_be_visible()
        expect(page.get_by_role("cell", name="2 credits per chat.reply")).to_be_visible()
        expect(page.locator("#id_at")).to_have_value("2026-04-15T09:30:15")
        with page.expect_download() as download:
            page.get_by_role("link", name="Export CSV").click()
        assert "4 credits per chat.reply" in Path(download.value.path()).read_text()

        page.goto(page.url)  # the address is the question
        expect(page.get_by_role("cell", name="4 credits per chat.reply")).to_be_visible()
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("link", name="Version 2").click()
        page.wait_for_url("**/admin/pricing/priceversion/**/change/")
