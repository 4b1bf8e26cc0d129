"""A product manager tries prices in a real browser: each key answers, by keyboard, on a phone, and the address keeps all."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from config.roles import Role
from tests.pricing.admin.test_simulator import a_model, a_rule

pytestmark = pytest.mark.django_db(transaction=True)


class TestProductManager:
    def test_sees_the_price_change_with_each_key_and_proposes_it(self, a_page: Callable[[Role], Page]) -> None:
        a_model()
        a_rule()
        page = a_page(Role.PRODUCT_MANAGER)
        page.goto("/admin/")
        page.get_by_role("link", name="Simulator").click()
        expect(page.get_by_text("Choose a model, or type what its input and output cost.")).to_be_visible()

        page.locator("#id_model").focus()
        page.keyboard.type("anthropic/claude-sonnet-4-5")
        said = page.get_by_role("status").filter(has_text="Suggested action price")
        expect(said).to_have_text("Suggested action price: 2 credits, margin 63.9 %.")
        expect(page.locator("#id_model")).to_be_focused()
        for _ in range(2):
            page.keyboard.press("Tab")
        expect(page.locator("#id_input_tokens")).to_be_focused()

        page.locator("#id_target_margin").fill("8x")
        expect(page.locator("#error-target_margin")).to_have_text("Enter a number.")
        expect(page.locator("#sim-outcome")).to_contain_text("0.007221 USD")
        page.locator("#id_target_margin").fill("80")
        expect(page.locator("#error-target_margin")).to_be_empty()
        expect(said).to_have_text("Suggested action price: 4 credits, margin 81.9 %.")
        page.locator("#id_rule").fill("chat.reply/default")
        expect(page.get_by_role("row", name="In force, v1")).to_contain_text("81.9 %")

        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(page.url)  # the address is the simulation
        expect(page.locator("#id_target_margin")).to_have_value("80")
        expect(said).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("link", name="Propose this price").click()
        expect(page.locator("#id_credits_per_event")).to_have_value("4")

    def test_takes_the_tokens_of_a_pasted_answer(self, a_page: Callable[[Role], Page]) -> None:
        a_model()
        page = a_page(Role.PRODUCT_MANAGER)
        page.goto("/admin/pricing/priceversion/simulator/")
        page.locator("#id_calls").fill("2")
        expect(page).to_have_url(re.compile("calls=2"))
        page.get_by_text("Paste a provider's usage").click()
        page.locator("#id_body").fill("{")
        page.get_by_role("button", name="Take its tokens").click()
        expect(page.locator("#error-body")).to_contain_text("This is not JSON.")
        page.locator("#id_body").fill('{"model": "claude-sonnet-4-5", "usage": {"input_tokens": 1000, "output_tokens": 200}}')
        page.get_by_role("button", name="Take its tokens").click()
        expect(page.locator("#id_input_tokens")).to_have_value("1000")
        expect(page.locator("#id_calls")).to_have_value("2")
        expect(page.locator("#sim-outcome")).to_contain_text("0.012 USD")
