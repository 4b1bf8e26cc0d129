from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.contrib.auth.models import User

from pricing.definition import Definition
from pricing.models import PriceRule, PriceVersion, Proposal, Workspace
from pricing.price import Component, Tier
from pricing.queries import proposals as queries
from pricing.services import advising, proposal_steps, proposals
from pricing.services.refusals import (
    FourEyesError,
    InvalidPriceError,
    LaterVersionError,
    MissingStartError,
    NeedsApprovalError,
    NothingToUndoError,
    NotTheAuthorError,
    OpenProposalError,
    PriceRefusedError,
    ProposalDecidedError,
    ProposalIsDraftError,
    StaleProposalError,
    StartsTooSoonError,
    UnchangedPriceError,
    UnseenEditError,
)
from tests.billing.services.rivals import at_once
from tests.pricing.factories import LAST_YEAR, NOW, PriceRuleFactory
from tests.pricing.proposing import TOMORROW, a_price, a_proposal, advised, another_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def cem() -> User:
    return User.objects.create(username="cem")


class TestApproving:
    def test_publishes_the_proposed_price(self, rule: PriceRule, ann: User, ben: User) -> None:
        component, tier = Component("output", Decimal("0.50"), 1000, "large", ("gpt-5",)), Tier(Decimal(10), Decimal("3.0"))
        price = a_price("5.10", components=(component,), tiers=(tier,), minimum=Decimal(1), rounding_step=Decimal("0.5"))
        proposal = a_proposal(rule, ann, definition=price)
        version = proposals.approve(proposal=proposal, reason="Agreed", actor=ben, now=NOW)
        assert (version.number, version.definition().as_json(), version.effective_from) == (2, price.as_json(), TOMORROW)
        assert (version.created_by, version.approved_by, version.reason) == (ann, ben, "Costs rose")
        assert PriceVersion.objects.get(rule=rule, number=1).effective_to == TOMORROW
        stored = Proposal.objects.get()
        assert (stored.state, stored.version, stored.decided_by, stored.decision_reason) == ("approved", version, ben, "Agreed")
        assert not queries.open_proposals().exists()

    def test_whoever_approves_may_choose_another_start(self, rule: PriceRule, ann: User, ben: User) -> None:
        later = TOMORROW + timedelta(days=3)
        assert (
            proposals.approve(proposal=a_proposal(rule, ann), effective_from=later, reason="Ok", actor=ben, now=NOW).effective_from == later
        )

    def test_somebody_has_to_say_when(self, rule: PriceRule, ann: User, ben: User) -> None:
        proposal = a_proposal(rule, ann, effective_from=None)
        with pytest.raises(MissingStartError, match="say from when on"):
            proposals.approve(proposal=proposal, reason="Ok", actor=ben, now=NOW)
        assert proposals.approve(proposal=proposal, effective_from=TOMORROW, reason="Ok", actor=ben, now=NOW).number == 2

    def test_a_start_that_has_passed_meanwhile_is_refused_and_nothing_is_decided(self, rule: PriceRule, ann: User, ben: User) -> None:
        proposal = a_proposal(rule, ann)
        with pytest.raises(StartsTooSoonError, match="let the new version start at"):
            proposals.approve(proposal=proposal, reason="Ok", actor=ben, now=TOMORROW)
        proposal.refresh_from_db()
        assert (proposal.state, rule.versions.count()) == ("proposed", 1)

    def test_nobody_approves_what_they_proposed(self, rule: PriceRule, ann: User) -> None:
        proposal = a_proposal(rule, ann)
        for decide in (proposals.approve, proposals.reject):
            with pytest.raises(FourEyesError, match="another person decides") as refused:
                decide(proposal=proposal, reason="Ok", actor=ann, now=NOW)
            assert refused.value.code == "four_eyes"
        assert rule.versions.count() == 1

    def test_a_decision_has_a_reason(self, rule: PriceRule, ann: User, ben: User) -> None:
        proposal = a_proposal(rule, ann)
        for decide in (proposals.approve, proposals.reject):
            with pytest.raises(InvalidPriceError, match="reason"):
                decide(proposal=proposal, reason=" ", actor=ben, now=NOW)

    def test_a_stale_one_is_refused(self, rule: PriceRule, ann: User, ben: User) -> None:
        proposal = a_proposal(rule, ann)
        assert [queries.is_stale(row) for row in queries.open_proposals()] == [False]
        another_version(rule)
        assert [queries.is_stale(row) for row in queries.open_proposals()] == [True]
        with pytest.raises(StaleProposalError, match=r"chat.reply/default v2 has come since .* propose anew") as refused:
            proposals.approve(proposal=proposal, effective_from=TOMORROW + timedelta(days=9), reason="Ok", actor=ben, now=NOW)
        assert refused.value.code == "stale_proposal"
        proposals.reject(proposal=proposal, reason="Overtaken", actor=ben, now=NOW)
        assert [queries.is_stale(row) for row in queries.of_rule(rule)] == [False]

    def test_what_was_decided_is_decided(self, rule: PriceRule, ann: User, ben: User, cem: User) -> None:
        proposal = a_proposal(rule, ann)
        proposals.reject(proposal=proposal, reason="Too much", actor=ben, now=NOW)
        steps: list[Callable[..., object]] = [
            partial(proposals.approve, reason="Ok", actor=cem, now=NOW),
            partial(proposals.reject, reason="No", actor=cem, now=NOW),
            partial(proposals.withdraw, actor=ann, now=NOW),
            partial(proposals.submit, actor=ann, now=NOW),
            partial(proposals.edit, definition=a_price("6"), effective_from=None, reason="x", actor=cem, now=NOW),
            partial(advising.record_backtest, definition=a_price(), backtest={}),
        ]
        for step in steps:
            with pytest.raises(ProposalDecidedError, match="was rejected by ben meanwhile") as refused:
                step(proposal=proposal)
            assert refused.value.code == "proposal_decided"


class TestOutdatedEvidence:
    @pytest.fixture
    def outdated(self, rule: PriceRule) -> Proposal:
        proposal = advised(rule)
        assert proposal is not None
        Workspace.objects.update(target_margin=Decimal("0.7"))
        return proposal

    def test_is_refused_with_what_changed_and_what_to_do(self, outdated: Proposal, ann: User) -> None:
        steps: list[Callable[..., object]] = [
            partial(proposals.approve, effective_from=TOMORROW),
            partial(proposals.edit, definition=a_price("7"), effective_from=None),
        ]
        for step in steps:
            with pytest.raises(StaleProposalError, match=r"margin is 70\.0 % instead of 60\.0 %\. Let the Advisor") as refused:
                step(proposal=outdated, reason="Ok", actor=ann, now=NOW)
            assert refused.value.code == "stale_proposal"
        outdated.refresh_from_db()
        assert (outdated.state, outdated.rule.versions.count()) == ("proposed", 1)

    def test_can_be_rejected(self, outdated: Proposal, ann: User) -> None:
        assert proposals.reject(proposal=outdated, reason="Old", actor=ann, now=NOW).state == "rejected"

    def test_of_an_edited_price_as_well(self, rule: PriceRule, ann: User, ben: User) -> None:
        proposal = advised(rule)
        assert proposal is not None
        proposals.edit(proposal=proposal, definition=a_price("6"), effective_from=None, reason="Rounder", actor=ann, now=NOW)
        Workspace.objects.update(target_margin=Decimal("0.7"))
        with pytest.raises(StaleProposalError):
            proposals.approve(proposal=proposal, effective_from=TOMORROW, reason="Ok", actor=ben, now=NOW)
        assert a_proposal(rule, ben).state == "proposed"


@pytest.mark.django_db(transaction=True)
class TestTwoAtOnce:
    def test_one_decision_wins_and_the_others_hear_of_it(self, rule: PriceRule, ann: User, ben: User, cem: User) -> None:
        proposal = a_proposal(rule, ann)
        steps: tuple[Callable[..., object], ...] = (proposals.approve, proposals.reject)
        results = at_once([partial(step, proposal=proposal, reason="Mine", now=NOW, actor=who) for step in steps for who in (ben, cem)])
        won = [result for result in results if not isinstance(result, Exception)]
        lost = [result for result in results if isinstance(result, Exception)]
        assert len(won) == 1
        assert [type(error) for error in lost] == [ProposalDecidedError] * 3, lost
        proposal.refresh_from_db()
        assert rule.versions.count() == (2 if proposal.state == "approved" else 1)

    def test_one_proposal_waits(self, rule: PriceRule, ann: User, ben: User) -> None:
        results = at_once([partial(a_proposal, rule, person, definition=a_price(credits)) for person, credits in ((ann, "5"), (ben, "6"))])
        assert [type(result) for result in results if isinstance(result, Exception)] == [OpenProposalError]
        assert Proposal.objects.count() == 1


class TestProposing:
    def test_one_waits_at_a_time(self, rule: PriceRule, ann: User, ben: User) -> None:
        a_proposal(rule, ann)
        with pytest.raises(OpenProposalError, match="by ann waits for a decision") as refused:
            a_proposal(rule, ben, definition=a_price("6"))
        assert refused.value.code == "proposal_open_exists"

    def test_takes_the_place_of_a_stale_one(self, rule: PriceRule, ann: User, ben: User) -> None:
        old = a_proposal(rule, ann)
        another_version(rule)
        a_proposal(rule, ben, effective_from=None)
        old.refresh_from_db()
        assert (old.state, old.decided_by, old.decision_reason) == ("superseded", None, "ben proposed another price.")

    def test_refuses_what_could_not_be_published(self, rule: PriceRule, ann: User) -> None:
        with pytest.raises(InvalidPriceError, match="at most 6 decimal places") as refused:
            a_proposal(rule, ann, definition=a_price("0.0000001"), reason=" ")
        assert [field for field, _ in refused.value.problems] == ["credits_per_event", "reason"]
        with pytest.raises(UnchangedPriceError, match="v1 is this very price already"):
            a_proposal(rule, ann, definition=a_price("4.00"))
        with pytest.raises(StartsTooSoonError):
            a_proposal(rule, ann, effective_from=NOW)
        another_version(rule)
        with pytest.raises(LaterVersionError):
            a_proposal(rule, ann, effective_from=TOMORROW)
        assert not Proposal.objects.exists()

    def test_a_rule_without_a_price_may_have_one_proposed(self, ann: User, ben: User) -> None:
        proposal = a_proposal(PriceRuleFactory.create(), ann, effective_from=LAST_YEAR)
        assert proposals.approve(proposal=proposal, reason="Ok", actor=ben, now=NOW).number == 1


class TestDrafts:
    @pytest.fixture
    def draft(self, rule: PriceRule, ann: User) -> Proposal:
        return proposals.save_draft(rule=rule, definition=a_price("6"), reason="An idea", actor=ann, now=NOW)

    def test_nobody_decides_on_one(self, draft: Proposal, ben: User) -> None:
        assert not queries.open_proposals().exists()
        assert list(queries.drafts()) == [draft]
        for decide in (proposals.approve, proposals.reject):
            with pytest.raises(ProposalIsDraftError, match="ann submits it first"):
                decide(proposal=draft, reason="Ok", actor=ben, now=NOW)

    def test_is_rewritten_as_it_stands_and_submitted(self, draft: Proposal, ann: User) -> None:
        edited = proposals.edit(proposal=draft, definition=a_price("7"), effective_from=TOMORROW, reason="Better", actor=ann, now=NOW)
        assert (edited.original, edited.edited_by, edited.reason) == (None, None, "Better")
        asked = proposals.submit(proposal=draft, actor=ann, now=NOW)
        assert (asked.state, asked.as_definition().credits_per_event) == ("proposed", 7)
        with pytest.raises(ProposalDecidedError, match="submitted already"):
            proposals.submit(proposal=draft, actor=ann, now=NOW)

    def test_is_its_authors_own(self, draft: Proposal, ben: User) -> None:
        steps = [
            partial(proposals.submit, actor=ben, now=NOW),
            partial(proposals.withdraw, actor=ben, now=NOW),
            partial(proposals.edit, definition=a_price("7"), effective_from=None, reason="x", actor=ben, now=NOW),
        ]
        for step in steps:
            with pytest.raises(NotTheAuthorError, match="this is by ann") as refused:
                step(proposal=draft)
            assert refused.value.code == "proposal_not_yours"

    def test_stands_beside_an_open_one_and_can_be_stale(self, draft: Proposal, rule: PriceRule, ann: User, ben: User) -> None:
        a_proposal(rule, ben)
        with pytest.raises(OpenProposalError):
            proposals.submit(proposal=draft, actor=ann, now=NOW)
        another_version(rule)
        with pytest.raises(StaleProposalError):
            proposals.submit(proposal=draft, actor=ann, now=NOW)
        assert proposals.withdraw(proposal=draft, actor=ann, now=NOW).state == "withdrawn"


class TestEditing:
    def test_keeps_the_first_price_and_every_edit(self, rule: PriceRule, ann: User, ben: User, cem: User) -> None:
        proposal = a_proposal(rule, ann)
        proposals.edit(proposal=proposal, definition=a_price("6"), effective_from=TOMORROW, reason="A round number", actor=ben, now=NOW)
        row = proposals.edit(proposal=proposal, definition=a_price("7"), effective_from=None, reason="More", actor=cem, now=NOW)
        assert row.original == a_price("5").as_json()
        assert (row.as_definition().credits_per_event, row.edited_by, row.edited_at, row.reason) == (7, cem, NOW, "Costs rose")
        assert [(edit.edited_by, edit.definition["credits_per_event"], edit.reason) for edit in row.edits.all()] == [
            (ben, "6", "A round number"),
            (cem, "7", "More"),
        ]

    def test_nobody_who_edited_approves(self, rule: PriceRule, ann: User, ben: User, cem: User) -> None:
        """Not even who edited before somebody else did, else two could pass a price on between them."""
        proposal = a_proposal(rule, ann)
        for person, credits in ((ben, "6"), (cem, "7")):
            proposals.edit(proposal=proposal, definition=a_price(credits), effective_from=TOMORROW, reason="x", actor=person, now=NOW)
        for person in (ann, ben, cem):
            with pytest.raises(FourEyesError):
                proposals.approve(proposal=proposal, reason="Ok", actor=person, now=NOW)
        dora = User.objects.create(username="dora")
        version = proposals.approve(proposal=proposal, reason="Ok", actor=dora, now=NOW)
        assert (version.created_by, version.approved_by, version.credits_per_event) == (cem, dora, 7)

    def test_nobody_approves_an_edit_unseen(self, rule: PriceRule, ann: User, ben: User, cem: User) -> None:
        proposal = a_proposal(rule, ann)
        seen = proposal_steps.fingerprint(proposal)
        proposals.edit(proposal=proposal, definition=a_price("50"), effective_from=TOMORROW, reason="A slip", actor=ben, now=NOW)
        with pytest.raises(StaleProposalError, match="edited since you opened it"):
            proposals.approve(proposal=proposal, reason="Ok", actor=cem, seen=seen, now=NOW)
        proposal.refresh_from_db()
        version = proposals.approve(proposal=proposal, reason="Ok", actor=cem, seen=proposal_steps.fingerprint(proposal), now=NOW)
        assert (version.credits_per_event, version.reason) == (50, "A slip")

    def test_nobody_edits_over_an_edit_unseen(self, rule: PriceRule, ann: User, ben: User, cem: User) -> None:
        proposal = a_proposal(rule, ann)
        seen = proposal_steps.fingerprint(proposal)
        proposals.edit(proposal=proposal, definition=a_price("6"), effective_from=TOMORROW, reason="x", actor=ben, seen=seen, now=NOW)
        over = partial(proposals.edit, proposal=proposal, definition=a_price("7"), effective_from=TOMORROW, reason="y", actor=cem, now=NOW)
        with pytest.raises(UnseenEditError, match="By ben it is now: 6 credits per chat") as refused:
            over(seen=seen)
        assert refused.value.code == "proposal_edited_meanwhile"
        proposal.refresh_from_db()
        assert (proposal.edited_by, proposal.edits.count()) == (ben, 1)
        assert over(seen=proposal_steps.fingerprint(proposal)).edited_by == cem

    def test_another_start_is_an_edit_too(self, rule: PriceRule, ann: User, ben: User, cem: User) -> None:
        proposal = a_proposal(rule, ann)
        seen = proposal_steps.fingerprint(proposal)
        later = TOMORROW + timedelta(days=9)
        proposals.edit(proposal=proposal, definition=a_price("5"), effective_from=later, reason="x", actor=ben, seen=seen, now=NOW)
        with pytest.raises(UnseenEditError):
            proposals.approve(proposal=proposal, reason="Ok", actor=cem, seen=seen, now=NOW)

    def test_refuses_what_proposing_refuses(self, rule: PriceRule, ann: User, ben: User) -> None:
        edit = partial(proposals.edit, proposal=a_proposal(rule, ann), actor=ben, now=NOW)
        with pytest.raises(UnchangedPriceError):
            edit(definition=a_price("4"), effective_from=TOMORROW, reason="x")
        with pytest.raises(InvalidPriceError):
            edit(definition=a_price("6"), effective_from=TOMORROW, reason="")
        with pytest.raises(StartsTooSoonError):
            edit(definition=a_price("6"), effective_from=NOW, reason="x")
        another_version(rule)
        with pytest.raises(StaleProposalError):
            edit(definition=a_price("6"), effective_from=None, reason="x")
        assert not Proposal.objects.get().edits.exists()


class TestWithdrawing:
    def test_is_for_its_author(self, rule: PriceRule, ann: User, ben: User) -> None:
        proposal = a_proposal(rule, ann)
        with pytest.raises(NotTheAuthorError):
            proposals.withdraw(proposal=proposal, actor=ben, now=NOW)
        assert proposals.withdraw(proposal=proposal, reason="Thought again", actor=ann, now=NOW).state == "withdrawn"
        assert a_proposal(rule, ben).state == "proposed"

    def test_nobody_withdraws_for_the_advisor(self, rule: PriceRule, ann: User) -> None:
        proposal = advised(rule)
        assert proposal is not None
        with pytest.raises(NotTheAuthorError, match="by the Pricing Advisor"):
            proposals.withdraw(proposal=proposal, actor=ann, now=NOW)


class TestUndoing:
    def test_proposes_what_was_in_force_before(self, rule: PriceRule, ann: User, ben: User) -> None:
        second = proposals.approve(proposal=a_proposal(rule, ann), reason="Ok", actor=ben, now=NOW)
        proposal = proposals.undo(version=second, reason="Customers left", actor=ann, now=NOW)
        assert (proposal.state, proposal.undoes, proposal.base_version) == ("proposed", second, second)
        with pytest.raises(FourEyesError):
            proposals.approve(proposal=proposal, effective_from=TOMORROW + timedelta(days=1), reason="Ok", actor=ann, now=NOW)
        third = proposals.approve(proposal=proposal, effective_from=TOMORROW + timedelta(days=1), reason="Ok", actor=ben, now=NOW)
        assert third.definition().as_json() == rule.versions.get(number=1).definition().as_json()

    def test_needs_something_to_go_back_to(self, rule: PriceRule, ann: User) -> None:
        first = rule.versions.get()
        with pytest.raises(NothingToUndoError, match="first price"):
            proposals.undo(version=first, reason="x", actor=ann, now=NOW)
        another_version(rule)
        with pytest.raises(NothingToUndoError, match=r"has been followed by chat.reply/default v2"):
            proposals.undo(version=first, reason="x", actor=ann, now=NOW)


class TestPublishingDirectly:
    def test_is_for_a_first_price(self, ann: User) -> None:
        rule = PriceRuleFactory.create()
        version = self.publish(rule, ann)
        assert (version.number, version.created_by, version.approved_by) == (1, ann, None)

    def test_is_refused_for_a_price_in_force(self, rule: PriceRule, ann: User) -> None:
        with pytest.raises(NeedsApprovalError, match="propose it instead") as refused:
            self.publish(rule, ann)
        assert refused.value.code == "price_needs_approval"

    def test_a_first_price_beside_another_one_needs_approval_and_starts_ahead(self, rule: PriceRule, ann: User, ben: User) -> None:
        """It takes customers from the price that they have."""
        plan = PriceRuleFactory.create(event_type=rule.event_type, segment="plan", segment_key="pro")
        with pytest.raises(NeedsApprovalError):
            self.publish(plan, ann)
        with pytest.raises(StartsTooSoonError):
            a_proposal(plan, ann, effective_from=NOW - timedelta(days=7))
        proposal = a_proposal(plan, ann, effective_from=None)
        with pytest.raises(StartsTooSoonError):
            proposals.approve(proposal=proposal, effective_from=NOW, reason="Ok", actor=ben, now=NOW)
        assert proposals.approve(proposal=proposal, effective_from=TOMORROW, reason="Ok", actor=ben, now=NOW).number == 1

    def test_is_let_pass_where_the_workspace_asks_for_no_approval(self, rule: PriceRule, ann: User) -> None:
        Workspace.objects.update(prices_need_approval=False)
        assert self.publish(rule, ann).number == 2

    def publish(self, rule: PriceRule, actor: User, price: Definition | None = None) -> PriceVersion:
        return proposals.publish_directly(
            rule=rule, definition=price or a_price(), effective_from=TOMORROW, reason="Why not", actor=actor, now=NOW
        )


def test_every_refusal_has_a_code_of_its_own() -> None:
    kinds = PriceRefusedError.__subclasses__()
    assert len({kind.code for kind in kinds}) == len(kinds)
