from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError

from config.roles import Role
from pricing.models import GivenAdvice, PriceRule, Proposal, ProposalNotice, Workspace
from pricing.queries import proposals as queries
from pricing.services import advising, proposals
from pricing.services.refusals import (
    OpenProposalError,
)
from tests.people import a_person
from tests.pricing.factories import NOW
from tests.pricing.proposing import POLICY, TOMORROW, a_price, a_proposal, advised, an_advice, another_version, evidence_of

pytestmark = pytest.mark.django_db


class TestAdvising:
    def test_proposes_with_all_that_it_stands_on(self, rule: PriceRule, ann: User) -> None:
        proposal = advised(rule, backtest={"events": 7})
        assert proposal is not None
        stored = Proposal.objects.get()
        assert (stored.source, stored.state, stored.created_by, stored.reason) == ("advisor", "proposed", None, "Raise it")
        assert (stored.evidence_hash, stored.backtest) == (evidence_of(rule).hash, {"events": 7})
        assert (stored.policy or {})["cooldown_days"] == 14
        version = proposals.approve(proposal=stored, effective_from=TOMORROW, reason="Ok", actor=ann, now=NOW)
        assert (version.created_by, version.approved_by) == (None, ann)

    def test_leaves_what_it_said_already(self, rule: PriceRule) -> None:
        first = advised(rule)
        assert advised(rule) == first
        assert Proposal.objects.count() == 1

    @pytest.mark.parametrize(("credits", "events"), [("6", 500), ("5", 501)])
    def test_replaces_its_own_with_newer_evidence_or_another_price(self, rule: PriceRule, credits: str, events: int) -> None:
        first = advised(rule)
        second = advised(rule, recommendation=an_advice(credits), evidence=evidence_of(rule, events=events))
        assert first is not None
        first.refresh_from_db()
        assert (first.state, first != second) == ("superseded", True)
        assert list(queries.open_proposals()) == [second]

    @pytest.mark.parametrize("verdict", ["keep", "fix", "withhold"])
    def test_takes_back_what_it_does_not_recommend_any_more(self, rule: PriceRule, verdict: str) -> None:
        first = advised(rule)
        assert first is not None
        assert advised(rule, recommendation=an_advice("5", verdict)) is None
        first.refresh_from_db()
        assert first.state == "superseded"

    def test_never_stands_beside_a_persons(self, rule: PriceRule, ann: User) -> None:
        a_proposal(rule, ann)
        assert advised(rule) is None
        assert Proposal.objects.get().state == "proposed"

    def test_takes_the_place_of_a_persons_that_is_stale(self, rule: PriceRule, ann: User) -> None:
        a_proposal(rule, ann)
        another_version(rule)
        made = advised(rule, evidence=evidence_of(rule))
        assert made is not None
        assert list(queries.open_proposals()) == [made]

    def test_asks_the_same_people_about_a_price_once(self, rule: PriceRule) -> None:
        boss = a_person(Role.FINANCE)
        User.objects.filter(pk=boss.pk).update(email="boss@example.com")
        advised(rule)
        advised(rule, evidence=evidence_of(rule, events=501))
        assert ProposalNotice.objects.filter(recipient=boss).count() == 1
        advised(rule, recommendation=an_advice("6"), evidence=evidence_of(rule, events=502))
        assert ProposalNotice.objects.filter(recipient=boss).count() == 2

    def test_leaves_alone_what_a_person_made_of_its_price(self, rule: PriceRule, ann: User, ben: User) -> None:
        proposal = advised(rule)
        assert proposal is not None
        proposals.edit(proposal=proposal, definition=a_price("6"), effective_from=None, reason="Rounder", actor=ann, now=NOW)
        assert advised(rule, evidence=evidence_of(rule, events=501)) is None
        with pytest.raises(OpenProposalError):
            a_proposal(rule, ben)
        version = proposals.approve(proposal=proposal, effective_from=TOMORROW, reason="Ok", actor=ben, now=NOW)
        assert (version.created_by, version.approved_by) == (ann, ben)

    def test_gives_way_to_a_person(self, rule: PriceRule, ann: User) -> None:
        proposal = advised(rule)
        assert proposal is not None
        a_proposal(rule, ann)
        proposal.refresh_from_db()
        assert (proposal.state, proposal.decision_reason) == ("superseded", "ann proposed another price.")

    def test_rests_after_a_rejection(self, rule: PriceRule, ann: User) -> None:
        proposal = advised(rule)
        assert proposal is not None
        proposals.reject(proposal=proposal, reason="Not before Christmas", actor=ann, now=NOW)
        newer = evidence_of(rule, events=501)
        assert advised(rule, evidence=newer, now=NOW + timedelta(days=13)) is None
        assert advised(rule, evidence=newer, now=NOW + timedelta(days=14)) is not None

    def test_says_the_same_again_where_what_it_said_is_outdated(self, rule: PriceRule) -> None:
        first = advised(rule)
        assert first is not None
        Workspace.objects.update(target_margin=Decimal("0.7"))
        again = advised(rule, policy=replace(POLICY, target_margin=Decimal("0.7")), now=NOW + timedelta(hours=1))
        first.refresh_from_db()
        assert (first.state, again != first) == ("superseded", True)
        assert [queries.is_stale(row) for row in queries.open_proposals()] == [False]

    def test_takes_the_place_of_an_edited_one_that_is_outdated(self, rule: PriceRule, ann: User) -> None:
        first = advised(rule)
        assert first is not None
        proposals.edit(proposal=first, definition=a_price("6"), effective_from=None, reason="Rounder", actor=ann, now=NOW)
        Workspace.objects.update(target_margin=Decimal("0.7"))
        again = advised(rule, policy=replace(POLICY, target_margin=Decimal("0.7")))
        assert list(queries.open_proposals()) == [again]

    def test_has_nothing_to_say_about_a_price_that_goes_anyway(self, rule: PriceRule) -> None:
        about_the_first = evidence_of(rule)
        another_version(rule)
        assert advised(rule, evidence=about_the_first) is None


class TestKeepingItsWord:
    """Most of what the Advisor says opens no proposal, and is known all the same."""

    @pytest.mark.parametrize("verdict", ["keep", "fix", "withhold"])
    def test_that_proposes_nothing(self, rule: PriceRule, verdict: str) -> None:
        advised(rule, recommendation=an_advice("5", verdict))
        said = GivenAdvice.objects.get()
        assert (said.rule, said.verdict, said.headline, said.proposal, said.not_proposed) == (rule, verdict, "Raise it", None, "")
        assert (said.version_number, said.because, said.given_at) == (1, "margin 46.4 %, target 60.0 %", NOW)

    def test_that_proposes(self, rule: PriceRule) -> None:
        proposal = advised(rule)
        assert GivenAdvice.objects.get().proposal == proposal

    def test_the_latest_takes_the_place_of_the_one_before(self, rule: PriceRule) -> None:
        advised(rule)
        advised(rule, recommendation=an_advice("5", "keep"), now=TOMORROW)
        said = GivenAdvice.objects.get()
        assert (said.verdict, said.proposal, said.given_at) == ("keep", None, TOMORROW)

    def test_says_who_was_there_first(self, rule: PriceRule, ann: User) -> None:
        made = a_proposal(rule, ann)
        advised(rule)
        assert GivenAdvice.objects.get().not_proposed == f"proposal {made.pk} by ann waits for a decision"

    def test_says_that_it_rests_after_a_rejection(self, rule: PriceRule, ann: User) -> None:
        proposal = advised(rule)
        assert proposal is not None
        proposals.reject(proposal=proposal, reason="Not before Christmas", actor=ann, now=NOW)
        advised(rule, evidence=evidence_of(rule, events=501), now=NOW + timedelta(days=1))
        assert GivenAdvice.objects.get().not_proposed == "its last proposal was rejected; it rests for 14 days after that"

    def test_says_that_another_version_follows(self, rule: PriceRule) -> None:
        evidence = evidence_of(rule)
        another_version(rule)
        advised(rule, evidence=evidence)
        assert GivenAdvice.objects.get().not_proposed == "another version follows it"

    def test_a_change_without_an_outcome_is_refused_by_the_database(self, rule: PriceRule) -> None:
        with pytest.raises(IntegrityError, match="given_advice_says_what_came_of_it"):
            GivenAdvice.objects.create(rule=rule, version_number=1, verdict="raise", headline="Raise it", given_at=NOW)


class TestBacktests:
    def test_a_backtest_goes_with_the_price_that_it_is_of(self, rule: PriceRule, ann: User, ben: User) -> None:
        proposal = a_proposal(rule, ann)
        assert advising.record_backtest(proposal=proposal, definition=a_price("6"), backtest={"events": 1}).backtest is None
        advising.record_backtest(proposal=proposal, definition=a_price("5"), backtest={"events": 2})
        assert advising.record_backtest(proposal=proposal, definition=a_price("5"), backtest={"events": 3}).backtest == {"events": 2}
        edited = proposals.edit(proposal=proposal, definition=a_price("6"), effective_from=None, reason="x", actor=ben, now=NOW)
        assert edited.backtest is None
