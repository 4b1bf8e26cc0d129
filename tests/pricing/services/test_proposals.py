from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

from config.base.exact import CREDIT_STEP, ZERO, Rounding
from pricing.definition import Definition
from pricing.models import PriceRule, PriceVersion, Proposal
from pricing.queries import proposals as queries
from pricing.services import prices, proposals
from tests.pricing.factories import LAST_YEAR, NOW, PriceRuleFactory

pytestmark = pytest.mark.django_db
TOMORROW = NOW + timedelta(days=1)


def a_price(credits: str = "5", **terms: Any) -> Definition:
    usual: dict[str, Any] = {
        "components": (),
        "tiers": (),
        "minimum": ZERO,
        "rounding_step": CREDIT_STEP,
        "rounding_mode": Rounding.HALF_UP,
    }
    return Definition(Decimal(credits), **usual | terms)


@pytest.fixture
def ann() -> User:
    return User.objects.create(username="ann", email="ann@example.com")


@pytest.fixture
def ben() -> User:
    return User.objects.create(username="ben", email="ben@example.com")


@pytest.fixture
def rule() -> PriceRule:
    made: PriceRule = PriceRuleFactory.create(event_type__name="chat.reply")
    prices.publish_version(rule=made, credits_per_event=Decimal(4), effective_from=LAST_YEAR, reason="Opening", actor=None, now=NOW)
    return made


def a_proposal(rule: PriceRule, actor: User, **change: Any) -> Proposal:
    typed: dict[str, Any] = {"definition": a_price(), "reason": "Costs rose", "effective_from": TOMORROW, "now": NOW}
    return proposals.propose(rule=rule, actor=actor, **typed | change)


class TestApproving:
    def test_publishes_the_proposed_price(self, rule: PriceRule, ann: User, ben: User) -> None:
        proposal = a_proposal(rule, ann)
        version = proposals.approve(proposal=proposal, reason="Agreed", actor=ben, now=NOW)
        assert (version.number, version.credits_per_event, version.effective_from) == (2, 5, TOMORROW)
        assert (version.created_by, version.approved_by, version.reason) == (ann, ben, "Costs rose")
        assert PriceVersion.objects.get(rule=rule, number=1).effective_to == TOMORROW
        stored = Proposal.objects.get()
        assert (stored.state, stored.version, stored.decided_by, stored.decision_reason) == ("approved", version, ben, "Agreed")
        assert not queries.open_proposals().exists()
