from collections.abc import Callable
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect

from config.roles import Role
from pricing.models import PriceVersion, Proposal
from tests import desk

pytestmark = pytest.mark.django_db(transaction=True)
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def manager(a_page: Callable[[Role], Page]) -> Page:
    """Be a product manager on the overview of a company with one price and one charge."""
    desk.a_company(timezone.now())
    page = a_page(Role.PRODUCT_MANAGER)
    page.goto("/")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    return page


class TestProductManager:
    def test_proposes_a_price_from_the_menu(self, manager: Page) -> None:
        manager.get_by_role("link", name="Price rules").click()
        manager.get_by_role("link", name="chat.reply/default").click()
        expect(manager.get_by_text("active", exact=True)).to_be_visible()
        manager.get_by_role("link", name="Propose a price").click()

        manager.get_by_label("Credits per event").first.fill("6")
        manager.get_by_role("button", name="Add a component").click()
        manager.locator("[name=components-0-unit]").select_option("output")
        manager.locator("[name=components-0-credits]").fill("0.5")
        manager.get_by_role("button", name="Propose").click()
        expect(manager.get_by_text("Nothing was proposed")).to_be_visible()  # no reason yet
        expect(manager.locator("[name=components-0-credits]")).to_have_value("0.5")

        manager.get_by_label("Reason").fill("Answers are longer now")
        manager.get_by_role("button", name="Say what it charges").click()
        expect(manager.get_by_role("status")).to_contain_text("6 credits per chat.reply, plus 0.5 per 1,000 output tokens")
        manager.get_by_role("button", name="Propose").click()
        expect(manager.get_by_text("proposed", exact=True)).to_be_visible()

        proposal = Proposal.objects.get()
        assert (proposal.as_definition().credits_per_event, proposal.reason) == (Decimal(6), "Answers are longer now")
        assert PriceVersion.objects.count() == 1

    def test_finds_a_customer_with_the_keyboard(self, manager: Page) -> None:
        manager.keyboard.press("Control+k")
        expect(manager.get_by_placeholder("Type to search")).to_be_focused()
        manager.keyboard.type("user_42")
        hit = manager.locator("#command-results a", has_text="user_42")
        expect(hit).to_be_visible()
        manager.keyboard.press("ArrowDown")
        manager.keyboard.press("Enter")
        manager.wait_for_url("**/admin/billing/customer/**")

    def test_signs_in_at_the_door(self, manager: Page) -> None:
        user = User.objects.get(groups__name=Role.PRODUCT_MANAGER)
        user.set_password("long enough words")
        user.save()
        manager.context.clear_cookies()
        manager.goto("/")
        manager.get_by_label("Username").fill(user.username)
        manager.get_by_label("Password").fill("long enough words")
        manager.get_by_role("button", name="Log in").click()
        expect(manager.get_by_role("heading", name="Overview")).to_be_visible()

    def test_reads_everything_on_a_phone(self, manager: Page) -> None:
        manager.set_viewport_size(PHONE)  # type: ignore[arg-type]
        rule = PriceVersion.objects.get().rule_id
        pages = ["", "pricing/pricerule/", f"pricing/pricerule/{rule}/change/", f"pricing/pricerule/{rule}/publish/", "pricing/workspace/"]
        for page in pages:
            manager.goto(f"/admin/{page}")
            expect(manager.locator("#content")).to_be_visible()
            assert manager.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], page

    def test_prints_the_page_without_the_desk_around_it(self, manager: Page) -> None:
        manager.emulate_media(media="print")
        expect(manager.locator("#nav-sidebar")).to_be_hidden()
        expect(manager.get_by_text("Credits out by event")).to_be_visible()
