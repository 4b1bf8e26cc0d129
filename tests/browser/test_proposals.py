"""One person proposes a price, another reads why and applies it, in a real browser."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from config.roles import Role
from pricing.models import PriceRule, Proposal, Workspace
from pricing.services import proposals
from reports import tasks
from tests import people
from tests.pricing.proposals import a_persons_proposal, a_rule, an_advised_proposal

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rule(live_server: LiveServer) -> PriceRule:
    return a_rule()


def widest(page: Page) -> int:
    """Return by how many pixels the page is wider than the screen."""
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


class TestTwoPeople:
    def test_propose_and_apply(self, rule: PriceRule, a_page: Callable[[Role], Page]) -> None:
        author = a_page(Role.PRODUCT_MANAGER)
        author.goto(f"/admin/pricing/pricerule/{rule.pk}/publish/")
        author.fill("#id_credits_per_event", "4.5")
        author.fill("#id_reason", "The new model costs more")
        author.get_by_role("button", name="Propose").click()
        author.get_by_role("link", name="Proposals").click()
        author.get_by_role("link", name="chat.reply/default").click()
        expect(author.get_by_text("You proposed this price, so somebody else decides")).to_be_visible()
        expect(author.get_by_role("link", name="Apply")).to_have_count(0)

        decider = a_page(Role.FINANCE)
        decider.goto("/admin/pricing/proposal/")
        decider.get_by_role("link", name="chat.reply/default").click()
        expect(decider.get_by_role("heading", name="4 → 4.5 per event")).to_be_visible()
        decider.get_by_role("link", name="Apply").click()
        decider.fill("#dialog input[name=effective_from]", "2026-01-01T00:00")
        decider.fill("#dialog textarea[name=reason]", "It does, and the list price is ready")
        decider.click("#dialog button[type=submit]")
        expect(decider.locator("#dialog")).to_contain_text("let the new version start at")
        expect(decider.locator("#dialog textarea[name=reason]")).to_have_value("It does, and the list price is ready")
        decider.fill("#dialog input[name=effective_from]", "2099-01-01T00:00")
        decider.click("#dialog button[type=submit]")
        expect(decider.get_by_text("Version 2 holds from 2099-01-01")).to_be_visible()
        version = Proposal.objects.get().version
        assert version is not None
        assert (str(version.created_by), str(version.approved_by)) == ("product_manager", "finance")


class TestUndoing:
    def test_proposes_the_price_before_from_the_rules_page(self, rule: PriceRule, a_page: Callable[[Role], Page]) -> None:
        author, decider = people.a_person(Role.FINANCE, name="anna"), people.a_person(Role.FINANCE, name="bert")
        dearer = a_persons_proposal(author, rule)
        starts = timezone.now() + timedelta(days=1)
        proposals.approve(proposal=dearer, effective_from=starts, reason="Ok", actor=decider, now=timezone.now())
        page = a_page(Role.PRODUCT_MANAGER)
        page.goto(f"/admin/pricing/pricerule/{rule.pk}/change/")
        page.get_by_role("link", name="Undo this price").click()
        expect(page.locator("#dialog")).to_contain_text("From then on again: 4 credits per chat.reply")
        page.fill("#dialog textarea[name=reason]", "Customers left")
        page.click("#dialog button[type=submit]")
        made = Proposal.objects.exclude(pk=dearer.pk)
        page.wait_for_url("**/proposal/*/change/")
        expect(page.get_by_role("heading", name="4.5 → 4 per event")).to_be_visible()
        assert page.url.endswith(f"/admin/pricing/proposal/{made.get().pk}/change/")
        page.goto(f"/admin/pricing/pricerule/{rule.pk}/change/")
        expect(page.get_by_text("by product_manager waits for a decision")).to_be_visible()
        expect(page.get_by_role("link", name="Undo this price")).to_have_count(0)


class TestOutdatedAdvice:
    def test_is_asked_for_again(self, rule: PriceRule, a_page: Callable[[Role], Page]) -> None:
        proposal = an_advised_proposal(rule)
        Workspace.objects.update_or_create(pk=1, defaults={"target_margin": "0.7"})
        page = a_page(Role.PRODUCT_MANAGER)
        page.goto(f"/admin/pricing/proposal/{proposal.pk}/change/")
        expect(page.get_by_text("the target margin is 70.0 % instead of 60.0 %")).to_be_visible()
        expect(page.get_by_role("link", name="Apply")).to_have_count(0)
        page.get_by_role("link", name="Advise again").click()
        page.click("#dialog button[type=submit]")
        expect(page.get_by_text("The Advisor looks at chat.reply/default again.")).to_be_visible()
        tasks.advise_on(rule.pk)  # what the worker does, which found no usage to advise on
        page.reload()
        expect(page.get_by_text("The Advisor does not recommend it any more.")).to_be_visible()


class TestPage:
    def test_reads_on_a_phone_and_draws_the_drift(self, rule: PriceRule, a_page: Callable[[Role], Page]) -> None:
        proposal = an_advised_proposal(rule)
        page = a_page(Role.PRODUCT_MANAGER)
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(f"/admin/pricing/proposal/{proposal.pk}/change/")
        page.locator("#evidence summary").click()
        expect(page.get_by_text("Hash of the evidence")).to_be_visible()
        assert widest(page) <= 0
        drawn = "Chart.getChart(document.querySelector('canvas.chart')).getDatasetMeta(0).data.map(bar => Math.abs(bar.x - bar.base))"
        lengths = page.evaluate(drawn)
        assert len(lengths) == 9
        assert lengths[0] > lengths[8] > lengths[1] > 0

    def test_is_decided_on_a_phone(self, rule: PriceRule, a_page: Callable[[Role], Page]) -> None:
        page = a_page(Role.PRODUCT_MANAGER)
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(f"/admin/pricing/proposal/{an_advised_proposal(rule).pk}/change/")
        steps = page.get_by_role("list", name="What to do with this proposal")
        expect(steps.get_by_role("link")).to_have_text(["check Apply", "close Reject", "edit Edit"])
        steps.get_by_role("link", name="Reject").click()
        page.fill("#dialog textarea[name=reason]", "Customers would leave")
        page.click("#dialog button[type=submit]")
        expect(page.get_by_text("Rejected: the price stayed as it was")).to_be_visible()
