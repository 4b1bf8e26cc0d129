"""The Advisor's latest word, where prices are listed and changed."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from config.roles import Role
from pricing.models import GivenAdvice, PriceRule
from tests import people
from tests.pricing.admin.proposal_pages import page_of, words
from tests.pricing.factories import NOW
from tests.pricing.proposals import a_rule, an_advised_proposal

pytestmark = pytest.mark.django_db


@pytest.fixture
def manager() -> Client:
    return people.signed_in(Role.PRODUCT_MANAGER)


def said(rule: PriceRule, verdict: str = "withhold", **fields: Any) -> GivenAdvice:
    usual = {"version_number": 1, "because": "6.1 % of them have no known cost", "headline": f"No advice on {rule}: so it is."}
    return GivenAdvice.objects.create(rule=rule, verdict=verdict, given_at=NOW, **usual | fields)


def on_page(browser: Client, rule: PriceRule) -> str:
    return browser.get(reverse("admin:pricing_pricerule_change", args=[rule.pk])).content.decode()


def in_list(browser: Client) -> str:
    return browser.get(reverse("admin:pricing_pricerule_changelist")).content.decode()


class TestRulesPage:
    def test_shows_what_proposed_nothing(self, manager: Client) -> None:
        rule = a_rule()
        said(rule)
        assert "Advisor: withholds No advice on chat.reply/default: so it is. Said 2026-11-20 10:00:00, of v1." in words(
            on_page(manager, rule)
        )

    def test_leads_to_what_it_proposed(self, manager: Client) -> None:
        proposal = an_advised_proposal()
        said(proposal.rule, "raise", proposal=proposal)
        page = on_page(manager, proposal.rule)
        assert "Advisor: proposes to raise" in page
        assert f'href="{page_of(proposal)}">Proposal {proposal.pk}</a> waits for a decision' in page

    def test_says_why_nothing_was_proposed(self, manager: Client) -> None:
        rule = a_rule()
        said(rule, "lower", not_proposed="proposal 7 by anna waits for a decision")
        text = words(on_page(manager, rule))
        assert "Advisor: would lower" in text
        assert "Nothing was proposed: proposal 7 by anna waits for a decision." in text

    def test_says_when_it_has_not_looked_yet(self, manager: Client) -> None:
        assert "has not looked at this price yet" in on_page(manager, a_rule())


class TestList:
    @pytest.mark.parametrize(("verdict", "told"), [("keep", "keeps"), ("fix", "fix first"), ("withhold", "withholds")])
    def test_shows_the_verdict_with_its_reason_and_time(self, verdict: str, told: str, manager: Client) -> None:
        said(a_rule(), verdict)
        assert f"Advisor: {told} 6.1 % of them have no known cost 2026-11-20 10:00:00" in words(in_list(manager))

    def test_is_read_in_a_fixed_number_of_queries(self, manager: Client) -> None:
        counts = []
        for event in ("chat.reply", "image.generate", "image.edit"):
            proposal = an_advised_proposal(a_rule(event))
            said(proposal.rule, "raise", proposal=proposal)
            with CaptureQueriesContext(connection) as queries:
                in_list(manager)
            counts.append(len(queries))
        assert counts[1] == counts[2]
