"""Giving charges back: to the lots that they came from, the lot spent last first."""

from decimal import Decimal

import pytest

from billing.errors import RefundExceedsCharge
from billing.services import ledger, refunds
from tests.billing.factories import NOW, a_caller, a_deposit, a_price, a_wallet
from tests.worked_examples.books import DAY, account, charged, lots, table

pytestmark = pytest.mark.django_db


class TestRefunds:
    def test_a_partial_refund_and_then_the_rest(self) -> None:
        """Ann's reply took 3 credits of A (2 cents) and 1 of B (1 cent). 2 credits come back: B's one, then one of A.

        Later the rest comes back, 2 of A; then nothing is left to refund.
        """
        caller = a_caller()
        a_price("4")
        ann = a_wallet(caller)
        a_deposit(ann, "3", amount="0.06")
        a_deposit(ann, "10", amount="0.10")
        reply = charged(caller)
        refunds.refund_event(caller=caller, record_id=reply.record_id, credits=Decimal(2), reason="Half an answer", now=NOW)
        refunds.refund_event(caller=caller, record_id=reply.record_id, credits=None, reason="The other half", now=NOW)
        assert account(ann) == table("""
            kind     lot  credits  value  balance
            deposit  A          3   0.06        3
            deposit  B         10   0.10       13
            charge   A         -3  -0.06       10
            charge   B         -1  -0.01        9
            refund   B          1   0.01       10
            refund   A          1   0.02       11
            refund   A          2   0.04       13
        """)
        with pytest.raises(RefundExceedsCharge) as no:
            refunds.refund_event(caller=caller, record_id=reply.record_id, credits=None, reason="Again", now=NOW)
        assert no.value.figures == {"refundable": "0"}

    def test_the_answer_counts_credits_back_in_an_emptied_lot(self) -> None:
        """Ben's last 4 credits went into a reply; refunded, he is told that he has 4 to spend, not 0."""
        caller = a_caller()
        a_price("4")
        a_wallet(caller, credits="4")
        reply = charged(caller)
        back = refunds.refund_event(caller=caller, record_id=reply.record_id, credits=None, reason="Broken", now=NOW)
        assert (back.balance, back.available) == (4, 4)

    def test_more_than_is_left_is_refused(self) -> None:
        """Cleo's reply cost 4 and 3 have been refunded: 2 more are refused, and 1 is named as what is left."""
        caller = a_caller()
        a_price("4")
        cleo = a_wallet(caller, credits="10")
        reply = charged(caller)
        refunds.refund_event(caller=caller, record_id=reply.record_id, credits=Decimal(3), reason="Slow", now=NOW)
        with pytest.raises(RefundExceedsCharge) as no:
            refunds.refund_event(caller=caller, record_id=reply.record_id, credits=Decimal(2), reason="Slow", now=NOW)
        assert no.value.figures == {"refundable": "1"}
        assert account(cleo)[-1].balance == 9

    def test_thirds_add_up(self) -> None:
        """Dora's 2 credits were worth 6.666666666666 together; refunded in thirds of a credit, not a fraction is lost."""
        caller = a_caller()
        a_price("2")
        dora = a_wallet(caller)
        a_deposit(dora, "3", amount="10.00")
        reply = charged(caller)
        for part in ("0.666667", "0.666667", None):
            credits = Decimal(part) if part else None
            refunds.refund_event(caller=caller, record_id=reply.record_id, credits=credits, reason="Thirds", now=NOW)
        assert account(dora) == table("""
            kind     lot   credits            value   balance
            deposit  A           3            10.00         3
            charge   A          -2  -6.666666666666         1
            refund   A    0.666667   2.222223333333  1.666667
            refund   A    0.666667   2.222223333333  2.333334
            refund   A    0.666666   2.222220000000         3
        """)
        assert lots(dora)["A"].value_remaining == 10


class TestExpiry:
    def test_what_is_left_becomes_breakage(self) -> None:
        """Emil's pack of 10 at 1 cent ends after a day; he had one reply. 6 credits, 0.06, are written off."""
        caller = a_caller()
        a_price("4")
        emil = a_wallet(caller)
        a_deposit(emil, "10", amount="0.10", expires_at=NOW + DAY)
        charged(caller)
        ledger.expire(wallet_id=emil.pk, now=NOW + DAY)
        assert account(emil) == table("""
            kind     lot  credits  value  balance
            deposit  A         10   0.10       10
            charge   A         -4  -0.04        6
            expiry   A         -6  -0.06        0
        """)
        assert ledger.expire(wallet_id=emil.pk, now=NOW + DAY) is None

    def test_a_refund_into_a_lot_that_has_expired(self) -> None:
        """Finn's reply is refunded after its lot has ended: the credits come back, cannot be spent, and expire."""
        caller = a_caller()
        a_price("4")
        finn = a_wallet(caller)
        a_deposit(finn, "10", amount="0.10", expires_at=NOW + DAY)
        reply = charged(caller)
        later = NOW + 2 * DAY
        ledger.expire(wallet_id=finn.pk, now=later)
        back = refunds.refund_event(caller=caller, record_id=reply.record_id, credits=None, reason="Wrong answer", now=later)
        assert (back.balance, back.available) == (4, 0)
        ledger.expire(wallet_id=finn.pk, now=later)
        assert account(finn) == table("""
            kind     lot  credits  value  balance
            deposit  A         10   0.10       10
            charge   A         -4  -0.04        6
            expiry   A         -6  -0.06        0
            refund   A          4   0.04        4
            expiry   A         -4  -0.04        0
        """)

    def test_an_expired_lot_pays_for_nothing_before_the_sweep_comes(self) -> None:
        """Gus has 10 credits that ended a moment ago and 4 that last: one reply is served, the next one is refused."""
        caller = a_caller()
        a_price("4")
        gus = a_wallet(caller)
        a_deposit(gus, "10", expires_at=NOW + DAY)
        a_deposit(gus, "4")
        reply = charged(caller, at=NOW + DAY)
        assert (reply.balance, reply.available, account(gus)[-1].lot) == (10, 0, "B")
