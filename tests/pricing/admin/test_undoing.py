"""The button that proposes the price before, on the pages where people look for it."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from config.roles import Role
from pricing.models import PriceRule, PriceVersion, Proposal, Workspace
from pricing.services import proposals
from tests import people
from tests.billing.admin import dialogs
from tests.pricing.admin.proposal_pages import page_of, tomorrow, typed, words
from tests.pricing.proposals import a_persons_proposal, a_rule

pytestmark = pytest.mark.django_db
PRICERS = {Role.FINANCE, Role.PRODUCT_MANAGER, Role.ADMINISTRATOR}
KINDS = ("pricerule", "priceversion", "proposal")


@pytest.fixture
def manager() -> Client:
    return people.signed_in(Role.PRODUCT_MANAGER)


@pytest.fixture
def approved() -> Proposal:
    """4.5 credits in the place of 4, from tomorrow on."""
    author, decider = people.a_person(Role.FINANCE, name="anna"), people.a_person(Role.FINANCE, name="bert")
    proposal = a_persons_proposal(author)
    proposals.approve(proposal=proposal, effective_from=tomorrow(), reason="Ok", actor=decider, now=timezone.now())
    proposal.refresh_from_db()
    return proposal


def row_of(kind: str, approved: Proposal) -> Model:
    row = {"pricerule": approved.rule, "priceversion": approved.version, "proposal": approved}[kind]
    assert row is not None
    return row


def page(browser: Client, kind: str, row: Model) -> str:
    response = browser.get(reverse(f"admin:pricing_{kind}_change", args=[row.pk]))
    assert response.status_code == 200
    return response.content.decode()


def has_button(html: str, kind: str, row: Model) -> bool:
    return reverse(f"admin:pricing_{kind}_undo", args=[row.pk]) in html


@pytest.mark.parametrize("kind", KINDS)
class TestUndoing:
    def test_proposes_the_price_before_and_leads_to_it(self, kind: str, manager: Client, approved: Proposal) -> None:
        row = row_of(kind, approved)
        assert has_button(page(manager, kind, row), kind, row)
        assert "From then on again: 4 credits per chat.reply." in words(dialogs.opened(manager, f"pricing_{kind}_undo", row))
        starts = tomorrow() + timedelta(days=3)
        response = dialogs.send(manager, f"pricing_{kind}_undo", row, reason="Customers left", effective_from=typed(starts))
        made = Proposal.objects.exclude(pk=approved.pk).get()
        assert response.headers["HX-Redirect"] == page_of(made)
        assert (made.state, made.undoes, made.effective_from, made.reason) == ("proposed", approved.version, starts, "Customers left")
        assert made.as_definition().credits_per_event == Decimal(4)
        assert approved.rule.versions.count() == 2

    def test_asks_why(self, kind: str, manager: Client, approved: Proposal) -> None:
        response = dialogs.send(manager, f"pricing_{kind}_undo", row_of(kind, approved), reason=" ")
        assert not dialogs.went_through(response)
        assert Proposal.objects.count() == 1

    def test_too_soon_is_refused_and_keeps_what_was_typed(self, kind: str, manager: Client, approved: Proposal) -> None:
        now = typed(timezone.now())
        html = dialogs.send(manager, f"pricing_{kind}_undo", row_of(kind, approved), reason="Quick", effective_from=now).content.decode()
        assert "let the new version start at" in html
        assert "Quick" in html

    def test_a_get_changes_nothing(self, kind: str, manager: Client, approved: Proposal) -> None:
        row = row_of(kind, approved)
        manager.get(reverse(f"admin:pricing_{kind}_undo", args=[row.pk]), {"reason": "x"})
        dialogs.opened(manager, f"pricing_{kind}_undo", row)
        assert Proposal.objects.count() == 1

    @pytest.mark.parametrize("role", Role)
    def test_is_for_those_who_propose(self, role: Role, kind: str, approved: Proposal) -> None:
        row, browser = row_of(kind, approved), people.signed_in(role)
        address = reverse(f"admin:pricing_{kind}_undo", args=[row.pk])
        expected = 200 if role in PRICERS else 403
        assert browser.get(address, headers=dialogs.HTMX).status_code == expected
        assert browser.post(address, {}, headers=dialogs.HTMX).status_code == expected

    def test_says_what_is_in_the_way(self, kind: str, manager: Client, approved: Proposal) -> None:
        row = row_of(kind, approved)
        again = people.a_person(Role.FINANCE, name="carl")
        a_persons_proposal(again, approved.rule, base_version=approved.version)
        html = page(manager, kind, row)
        assert "by carl waits for a decision" in html
        assert not has_button(html, kind, row)

    def test_says_so_where_nobody_approves_prices(self, kind: str, manager: Client, approved: Proposal) -> None:
        Workspace.objects.update_or_create(pk=1, defaults={"prices_need_approval": False})
        html = page(manager, kind, row_of(kind, approved))
        assert "Prices need no approval here" in html
        assert not has_button(html, kind, row_of(kind, approved))

    def test_tells_nothing_to_who_only_looks(self, kind: str, approved: Proposal) -> None:
        Workspace.objects.update_or_create(pk=1, defaults={"prices_need_approval": False})
        assert "need no approval" not in page(people.signed_in(Role.SUPPORT), kind, row_of(kind, approved))


class TestWhatCannotBeUndone:
    def test_a_first_price(self, manager: Client) -> None:
        rule = a_rule()
        for kind, row in (("pricerule", rule), ("priceversion", rule.versions.get())):
            html = page(manager, kind, row)
            assert "is the rule&#x27;s first price" in html
            assert not has_button(html, kind, row)

    def test_a_price_that_was_followed(self, manager: Client, approved: Proposal) -> None:
        first = PriceVersion.objects.get(rule=approved.rule, number=1)
        html = page(manager, "priceversion", first)
        assert "has been followed by chat.reply/default v2" in html
        assert not has_button(html, "priceversion", first)
        refused = dialogs.send(manager, "pricing_priceversion_undo", first, reason="x", effective_from="")
        assert "undo that one" in refused.content.decode()

    def test_no_price(self, manager: Client) -> None:
        bare = PriceRule.objects.create(event_type=a_rule().event_type, segment="plan", segment_key="pro")
        assert not has_button(page(manager, "pricerule", bare), "pricerule", bare)
        assert "there is none to undo" in dialogs.send(manager, "pricing_pricerule_undo", bare, reason="x").content.decode()

    def test_a_proposal_that_waits(self, manager: Client) -> None:
        waiting = a_persons_proposal(User.objects.create(username="anna"))
        assert not has_button(page(manager, "proposal", waiting), "proposal", waiting)
        assert "No price came of this" in dialogs.send(manager, "pricing_proposal_undo", waiting, reason="x").content.decode()
