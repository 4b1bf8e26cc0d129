"""Money that goes back to buyers: refunds of top-ups and disputes, with the journal that a bookkeeper can check by hand.

Ann buys 500 credits for 5.00 USD. In the books that is 5.00 in payments clearing (what Stripe owes us) and 5.00 of deferred
revenue. What she spends becomes revenue, at 1 cent a credit.
"""

from decimal import Decimal
from typing import Any

import pytest

from billing.accounts import Account
from billing.events import Caller
from billing.models import TopUp, Wallet, WalletStatus
from billing.services import disputes, topup_refunds
from pricing.models import SpentRefundPolicy, Workspace
from tests import stripe_objects
from tests.billing.factories import NOW, a_caller, a_deposit, a_price, a_wallet
from tests.billing.topups import a_paid_topup
from tests.worked_examples.books import DAY, account, charged, table, trial_balance

pytestmark = pytest.mark.django_db


@pytest.fixture
def caller() -> Caller:
    return a_caller()


@pytest.fixture
def ann(caller: Caller) -> Wallet:
    return a_wallet(caller)


@pytest.fixture
def topup(ann: Wallet) -> TopUp:
    return a_paid_topup(ann)


def refunded(topup: TopUp, **overlay: Any) -> dict[str, Any]:
    """Let Stripe tell of a refund, and return what it told."""
    told = stripe_objects.refund(**({"payment_intent": topup.payment_intent, "amount": 500} | overlay))
    topup_refunds.apply(told, NOW)
    return told


def disputed(topup: TopUp, **overlay: Any) -> dict[str, Any]:
    told = stripe_objects.dispute(**({"payment_intent": topup.payment_intent, "amount": 500} | overlay))
    disputes.apply(told, NOW)
    return told


def spends_400(caller: Caller) -> None:
    a_price("400")
    charged(caller)


def balances() -> dict[Account, Decimal]:
    """Return the accounts that are not at zero, debits positive."""
    return {name: amount for name, amount in trial_balance().items() if amount}


class TestRefund:
    def test_of_a_topup_that_nobody_touched(self, ann: Wallet, topup: TopUp) -> None:
        """All 5.00 goes back: the credits leave, and nothing is left on any account."""
        refunded(topup)
        assert account(ann) == table("""
            kind        lot  credits  value  balance
            deposit     A        500   5.00      500
            withdrawal  A       -500  -5.00        0
        """)
        assert balances() == {}

    def test_in_two_parts(self, ann: Wallet, topup: TopUp) -> None:
        """2.00 goes back, later 3.00: 200 credits leave, later 300."""
        refunded(topup, amount=200)
        assert balances() == {Account.PAYMENTS_CLEARING: Decimal(3), Account.DEFERRED_REVENUE: Decimal(-3)}
        refunded(topup, amount=300)
        assert account(ann) == table("""
            kind        lot  credits  value  balance
            deposit     A        500   5.00      500
            withdrawal  A       -200  -2.00      300
            withdrawal  A       -300  -3.00        0
        """)
        assert balances() == {}

    def test_after_400_of_500_were_spent_and_are_owed(self, caller: Caller, ann: Wallet, topup: TopUp) -> None:
        """Ann keeps what she used and owes it: 4.00 of revenue stands against a receivable of 4.00.

        Her next top-up of 1,000 credits pays the 400 first.
        """
        spends_400(caller)
        refunded(topup)
        assert account(ann) == table("""
            kind        lot   credits  value  balance
            deposit     A         500   5.00      500
            charge      A        -400  -4.00      100
            withdrawal  A        -100  -1.00        0
            withdrawal  debt     -400  -4.00     -400
        """)
        assert balances() == {Account.RECEIVABLES: Decimal(4), Account.REVENUE: Decimal(-4)}
        a_deposit(ann, "1000")
        assert balances() == {
            Account.PAYMENTS_CLEARING: Decimal(10),
            Account.DEFERRED_REVENUE: Decimal(-6),
            Account.REVENUE: Decimal(-4),
        }

    def test_after_400_of_500_were_spent_and_are_written_off(self, caller: Caller, ann: Wallet, topup: TopUp) -> None:
        """With the policy to write off, Ann owes nothing: the 4.00 of revenue stands against a loss of 4.00 in adjustments."""
        Workspace.objects.update_or_create(pk=1, defaults={"spent_refund_policy": SpentRefundPolicy.WRITE_OFF})
        spends_400(caller)
        refunded(topup)
        assert account(ann) == table("""
            kind        lot   credits  value  balance
            deposit     A         500   5.00      500
            charge      A        -400  -4.00      100
            withdrawal  A        -100  -1.00        0
            withdrawal  debt     -400  -4.00     -400
            adjustment  debt      400   4.00        0
        """)
        assert balances() == {Account.ADJUSTMENTS: Decimal(4), Account.REVENUE: Decimal(-4)}

    def test_after_400_were_spent_while_another_pack_is_full(self, caller: Caller, ann: Wallet, topup: TopUp) -> None:
        """Ann has 700 bought credits beside: they pay the 400 at once, and 300 are left to spend."""
        spends_400(caller)
        a_deposit(ann, "700")
        refunded(topup)
        assert account(ann)[-5:] == table("""
            kind        lot   credits  value  balance
            deposit     B         700   7.00      800
            withdrawal  A        -100  -1.00      700
            withdrawal  debt     -400  -4.00      300
            transfer    B        -400  -4.00     -100
            transfer    debt      400   4.00      300
        """)
        assert balances() == {
            Account.PAYMENTS_CLEARING: Decimal(7),
            Account.DEFERRED_REVENUE: Decimal(-3),
            Account.REVENUE: Decimal(-4),
        }

    def test_that_fails(self, caller: Caller, ann: Wallet, topup: TopUp) -> None:
        """The bank sends the money back: each entry is reversed, and Ann's wallet is as if nothing had been asked."""
        spends_400(caller)
        told = refunded(topup, status="pending")
        topup_refunds.apply(told | {"status": "failed", "failure_reason": "lost_or_stolen_card"}, NOW)
        assert account(ann)[-4:] == table("""
            kind        lot   credits  value  balance
            withdrawal  A        -100  -1.00        0
            withdrawal  debt     -400  -4.00     -400
            withdrawal  debt      400   4.00        0
            withdrawal  A         100   1.00      100
        """)
        assert balances() == {
            Account.PAYMENTS_CLEARING: Decimal(5),
            Account.DEFERRED_REVENUE: Decimal(-1),
            Account.REVENUE: Decimal(-4),
        }


class TestDispute:
    def test_opened_and_won(self, ann: Wallet, topup: TopUp) -> None:
        """The bank takes 5.00: the credits leave and the wallet is frozen. It gives them back: so do we."""
        told = disputed(topup)
        ann.refresh_from_db()
        assert (ann.status, balances()) == (WalletStatus.FROZEN, {})
        disputes.apply(told | {"status": "won"}, NOW)
        assert account(ann) == table("""
            kind        lot  credits  value  balance
            deposit     A        500   5.00      500
            withdrawal  A       -500  -5.00        0
            withdrawal  A        500   5.00      500
        """)
        ann.refresh_from_db()
        assert ann.status == WalletStatus.ACTIVE
        assert balances() == {Account.PAYMENTS_CLEARING: Decimal(5), Account.DEFERRED_REVENUE: Decimal(-5)}

    def test_opened_and_lost_with_a_fee(self, caller: Caller, ann: Wallet, topup: TopUp) -> None:
        """Ann had spent 400. The bank takes 5.00 and 15.00 for its trouble: she owes 4.00, and the 15.00 is ours to bear."""
        spends_400(caller)
        told = disputed(topup)
        taken = stripe_objects.balance_transaction(amount=-500, fee=1500, net=-2000, type="adjustment")
        happened = stripe_objects.event(
            "charge.dispute.funds_withdrawn", told | {"balance_transactions": [taken]}, created=int(NOW.timestamp())
        )
        disputes.HANDLERS["charge.dispute.funds_withdrawn"](stripe_objects.stored(happened), NOW)
        disputes.apply(told | {"status": "lost", "balance_transactions": [taken]}, NOW)
        assert balances() == {
            Account.RECEIVABLES: Decimal(4),
            Account.REVENUE: Decimal(-4),
            Account.PLATFORM_FEES: Decimal(15),
            Account.PAYMENTS_CLEARING: Decimal(-15),
        }
        ann.refresh_from_db()
        assert (ann.status, ann.balance) == (WalletStatus.ACTIVE, -400)

    def test_won_and_lost_after_all(self, caller: Caller, ann: Wallet, topup: TopUp) -> None:
        """Won, Ann has her 500 again and spends 400. The bank thinks again: 100 are left to take, and she owes 400 for 4.00."""
        told = disputed(topup)
        disputes.apply(told | {"status": "won"}, NOW + DAY)
        spends_400(caller)
        disputes.apply(told | {"status": "lost"}, NOW + 2 * DAY)
        assert account(ann) == table("""
            kind        lot   credits  value  balance
            deposit     A         500   5.00      500
            withdrawal  A        -500  -5.00        0
            withdrawal  A         500   5.00      500
            charge      A        -400  -4.00      100
            withdrawal  A        -100  -1.00        0
            withdrawal  debt     -400  -4.00     -400
        """)
        assert balances() == {Account.RECEIVABLES: Decimal(4), Account.REVENUE: Decimal(-4)}

    def test_prevented(self, ann: Wallet, topup: TopUp) -> None:
        """It was stopped before any money moved: nothing is booked."""
        disputed(topup, status="prevented")
        assert account(ann) == table("""
            kind     lot  credits  value  balance
            deposit  A        500   5.00      500
        """)
