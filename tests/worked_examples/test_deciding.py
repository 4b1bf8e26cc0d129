"""How a price comes to be changed: somebody proposes it, somebody else decides, and customers pay it from its date on."""

from datetime import timedelta

import pytest

from config.roles import Role
from pricing.models import PriceVersion
from pricing.queries import timeline
from pricing.services import proposals
from pricing.services.refusals import FourEyesError
from tests import people
from tests.billing.factories import NOW, a_caller, a_price, a_wallet
from tests.pricing.proposing import a_price as priced_at
from tests.worked_examples.books import DAY, account, charged, table

pytestmark = pytest.mark.django_db


class TestDeciding:
    def test_a_price_rises_and_is_taken_back(self) -> None:
        """Replies cost 4. Paula proposes 6, Finn makes it 5, so that Fred decides: 5 from tomorrow. It is undone a day later."""
        caller = a_caller()
        rule = a_price("4").rule
        ann = a_wallet(caller, credits="100")
        paula, finn, fred = (
            people.a_person(role, name=name)
            for role, name in ((Role.PRODUCT_MANAGER, "paula"), (Role.FINANCE, "finn"), (Role.FINANCE, "fred"))
        )

        proposal = proposals.propose(rule=rule, definition=priced_at("6"), reason="Answers are longer", actor=paula, now=NOW)
        assert charged(caller, at=NOW + timedelta(hours=1)).credits == 4  # nothing changes by being proposed
        proposals.edit(proposal=proposal, definition=priced_at("5"), effective_from=None, reason="Gently", actor=finn, now=NOW)
        for person in (paula, finn):
            with pytest.raises(FourEyesError):
                proposals.approve(proposal=proposal, effective_from=NOW + DAY, reason="Mine", actor=person, now=NOW)
        second = proposals.approve(proposal=proposal, effective_from=NOW + DAY, reason="Fair", actor=fred, now=NOW)
        phases = [str(stop.phase) for stop in timeline.of_rule(rule, now=NOW)]
        assert phases == ["scheduled", "active"]
        assert charged(caller, at=NOW + DAY - timedelta(minutes=2)).credits == 4
        assert charged(caller, at=NOW + DAY).credits == 5

        back = proposals.undo(version=second, reason="Customers left", actor=paula, now=NOW + DAY)
        phases = [str(stop.phase) for stop in timeline.of_rule(rule, now=NOW + DAY)]
        assert phases == ["proposed", "active", "retired"]
        soon = NOW + DAY + timedelta(minutes=5)
        proposals.approve(proposal=back, effective_from=soon, reason="Sorry", actor=finn, now=NOW + DAY)
        assert charged(caller, at=soon).credits == 4

        people_of = [(v.number, v.created_by, v.approved_by) for v in PriceVersion.objects.order_by("number")]
        assert people_of == [(1, None, None), (2, finn, fred), (3, paula, finn)]
        assert account(ann) == table("""
            kind     lot  credits  value  balance
            deposit  A        100   1.00      100
            charge   A         -4  -0.04       96
            charge   A         -4  -0.04       92
            charge   A         -5  -0.05       87
            charge   A         -4  -0.04       83
        """)
