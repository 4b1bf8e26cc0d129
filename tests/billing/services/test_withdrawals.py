"""Credits leave with the money that went back, and come back with it, to the last unit."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from billing.events import Caller, Capture, Charged
from billing.models import EntryKind, Hold, LedgerEntry, Lot, LotKind, Operation, Payment, PaymentSource, Wallet
from billing.queries import wallets
from billing.services import charging, checking, customers, holds, ledger, sales, withdrawals
from billing.services.idempotency import Call
from billing.services.journal import Journal, lock_wallet
from pricing.models import SpentRefundPolicy
from tests.billing.factories import a_caller, a_deposit, a_price, a_wallet, an_event

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)


def sold(wallet: Wallet, *, credits: str = "500", amount: str = "5", bonus: str = "0", expires_at: datetime | None = None) -> Payment:
    with transaction.atomic():
        journal = Journal(lock_wallet(wallet.pk, now=NOW), "system:test", NOW)
        sale = sales.Sale(
            Decimal(credits),
            Decimal(amount),
            "USD",
            PaymentSource.CUSTOM,
            "pi_1",
            expires_at=expires_at,
            bonus_credits=Decimal(bonus),
        )
        sales.credit_sale(journal, sale)
    return Payment.objects.get(external_id="pi_1")


def withdraw(payment: Payment, back: int, whole: int = 500, *, policy: Any = SpentRefundPolicy.RECEIVABLE, now: datetime = NOW) -> Any:
    with transaction.atomic():
        return withdrawals.withdraw(
            payment=payment, back=withdrawals.Back(back, whole), policy=policy, reason="Refund", actor="system:test", now=now
        )


def held(caller: Caller, wallet: Wallet, credits: str) -> Hold:
    return holds.place(
        caller=caller,
        customer=wallet.customer,
        event="chat.reply",
        quantity=None,
        credits=Decimal(credits),
        expires_in=3600,
        now=NOW,
        call=Call(caller.project_id, "hold", Operation.HOLD, b"0" * 16),
    ).hold


def give_back(transaction_id: int, *, now: datetime = NOW) -> None:
    with transaction.atomic():
        withdrawals.give_back(transaction_id=transaction_id, reason="It failed", actor="system:test", now=now)


def spend(wallet: Wallet, credits: str) -> None:
    ledger.adjust(wallet_id=wallet.pk, credits=-Decimal(credits), reason="Spent", actor="system:test", now=NOW)


def standing(wallet: Wallet) -> tuple[Decimal, list[tuple[str, Decimal, Decimal]]]:
    wallet.refresh_from_db()
    lots = Lot.objects.filter(wallet=wallet).order_by("pk")
    return wallet.balance, [(lot.kind, lot.remaining, lot.value_remaining) for lot in lots]


def is_clean() -> bool:
    run = checking.check(now=NOW + timedelta(minutes=1), actor="system:test")
    return run.is_clean


class TestWithdrawal:
    def test_takes_all_of_an_unspent_topup(self) -> None:
        wallet = a_wallet(a_caller())
        taken = withdraw(sold(wallet, bonus="50"), 500)
        assert (taken.credits, taken.owed) == (Decimal(550), Decimal(0))
        assert standing(wallet) == (Decimal(0), [("paid", Decimal(0), Decimal(0)), ("promotional", Decimal(0), Decimal(0))])
        assert is_clean()

    def test_takes_thirds_that_add_up(self) -> None:
        wallet = a_wallet(a_caller())
        payment = sold(wallet, credits="100")
        parts = [withdraw(payment, back, 300).credits for back in (100, 200, 300)]
        assert parts == [Decimal("33.333333"), Decimal("33.333334"), Decimal("33.333333")]
        assert standing(wallet)[0] == 0
        assert is_clean()

    def test_makes_what_was_spent_a_debt(self) -> None:
        wallet = a_wallet(a_caller())
        payment = sold(wallet)
        spend(wallet, "400")
        taken = withdraw(payment, 500)
        assert (taken.credits, taken.owed) == (Decimal(500), Decimal(400))
        assert standing(wallet) == (Decimal(-400), [("paid", Decimal(0), Decimal(0)), ("overdraft", Decimal(-400), Decimal(-4))])
        assert is_clean()

    def test_writes_the_loss_off_where_the_policy_says_so(self) -> None:
        wallet = a_wallet(a_caller())
        payment = sold(wallet)
        spend(wallet, "400")
        assert withdraw(payment, 500, policy=SpentRefundPolicy.WRITE_OFF).owed == 400
        assert standing(wallet)[0] == 0
        assert is_clean()

    def test_forgives_a_spent_bonus(self) -> None:
        wallet = a_wallet(a_caller())
        payment = sold(wallet, bonus="50")
        spend(wallet, "30")  # promotional credits burn first
        assert withdraw(payment, 500).credits == 520
        assert standing(wallet)[0] == 0
        assert is_clean()

    def test_reverses_the_expiry_of_what_nobody_spent(self) -> None:
        wallet = a_wallet(a_caller())
        payment = sold(wallet, expires_at=NOW + timedelta(days=1))
        later = NOW + timedelta(days=2)
        ledger.expire(wallet_id=wallet.pk, now=later)
        taken = withdraw(payment, 500, now=later)
        assert (taken.credits, taken.owed) == (Decimal(500), Decimal(0))
        assert standing(wallet) == (Decimal(0), [("paid", Decimal(0), Decimal(0))])
        assert LedgerEntry.objects.get(kind=EntryKind.EXPIRY, credits__gt=0).value == 5
        assert is_clean()


class TestHolds:
    def test_takes_what_is_held_and_the_action_can_be_captured_all_the_same(self) -> None:
        caller = a_caller()
        a_price("4")
        wallet = a_wallet(caller)
        payment = sold(wallet)
        hold = held(caller, wallet, "500")
        assert withdraw(payment, 500).owed == 0
        assert standing(wallet)[0] == 0
        result = holds.capture(event=an_event(caller, capture=Capture(hold.pk)), customer="user_42", now=NOW)
        assert isinstance(result, Charged), result
        assert standing(wallet)[0] == -4
        assert is_clean()

    @pytest.mark.parametrize("policy", SpentRefundPolicy)
    def test_releasing_brings_nothing_back(self, policy: SpentRefundPolicy) -> None:
        caller = a_caller()
        a_price("4")
        wallet = a_wallet(caller)
        payment = sold(wallet)
        hold = held(caller, wallet, "500")
        withdraw(payment, 500, policy=policy)
        holds.release(caller=caller, hold_id=hold.pk, now=NOW)
        assert wallets.view_of(Wallet.objects.get(pk=wallet.pk), now=NOW).available == 0
        assert is_clean()


class TestDebts:
    def test_are_paid_at_once_from_other_bought_credits(self) -> None:
        wallet = a_wallet(a_caller())
        payment = sold(wallet)
        spend(wallet, "500")
        a_deposit(wallet, "700")
        taken = withdraw(payment, 500)
        assert wallets.view_of(Wallet.objects.get(pk=wallet.pk), now=NOW).available == 200
        assert standing(wallet)[1][1:] == [("paid", Decimal(200), Decimal(2)), ("overdraft", Decimal(0), Decimal(0))]
        give_back(taken.transaction_id)
        assert standing(wallet)[1][1:] == [("paid", Decimal(700), Decimal(7)), ("overdraft", Decimal(0), Decimal(0))]
        assert is_clean()

    def test_of_different_worth_are_settled_to_the_last_unit(self) -> None:
        """A charge on overdraft at the list value, and a refund of credits that were sold for a third of it."""
        wallet = a_wallet(caller := a_caller())
        a_price("100")
        payment = sold(wallet, amount="1.67")
        spend(wallet, "500")
        customers.set_overdraft_limit(wallet_id=wallet.pk, limit=Decimal(100), reason="Known", now=NOW)
        charging.charge([an_event(caller)], now=NOW)
        taken = withdraw(payment, 500)
        a_deposit(wallet, "250")
        a_deposit(wallet, "400")
        give_back(taken.transaction_id)
        debt = Lot.objects.get(wallet=wallet, kind=LotKind.OVERDRAFT)
        assert (debt.remaining, debt.value_remaining) == (0, 0)
        assert standing(wallet)[0] == 550
        assert is_clean()


class TestGivingBack:
    @pytest.mark.parametrize("spent", ["0.1", "123.456789", "500"])
    @pytest.mark.parametrize("policy", SpentRefundPolicy)
    def test_restores_the_wallet_to_the_last_unit(self, spent: str, policy: SpentRefundPolicy) -> None:
        wallet = a_wallet(a_caller())
        payment = sold(wallet, credits="500", amount="4.99", bonus="0")
        spend(wallet, spent)
        before = standing(wallet)
        taken = withdraw(payment, 170, 499, policy=policy)
        give_back(taken.transaction_id)
        balance, lots = standing(wallet)
        assert balance == before[0]
        assert [lot for lot in lots if lot[0] != LotKind.OVERDRAFT] == before[1]
        assert all(lot[1:] == (0, 0) for lot in lots if lot[0] == LotKind.OVERDRAFT)
        assert is_clean()

    def test_returns_to_the_deposit_that_had_settled_the_debt(self) -> None:
        wallet = a_wallet(a_caller())
        payment = sold(wallet)
        spend(wallet, "500")
        taken = withdraw(payment, 500)
        sales.deposit(
            wallet_id=wallet.pk,
            credits=Decimal(1000),
            amount=Decimal(10),
            currency="USD",
            source=PaymentSource.CUSTOM,
            payment_id="later",
            actor="system:test",
            now=NOW,
        )
        assert standing(wallet)[0] == 500
        give_back(taken.transaction_id)
        balance, lots = standing(wallet)
        assert balance == 1000
        assert lots[-1] == ("paid", Decimal(1000), Decimal(10))
        assert is_clean()
