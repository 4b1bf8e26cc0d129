import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from config.roles import Role
from pricing.admin import panels
from pricing.advisor.recommend import recommend
from pricing.models import PriceRule, Proposal, ProposalState
from tests import people
from tests.billing.admin import dialogs
from tests.pricing.admin.proposal_pages import change, read, send, tomorrow, typed, words
from tests.pricing.factories import LAST_YEAR, PriceRuleFactory, PriceVersionFactory, ProviderRateFactory
from tests.pricing.proposals import POLICY, a_backtest, a_definition, a_persons_proposal, a_rule, an_advised_proposal, some_evidence

pytestmark = pytest.mark.django_db
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def manager() -> Client:
    return people.signed_in(Role.PRODUCT_MANAGER)


@pytest.fixture
def author() -> User:
    return people.a_person(Role.FINANCE, name="anna")


class TestPageOfTheAdvisor:
    def test_tells_what_why_and_on_what(self, manager: Client) -> None:
        text = words(read(manager, an_advised_proposal()))
        for told in (
            "Raise chat.reply by 12.5 %: its margin fell from 60 % to 46.4 %.",
            "Margin now 46.4 % was 60.0 %, target 60.0 %",
            "4 credits per chat.reply",
            "4.5 credits per chat.reply",
            "+12.5 % 4.5 credits 0.04365 USD",
            "Money at 0.0097 USD a credit",
            "Most of it is the provider&#x27;s price.",
            "Retries rose from 2 % to 4 % of events. Look at the time-outs.",
            "held back Rounded to halves of a credit.",
            "3 pay more, 0 pay less, 2 pay the same.",
            "2026-10-23 00:00:00 to 2026-11-20 00:00:00, 1,600 events",
            "16 (1.0 %)",
        ):
            assert told in text, told

    def test_the_drift_adds_up(self, manager: Client) -> None:
        table = read(manager, an_advised_proposal()).partition('id="drift"')[2].partition("</table>")[0]
        first, *parts, last = (Decimal(amount) for amount in re.findall(r">\s*\+?(-?[\d.]+) USD", table))
        assert len(parts) == 7
        assert first + sum(parts) == last == Decimal("0.018")

    def test_the_drift_adds_up_though_it_is_rounded(self, manager: Client) -> None:
        proposal = an_advised_proposal()
        found = an_advised_proposal(a_rule("image.generate")).recommendation
        assert found is not None
        third = "-0.000333333333"
        found["drift"] |= {
            "total": "-0.000999999999",
            "parts": [{"name": name, "amount": third, "share": None, "sentence": ""} for name in ("tokens", "cache", "retries")],
        }
        proposal = an_advised_proposal(a_rule("image.edit"), recommendation=found)
        table = read(manager, proposal).partition('id="drift"')[2].partition("</table>")[0]
        amounts = [Decimal(amount) for amount in re.findall(r">\s*\+?(-?[\d.]+) USD", table)]
        assert sum(amounts[:-1]) == amounts[-1]
        assert amounts[1:-1] == [Decimal("-0.00033"), Decimal("-0.00034"), Decimal("-0.00033")]

    def test_leads_to_its_customers(self, manager: Client) -> None:
        assert '<a class="md-link" href="/admin/billing/customer/?q=user_0">user_0</a>' in read(manager, an_advised_proposal())

    def test_folds_what_is_more_than_a_glance(self, manager: Client) -> None:
        page = read(manager, an_advised_proposal(backtest=a_backtest(customers=70)))
        assert "40 more customers" in page
        assert "user_49" in page

    def test_says_when_a_sample_was_taken_and_when_nothing_was(self, manager: Client) -> None:
        assert "a sample was rated" in read(manager, an_advised_proposal(backtest=a_backtest(sampled=True)))
        assert "No backtest yet" in read(manager, an_advised_proposal(a_rule("image.edit"), backtest=None))

    def test_says_when_a_missing_backtest_comes(self, manager: Client, author: User) -> None:
        waiting = a_persons_proposal(author)
        assert "It comes by itself, as a rule within two minutes" in words(read(manager, waiting))
        draft = a_persons_proposal(author, a_rule("image.edit"), state=ProposalState.DRAFT)
        assert "It comes once the draft is submitted" in words(read(manager, draft))
        Proposal.objects.filter(pk=waiting.pk).update(backtest_tried_at=timezone.now() - timedelta(minutes=8))
        assert "it is tried again every hour" in words(read(manager, waiting))

    def test_names_versions_and_rates_as_people_do(self, manager: Client) -> None:
        rate = ProviderRateFactory.create()
        rule = a_rule()
        evidence = replace(some_evidence(rule.versions.get()), rate_ids=(rate.pk, 999_999))
        text = words(read(manager, an_advised_proposal(rule, evidence=evidence.as_json(), evidence_hash=evidence.hash)))
        assert "Price versions v1 Provider rates" in text
        assert f"{rate.series}" in text
        assert "Rate 999999" in text

    def test_reads_its_page_in_a_fixed_number_of_queries(self, manager: Client) -> None:
        few, many = an_advised_proposal(), an_advised_proposal(a_rule("image.edit"), backtest=a_backtest(customers=50))
        read(manager, few)
        counts = []
        for proposal in (few, many):
            with CaptureQueriesContext(connection) as queries:
                read(manager, proposal)
            counts.append(len(queries))
        assert counts[0] == counts[1]


class TestAfterAnEdit:
    """What the Advisor said is of its own price, and not of the one that stands in its place."""

    @pytest.fixture
    def text(self, manager: Client, author: User) -> str:
        return words(read(manager, change(an_advised_proposal(), author, "4.2")))

    def test_no_margin_of_another_price_is_shown(self, text: str) -> None:
        assert "Margin now 46.4 %" in text
        assert "Margin with this price" not in text
        assert "52.4 %" not in text

    def test_its_verdict_and_guardrails_are_named_as_its_own(self, text: str) -> None:
        assert "The Advisor: raise the price" in text
        assert "Guardrails of the Advisor&#x27;s price" in text

    def test_the_time_line_says_why_the_price_is_what_it_is_now(self, manager: Client) -> None:
        rule = Proposal.objects.get().rule
        line = words(manager.get(reverse("admin:pricing_pricerule_change", args=[rule.pk])).content.decode())
        assert re.search("A round figure . Pricing Advisor, edited by anna", line)
        assert "Raise chat.reply by 12.5 %" not in line

    @pytest.fixture(autouse=True)
    def _made(self, text: str) -> None:
        pass


class TestPageOfAPerson:
    def test_needs_no_evidence(self, manager: Client, author: User) -> None:
        text = words(read(manager, a_persons_proposal(author)))
        assert "Change chat.reply/default: 4 → 4.5 per event (+12.5 %)" in text
        assert "The new model costs more" in text
        assert "Money at 0.01 USD a credit: the workspace&#x27;s credit value." in text
        assert "No backtest yet" in text
        assert "Evidence" not in text
        assert "Guardrails" not in text

    def test_the_first_price_of_a_rule(self, manager: Client, author: User) -> None:
        rule = a_rule()
        bare = PriceRule.objects.create(event_type=rule.event_type, segment="plan", segment_key="pro")
        text = words(read(manager, a_persons_proposal(author, bare, base_version=None)))
        assert "Change chat.reply/plan/pro: its first price" in text
        assert "No price: events fall to a wider rule" in text

    def test_several_figures_at_once(self, manager: Client, author: User) -> None:
        definition = a_definition("5", minimum="5", rounding_step="0.5", rounding_mode="up")
        text = words(read(manager, a_persons_proposal(author, definition=definition)))
        assert "3 figures change, one of them by +25.0 %" in text
        assert "new up, in steps of 0.5" in text

    @pytest.mark.parametrize(
        ("per_thousand", "told"),
        [(("2", "5"), "2 figures, each by +25.0 %"), (("1.99", "4.98"), "2 figures, by +24.4 % to +24.5 %")],
    )
    def test_says_by_how_much_several_figures_change(self, manager: Client, author: User, per_thousand: tuple[str, str], told: str) -> None:
        def price(*credits: str) -> dict[str, Any]:
            units = zip(("input", "output"), credits, strict=True)
            parts = [{"unit": unit, "credits": each, "per": 1000, "model_class": "", "models": []} for unit, each in units]
            return a_definition("0", components=parts)

        rule = PriceRuleFactory.create(event_type__name="chat.reply")
        PriceVersionFactory.create(rule=rule, credits_per_event=0, components=price("1.6", "4")["components"], effective_from=LAST_YEAR)
        assert told in words(read(manager, a_persons_proposal(author, rule, definition=price(*per_thousand))))

    def test_shows_what_people_typed_as_text(self, manager: Client, author: User) -> None:
        rule = a_rule(segment="plan", segment_key=f"pro{SCRIPT}")
        component = {"unit": "output", "credits": "1", "per": 1000, "model_class": SCRIPT, "models": [SCRIPT]}
        definition = a_definition(components=[component])
        proposal = a_persons_proposal(author, rule, reason=f"Because {SCRIPT}", definition=definition)
        for html in (
            read(manager, proposal),
            manager.get(reverse("admin:pricing_proposal_changelist")).content.decode(),
            dialogs.opened(manager, "pricing_proposal_apply", proposal),
            manager.get(reverse("admin:pricing_proposal_edit", args=[proposal.pk])).content.decode(),
        ):
            assert SCRIPT not in html
        assert "Because &lt;script&gt;" in read(manager, proposal)


class TestReplay:
    def a_real_one(self, **fields: Any) -> Proposal:
        rule = a_rule()
        evidence = some_evidence(rule.versions.get())
        advice = recommend(evidence, POLICY)
        assert advice.definition is not None
        given = {"definition": advice.definition.as_json(), "recommendation": advice.as_json(), "reason": advice.headline}
        return an_advised_proposal(rule, **given | fields)

    def test_gives_the_same_bytes(self, manager: Client) -> None:
        page = read(manager, self.a_real_one())
        assert "The same evidence and policy give the same recommendation, byte for byte." in page

    def test_shows_no_sentence_twice(self, manager: Client) -> None:
        proposal = self.a_real_one()
        found = proposal.recommendation
        assert found is not None
        page = read(manager, proposal)
        told = [*found["rationale"], *(guard["sentence"] for guard in found["guardrails"])]
        assert {sentence: page.count(escape(sentence)) for sentence in told} == dict.fromkeys(told, 1)

    def test_tells_when_it_comes_out_otherwise(self, manager: Client) -> None:
        assert "This release advises otherwise on the same evidence" in read(manager, an_advised_proposal())

    def test_tells_when_the_evidence_is_not_what_was_hashed(self, manager: Client) -> None:
        assert "not what its hash was made of" in read(manager, an_advised_proposal(evidence_hash="0" * 64))

    def test_tells_when_it_cannot_be_done(self, manager: Client) -> None:
        page = read(manager, an_advised_proposal(policy=POLICY.as_json() | {"target_margin": "1"}))
        assert "This release cannot advise on evidence of that time (ValueError: no price meets" in page


class TestPanels:
    @pytest.fixture(autouse=True)
    def _a_panel(self) -> Iterator[None]:
        panel = lambda proposal: "Came out as predicted" if proposal.version else ""  # noqa: E731
        panels.ON_PROPOSAL.append(panel)
        yield
        panels.ON_PROPOSAL.remove(panel)

    def test_of_rooms_above_are_shown_where_they_have_something_to_say(self, manager: Client, author: User) -> None:
        proposal = a_persons_proposal(author)
        assert "Came out as predicted" not in read(manager, proposal)
        send(manager, "apply", proposal, effective_from=typed(tomorrow()), reason="It does")
        assert "Came out as predicted" in read(manager, proposal)
