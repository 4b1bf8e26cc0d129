"""Owing: what a wallet may owe, how the next deposit settles it, and how that is undone."""

from decimal import Decimal

import pytest

from billing.accounts import Account
from billing.services import customers, refunds
from tests.billing.factories import NOW, a_caller, a_deposit, a_price, a_wallet
from tests.worked_examples.books import account, charged, lots, refused, table, trial_balance

pytestmark = pytest.mark.django_db


class TestOverdraft:
    def test_is_charged_last_and_settled_by_the_next_deposit(self) -> None:
        """Ann has 3 credits and may owe 5. A reply at 4 leaves her owing 1; a second one 5; a third is refused.

        She tops up 100 credits at 1 cent: 5 of them go to the debt, 0.05 of the payment settles the receivable.
        """
        caller = a_caller()
        a_price("4")
        ann = a_wallet(caller, credits="3")
        customers.set_overdraft_limit(wallet_id=ann.pk, limit=Decimal(5), reason="Known customer", now=NOW)
        assert charged(caller).available == 4
        assert charged(caller).balance == -5
        assert refused(caller).code == "insufficient_credits"
        assert trial_balance()[Account.RECEIVABLES] == Decimal("0.05")
        top_up = a_deposit(ann, "100")
        assert (top_up.balance, top_up.available) == (95, 100)
        assert account(ann) == table("""
            kind      lot   credits  value  balance
            deposit   A           3   0.03        3
            charge    A          -3  -0.03        0
            charge    debt       -1  -0.01       -1
            charge    debt       -4  -0.04       -5
            deposit   B         100   1.00       95
            transfer  B          -5  -0.05       90
            transfer  debt        5   0.05       95
        """)
        assert trial_balance()[Account.RECEIVABLES] == 0
        assert trial_balance()[Account.LOT_TRANSFERS] == 0

    def test_settled_at_another_unit_value(self) -> None:
        """Ben owes 4 credits that were charged at 1 cent and buys a pack at 3 cents a credit.

        His 4 credits cost him 0.12, the receivable was 0.04: the difference, 0.08, stays on lot transfers as a gain.
        """
        caller = a_caller()
        a_price("4")
        ben = a_wallet(caller)
        customers.set_overdraft_limit(wallet_id=ben.pk, limit=Decimal(4), reason="Known customer", now=NOW)
        charged(caller)
        a_deposit(ben, "100", amount="3.00")
        assert account(ben) == table("""
            kind      lot   credits  value  balance
            charge    debt       -4  -0.04       -4
            deposit   A         100   3.00       96
            transfer  A          -4  -0.12       92
            transfer  debt        4   0.04       96
        """)
        assert trial_balance()[Account.LOT_TRANSFERS] == Decimal("-0.08")

    def test_a_small_deposit_settles_as_far_as_it_reaches(self) -> None:
        """Cleo owes 4 and tops up 3: all 3 go to the debt, 1 stays owed."""
        caller = a_caller()
        a_price("4")
        cleo = a_wallet(caller)
        customers.set_overdraft_limit(wallet_id=cleo.pk, limit=Decimal(4), reason="Known customer", now=NOW)
        charged(caller)
        assert a_deposit(cleo, "3").available == 3
        assert {name: lot.remaining for name, lot in lots(cleo).items()} == {"A": 0, "debt": -1}

    def test_a_refund_while_it_is_still_owed_lowers_the_debt(self) -> None:
        """Dora owes 4 for a reply, and 1 of them is refunded: she owes 3."""
        caller = a_caller()
        a_price("4")
        dora = a_wallet(caller)
        customers.set_overdraft_limit(wallet_id=dora.pk, limit=Decimal(4), reason="Known customer", now=NOW)
        reply = charged(caller)
        refunds.refund_event(caller=caller, record_id=reply.record_id, credits=Decimal(1), reason="Slow", now=NOW)
        assert account(dora) == table("""
            kind    lot   credits  value  balance
            charge  debt       -4  -0.04       -4
            refund  debt        1   0.01       -3
        """)

    def test_a_refund_after_it_was_settled_goes_back_to_the_deposit(self) -> None:
        """Emil owed 4, topped up 10 at 2 cents, and the reply is refunded: the settlement is undone with the charge.

        His pack is whole again, 10 credits worth 0.20, and he owes nothing.
        """
        caller = a_caller()
        a_price("4")
        emil = a_wallet(caller)
        customers.set_overdraft_limit(wallet_id=emil.pk, limit=Decimal(4), reason="Known customer", now=NOW)
        reply = charged(caller)
        a_deposit(emil, "10", amount="0.20")
        back = refunds.refund_event(caller=caller, record_id=reply.record_id, credits=None, reason="Wrong answer", now=NOW)
        assert (back.balance, back.available) == (10, 14)
        assert account(emil) == table("""
            kind      lot   credits  value  balance
            charge    debt       -4  -0.04       -4
            deposit   A          10   0.20        6
            transfer  A          -4  -0.08        2
            transfer  debt        4   0.04        6
            refund    debt        4   0.04       10
            transfer  debt       -4  -0.04        6
            transfer  A           4   0.08       10
        """)
        assert (lots(emil)["A"].value_remaining, lots(emil)["debt"].value_remaining) == (Decimal("0.20"), 0)

    def test_a_refund_after_the_deposit_was_used_up_by_the_debt(self) -> None:
        """Finn's deposit of 4 went into his debt of 4 altogether; after the refund he has those 4 to spend."""
        caller = a_caller()
        a_price("4")
        finn = a_wallet(caller)
        customers.set_overdraft_limit(wallet_id=finn.pk, limit=Decimal(4), reason="Known customer", now=NOW)
        reply = charged(caller)
        a_deposit(finn, "4")
        back = refunds.refund_event(caller=caller, record_id=reply.record_id, credits=None, reason="Wrong answer", now=NOW)
        assert (back.balance, back.available) == (4, 8)
