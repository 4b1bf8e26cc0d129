"""What PostgreSQL itself refuses about proposals; raw SQL, so that no Python stands in the way."""

import json
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from pricing.models import PriceRule, PriceVersion, Proposal, ProposalEdit
from pricing.services import proposals
from tests.pricing.factories import LAST_YEAR, NOW, PriceRuleFactory, PriceVersionFactory
from tests.pricing.proposing import TOMORROW, a_price, a_proposal, advised

pytestmark = pytest.mark.django_db


def run(sql: str, *params: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, params)


@pytest.fixture
def ann() -> User:
    return User.objects.create(username="ann")


@pytest.fixture
def ben() -> User:
    return User.objects.create(username="ben")


@pytest.fixture
def rule() -> PriceRule:
    rule: PriceRule = PriceRuleFactory.create(event_type__name="chat.reply")
    PriceVersionFactory.create(rule=rule, effective_to=TOMORROW)
    return rule


@pytest.fixture
def proposal(rule: PriceRule, ann: User) -> Proposal:
    return a_proposal(rule, ann)


def the_version(proposal: Proposal, ben: User, **change: Any) -> PriceVersion:
    """Write the version that approving `proposal` would have made, but for `change`."""
    facts = {"rule": proposal.rule, "number": 2, "credits_per_event": Decimal(5), "created_by": proposal.created_by, "approved_by": ben}
    return PriceVersionFactory.create(**{"effective_from": TOMORROW, **facts, **change})


def approve(proposal: Proposal, version: PriceVersion, decider: User) -> None:
    run(
        "UPDATE pricing_proposal SET state = 'approved', decided_by_id = %s, decided_at = now(), decision_reason = 'x', version_id = %s"
        " WHERE id = %s",
        *(decider.pk, version.pk, proposal.pk),
    )


def reject(proposal: Proposal, decider: User) -> None:
    run(
        "UPDATE pricing_proposal SET state = 'rejected', decided_by_id = %s, decided_at = now(), decision_reason = 'x' WHERE id = %s",
        *(decider.pk, proposal.pk),
    )


class TestFourEyes:
    def test_the_proposer_cannot_approve(self, proposal: Proposal, ann: User, ben: User) -> None:
        """No version can say so, and none that says otherwise will do."""
        with pytest.raises(IntegrityError, match="price_version_approver_differs"), transaction.atomic():
            the_version(proposal, ben, approved_by=ann)
        with pytest.raises(IntegrityError, match="by the people of the proposal"):
            approve(proposal, the_version(proposal, ben, created_by=None, approved_by=ann), ann)

    def test_the_proposer_cannot_reject(self, proposal: Proposal, ann: User) -> None:
        with pytest.raises(IntegrityError, match="proposal_decider_did_not_propose"):
            reject(proposal, ann)

    def test_no_editor_can_decide_whatever_was_edited_later(self, proposal: Proposal, ben: User) -> None:
        cem = User.objects.create(username="cem")
        for person, credits in ((ben, "6"), (cem, "7")):
            proposals.edit(proposal=proposal, definition=a_price(credits), effective_from=None, reason="x", actor=person, now=NOW)
        for person in (ben, cem):
            with pytest.raises(IntegrityError, match="edited a proposal cannot decide"):
                reject(proposal, person)

    def test_another_person_can(self, proposal: Proposal, ben: User) -> None:
        approve(proposal, the_version(proposal, ben), ben)
        assert Proposal.objects.get().state == "approved"


class TestRoad:
    @pytest.mark.parametrize(
        "change",
        [
            "rule_id = rule_id + 1",
            "base_version_id = NULL",
            "undoes_id = base_version_id",
            "source = 'advisor'",
            "evidence = '{}'",
            "evidence_hash = 'a'",
            "policy = '{}'",
            "recommendation = '{}'",
            "created_by_id = NULL",
            "created_at = created_at - interval '1 day'",
        ],
    )
    def test_what_it_stands_on_never_changes(self, change: str, proposal: Proposal) -> None:
        with pytest.raises(IntegrityError, match="stands on never changes"):
            run(f"UPDATE pricing_proposal SET {change} WHERE id = %s", proposal.pk)

    def test_it_never_goes_back(self, proposal: Proposal, rule: PriceRule, ben: User) -> None:
        with pytest.raises(IntegrityError, match="never back"):
            run("UPDATE pricing_proposal SET state = 'draft' WHERE id = %s", proposal.pk)
        draft = proposals.save_draft(rule=rule, definition=a_price("6"), reason="x", actor=ben, now=NOW)
        with pytest.raises(IntegrityError, match="never back"):
            reject(draft, User.objects.create(username="cem"))
        reject(proposal, ben)
        for change in ("state = 'proposed'", "decision_reason = 'Another'"):
            with pytest.raises(IntegrityError, match="decided stays as it is"):
                run(f"UPDATE pricing_proposal SET {change} WHERE id = %s", proposal.pk)

    def test_it_begins_undecided(self, proposal: Proposal) -> None:
        columns = "rule_id, source, definition, reason, evidence_hash, created_by_id, created_at, decision_reason"
        with pytest.raises(IntegrityError, match="begins as a draft or as proposed"):
            run(f"INSERT INTO pricing_proposal ({columns}, state) SELECT {columns}, 'withdrawn' FROM pricing_proposal")

    def test_it_is_never_deleted(self, proposal: Proposal) -> None:
        with pytest.raises(Exception, match="Cannot delete"):
            run("DELETE FROM pricing_proposal")

    def test_the_price_changes_only_by_an_edit_that_is_kept(self, proposal: Proposal, ben: User) -> None:
        other = a_price("6").as_json()
        change = "UPDATE pricing_proposal SET definition = %s, original = definition, edited_by_id = %s, edited_at = now()"
        with pytest.raises(IntegrityError, match="only by an edit that is kept"):
            run(change, json.dumps(other), ben.pk)
        ProposalEdit.objects.create(proposal=proposal, definition=other, reason="x", edited_by=ben, edited_at=NOW)
        run(change, json.dumps(other), ben.pk)
        with pytest.raises(Exception, match="Cannot update or delete"):
            run("UPDATE pricing_proposaledit SET reason = 'y'")
        with pytest.raises(IntegrityError, match="proposal_edited_is_whole"):
            run("UPDATE pricing_proposal SET original = NULL")

    def test_costs_that_changed_stay_so_and_nobody_approves_on_them(self, rule: PriceRule, ben: User) -> None:
        advice = advised(rule)
        assert advice is not None
        run("UPDATE pricing_proposal SET recosted_at = now() WHERE id = %s", advice.pk)
        with pytest.raises(IntegrityError, match="stays so"):
            run("UPDATE pricing_proposal SET recosted_at = NULL WHERE id = %s", advice.pk)
        with pytest.raises(IntegrityError, match="proposal_approved_on_costs_that_hold"):
            approve(advice, the_version(advice, ben, created_by=None), ben)

    def test_a_backtest_is_made_once(self, proposal: Proposal) -> None:
        run("""UPDATE pricing_proposal SET backtest = '{"events": 1}'""")
        for change in ("""'{"events": 2}'""", "NULL"):
            with pytest.raises(IntegrityError, match="backtest is made once"):
                run(f"UPDATE pricing_proposal SET backtest = {change}")


class TestApproved:
    @pytest.mark.parametrize(
        "change",
        [
            {"credits_per_event": Decimal("5.000001")},
            {"components": [{"unit": "output", "credits": "1", "per": 1, "model_class": "", "models": []}]},
            {"tiers": [{"from_quantity": "1", "credits_per_event": "1"}]},
            {"minimum": Decimal(1)},
            {"rounding_step": Decimal(1)},
            {"rounding_mode": "up"},
            {"created_by": None},
            {"approved_by": None},
            {"number": 3},
        ],
    )
    def test_is_the_price_and_by_the_people_of_the_proposal(self, change: dict[str, Any], proposal: Proposal, ben: User) -> None:
        version = the_version(proposal, ben, **change)
        with pytest.raises(IntegrityError, match="follows its base, and is the price and by the people"):
            approve(proposal, version, ben)

    def test_is_a_version_of_the_same_rule(self, proposal: Proposal, ben: User) -> None:
        version = the_version(proposal, ben, rule=PriceRuleFactory.create(), effective_from=LAST_YEAR)
        with pytest.raises(IntegrityError, match="follows its base"):
            approve(proposal, version, ben)
