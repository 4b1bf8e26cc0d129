"""A person sends a customer a link to pay by, with the keyboard alone and without scripts too."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from billing.models import Customer, TopUp
from config.roles import Role
from tests.billing.factories import a_caller, a_wallet
from tests.billing.selling import a_pack
from tests.browser.test_billing_admin import widest
from tests.stripe_desk import StripeDesk

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def customer(live_server: LiveServer, stripe_desk: StripeDesk) -> Customer:
    a_pack(bonus="100")
    return a_wallet(a_caller(), credits="5").customer


def pasted(page: Page) -> str:
    """Return what is in the clipboard, by pasting it into the search field."""
    page.goto("/admin/billing/customer/")
    page.focus("#searchbar")
    page.keyboard.press("Control+V")
    return page.input_value("#searchbar")


class TestTheLink:
    def test_is_made_and_copied_by_keyboard(self, customer: Customer, a_page: Callable[[Role], Page]) -> None:
        page = a_page(Role.FINANCE)
        page.goto(f"/admin/billing/customer/{customer.pk}/change/")
        page.get_by_role("link", name="Copy top-up link").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#dialog select[name=pack]")).to_be_visible()
        page.select_option("#dialog select[name=pack]", "starter-1000/USD")
        page.focus("#dialog textarea[name=reason]")
        page.keyboard.type("Asked by phone")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#topup-link")).to_be_visible()
        url = page.input_value("#topup-link")
        assert url == TopUp.objects.get().url
        page.locator("#topup-link").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#copy-link")).to_contain_text("Copied")
        assert pasted(page) == url

    def test_is_gone_when_the_dialog_is(self, customer: Customer, a_page: Callable[[Role], Page]) -> None:
        page = a_page(Role.FINANCE)
        page.goto(f"/admin/billing/customer/{customer.pk}/change/")
        page.get_by_role("link", name="Copy top-up link").click()
        page.fill("#dialog input[name=amount]", "12.34")
        page.set_viewport_size({"width": 390, "height": 844})
        page.fill("#dialog textarea[name=reason]", "Asked by phone")
        page.click("#dialog button[type=submit]")
        expect(page.locator("#topup-link")).to_be_visible()
        assert widest(page) <= 0
        page.get_by_role("button", name="Done").click()
        expect(page.locator("body")).to_contain_text("Newest top-ups")
        assert TopUp.objects.get().url not in page.content()
        assert widest(page) <= 0

    def test_is_shown_on_a_page_of_its_own_without_htmx(self, customer: Customer, a_page: Callable[[Role], Page]) -> None:
        page = a_page(Role.FINANCE)
        page.goto(f"/admin/billing/customer/{customer.pk}/change/")
        page.get_by_role("link", name="Copy top-up link").click()
        form = page.locator("#dialog form")
        page.select_option("#dialog select[name=pack]", "starter-1000/USD")
        page.fill("#dialog textarea[name=reason]", "Asked by phone")
        form.evaluate("form => { form.action = form.getAttribute('hx-post'); HTMLFormElement.prototype.submit.call(form); }")
        expect(page.locator("#topup-link")).to_be_visible()
        page.locator("#copy-link").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#copy-link")).to_contain_text("Copied")
        page.get_by_role("button", name="Done").click()
        expect(page.locator("#wallet")).to_be_visible()


class TestPages:
    def test_read_on_a_phone(self, customer: Customer, a_page: Callable[[Role], Page]) -> None:
        page = a_page(Role.FINANCE)
        page.set_viewport_size({"width": 390, "height": 844})
        pack = a_pack("second", prices={"USD": ("5", "5"), "JPY": ("800", "5")})
        for path in ("topup/", "creditpack/", "creditpack/add/", f"creditpack/{pack.pk}/change/"):
            page.goto(f"/admin/billing/{path}")
            assert widest(page) <= 0, path
