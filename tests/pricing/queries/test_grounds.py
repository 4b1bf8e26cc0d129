"""What makes evidence outdated, in the list and on the page alike: the policy, a rate of its days, re-rated usage."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

from pricing.models import PriceRule, Proposal, ProviderRate, Workspace
from pricing.queries import grounds, proposals
from pricing.services import advising, prices, rate_changes
from tests.pricing.factories import LAST_YEAR, NOW, PriceRuleFactory, ProviderRateFactory, RateSeriesFactory
from tests.pricing.proposing import a_proposal, advised, evidence_of

pytestmark = pytest.mark.django_db
SOON = NOW + timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def ann() -> User:
    return User.objects.create(username="ann")


@pytest.fixture
def rule() -> PriceRule:
    made: PriceRule = PriceRuleFactory.create(event_type__name="chat.reply")
    prices.publish_version(rule=made, credits_per_event=Decimal(4), effective_from=LAST_YEAR, reason="Opening", actor=None, now=NOW)
    return made


@pytest.fixture
def rate() -> ProviderRate:
    made: ProviderRate = ProviderRateFactory.create(series__provider_model__name="claude-large")
    return made


def standing_on(rule: PriceRule, *rates: ProviderRate) -> Proposal:
    version = rule.versions.get()
    evidence = replace(evidence_of(rule), rate_ids=tuple(rate.pk for rate in rates), price_version_ids=(version.pk,))
    proposal = advised(rule, evidence=evidence)
    assert proposal is not None
    return proposal


def said(proposal: Proposal) -> str:
    """Return what the page says, and see that the list says the same."""
    proposal.refresh_from_db()
    text = " ".join(grounds.changes(proposal))
    assert proposals.is_stale(proposals.with_staleness().get(pk=proposal.pk)) == bool(text)
    return text


def correct(rate: ProviderRate, ann: User, **fields: Any) -> None:
    usual: dict[str, Any] = {"price": Decimal(5), "per": 1_000_000, "source": "invoice", "reason": "A slip", "now": SOON}
    rate_changes.correct(rate=rate, actor=ann, **usual | fields)


class TestEvidence:
    def test_stands_as_long_as_nothing_changes(self, rule: PriceRule, rate: ProviderRate) -> None:
        assert said(standing_on(rule, rate)) == ""

    def test_a_persons_proposal_stands_on_none(self, rule: PriceRule, ann: User) -> None:
        proposal = a_proposal(rule, ann)
        Workspace.objects.update(target_margin=Decimal("0.7"))
        assert said(proposal) == ""

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"target_margin": "0.7"}, "the target margin is 70.0 % instead of 60.0 %"),
            ({"advisor_cooldown_days": 7}, "the rest after a change is 7 days instead of 14 days"),
            ({"credit_value": "0.02"}, "the value of a credit is 0.02 instead of 0.01"),
            ({"currency": "EUR"}, "The book currency is EUR now; the evidence is in USD."),
        ],
    )
    def test_was_weighed_by_another_policy(self, change: dict[str, Any], words: str, rule: PriceRule, rate: ProviderRate) -> None:
        proposal = standing_on(rule, rate)
        Workspace.objects.update_or_create(pk=1, defaults=change)
        assert words in said(proposal)
        Workspace.objects.update(target_margin="0.6000", advisor_cooldown_days=14, credit_value="0.010", currency="USD")
        assert said(proposal) == ""

    def test_is_not_about_what_the_workspace_says_besides(self, rule: PriceRule) -> None:
        proposal = standing_on(rule)
        Workspace.objects.update_or_create(pk=1, defaults={"name": "Acme", "approval_limit_credits": 5})
        assert said(proposal) == ""


class TestRates:
    def test_that_was_corrected_is_another(self, rule: PriceRule, rate: ProviderRate, ann: User) -> None:
        proposal = standing_on(rule, rate)
        correct(rate, ann)
        new = ProviderRate.objects.get(corrects=rate)
        assert f"another figure now: anthropic/claude-large input, 5 USD per 1,000,000 (rate {new.pk})." in said(proposal)

    def test_that_was_right_until_after_the_evidence_is_the_same(self, rule: PriceRule, rate: ProviderRate, ann: User) -> None:
        proposal = standing_on(rule, rate)
        correct(rate, ann, since=NOW + timedelta(minutes=30))
        assert said(proposal) == ""

    def test_that_was_corrected_before_was_known(self, rule: PriceRule, rate: ProviderRate, ann: User) -> None:
        correct(rate, ann, now=NOW - DAY)
        assert said(standing_on(rule, rate)) == ""

    def test_of_which_nothing_was_used_does_not_matter(self, rule: PriceRule, rate: ProviderRate, ann: User) -> None:
        proposal = standing_on(rule, rate)
        output = RateSeriesFactory.create(provider_model=rate.series.provider_model, unit_kind="output")
        correct(ProviderRateFactory.create(series=output), ann)

        assert said(proposal) == ""

    @pytest.mark.parametrize(("starts", "is_another"), [(NOW - DAY, True), (NOW, False)])
    def test_dated_back_into_its_days_is_another(self, starts: datetime, is_another: bool, rule: PriceRule, rate: ProviderRate) -> None:
        proposal = standing_on(rule, rate)
        ProviderRate.objects.filter(pk=rate.pk).update(effective_to=starts)
        ProviderRateFactory.create(series=rate.series, price=Decimal(4), effective_from=starts, created_at=SOON)
        assert bool(said(proposal)) is is_another


class TestReratedUsage:
    @pytest.mark.parametrize(("at", "is_marked"), [(NOW - DAY, True), (NOW - 28 * DAY, True), (NOW, False), (NOW - 29 * DAY, False)])
    def test_of_its_days_makes_it_outdated(self, at: datetime, is_marked: bool, rule: PriceRule) -> None:
        proposal = standing_on(rule)
        version = rule.versions.get()
        assert advising.note_recosted(charged={(version.pk, at)}, now=SOON) == is_marked
        assert ("re-rated" in said(proposal)) is is_marked

    def test_of_another_price_does_not(self, rule: PriceRule) -> None:
        proposal = standing_on(rule)
        other = PriceRuleFactory.create()
        version = prices.publish_version(
            rule=other, credits_per_event=Decimal(4), effective_from=LAST_YEAR, reason="x", actor=None, now=NOW
        )
        assert advising.note_recosted(charged={(version.pk, NOW - DAY)}, now=SOON) == 0
        assert said(proposal) == ""
