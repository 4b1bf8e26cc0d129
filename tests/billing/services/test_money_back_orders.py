"""Orders of events that a hostile customer would try: a debt is paid from bought credits, whenever they become free."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from billing.events import Caller, Charged
from billing.models import Hold, LedgerEntry, Operation, TopUp, Wallet
from billing.services import charging, checking, disputes, holds, journal, ledger, refunds, topup_refunds
from billing.services.idempotency import Call
from tests import stripe_objects
from tests.billing.factories import NOW, a_caller, a_price, a_wallet, an_event
from tests.billing.topups import a_paid_topup

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def caller() -> Caller:
    return a_caller()


@pytest.fixture
def wallet(caller: Caller) -> Wallet:
    a_price("1")
    return a_wallet(caller)


def dispute_of(topup: TopUp, **overlay: Any) -> dict[str, Any]:
    return stripe_objects.dispute(**({"payment_intent": topup.payment_intent, "amount": 500} | overlay))


def refund_of(topup: TopUp, **overlay: Any) -> dict[str, Any]:
    return stripe_objects.refund(**({"payment_intent": topup.payment_intent, "amount": 500} | overlay))


def spend(caller: Caller, credits: int) -> Charged:
    [result] = charging.charge([an_event(caller, quantity=Decimal(credits))], now=NOW)
    assert isinstance(result, Charged), result
    return result


def held(caller: Caller, wallet: Wallet, credits: str) -> Hold:
    call = Call(caller.project_id, "hold", Operation.HOLD, b"0" * 16)
    return holds.place(
        caller=caller,
        customer=wallet.customer,
        event="chat.reply",
        quantity=None,
        credits=Decimal(credits),
        expires_in=3600,
        now=NOW,
        call=call,
    ).hold


def standing(wallet: Wallet) -> tuple[Decimal, Decimal]:
    """Return the balance and what may be spent."""
    with transaction.atomic():
        found = journal.lock_wallet(wallet.pk, now=NOW)
        return found.balance, found.available


def is_clean() -> bool:
    run = checking.check(now=NOW, actor="system:tests")
    assert run.is_clean, [rule for rule in run.rules if rule["break_count"]]
    return True


class TestWhoOwesPaysFirst:
    """Ann owes 500 for a pack that she spent and took the money back for."""

    def test_from_credits_that_a_won_dispute_gives_back(self, caller: Caller, wallet: Wallet) -> None:
        spent = a_paid_topup(wallet)
        spend(caller, 500)
        other = a_paid_topup(wallet)
        fought = dispute_of(other)
        disputes.apply(fought, NOW)
        topup_refunds.apply(refund_of(spent), NOW)
        assert standing(wallet) == (-500, 0)
        disputes.apply(fought | {"status": "won"}, NOW)
        assert standing(wallet) == (0, 0)
        assert is_clean()

    def test_and_gets_them_again_when_the_refund_fails(self, caller: Caller, wallet: Wallet) -> None:
        spent = a_paid_topup(wallet)
        spend(caller, 500)
        fought, back = dispute_of(a_paid_topup(wallet)), refund_of(spent, status="pending")
        disputes.apply(fought, NOW)
        topup_refunds.apply(back, NOW)
        disputes.apply(fought | {"status": "won"}, NOW)
        topup_refunds.apply(back | {"status": "failed"}, NOW)
        assert standing(wallet) == (500, 500)
        assert is_clean()

    def test_from_a_charge_that_is_refunded(self, caller: Caller, wallet: Wallet) -> None:
        spent = a_paid_topup(wallet)
        spend(caller, 500)
        a_paid_topup(wallet)
        charge = spend(caller, 500)
        topup_refunds.apply(refund_of(spent), NOW)
        assert standing(wallet) == (-500, 0)
        refunds.refund_event(caller=caller, record_id=charge.record_id, credits=Decimal(200), reason="Wrong", now=NOW)
        assert standing(wallet) == (-300, 0)
        assert is_clean()

    def test_from_credits_that_a_hold_had_set_aside(self, caller: Caller, wallet: Wallet) -> None:
        spent = a_paid_topup(wallet)
        spend(caller, 500)
        a_paid_topup(wallet)
        hold = held(caller, wallet, "500")
        topup_refunds.apply(refund_of(spent), NOW)
        assert standing(wallet) == (0, 0)
        holds.release(caller=caller, hold_id=hold.pk, now=NOW)
        assert standing(wallet) == (0, 0)
        assert is_clean()

    def test_from_credits_of_a_hold_whose_time_is_over(self, caller: Caller, wallet: Wallet) -> None:
        spent = a_paid_topup(wallet)
        spend(caller, 500)
        a_paid_topup(wallet)
        held(caller, wallet, "500")
        topup_refunds.apply(refund_of(spent), NOW)
        assert holds.expire_due(now=NOW + timedelta(hours=2)) == 1
        assert standing(wallet) == (0, 0)
        assert is_clean()


class TestTransfers:
    def test_credits_moved_to_another_wallet_are_owed_by_the_one_that_bought_them(self, caller: Caller, wallet: Wallet) -> None:
        friend = a_wallet(caller, "friend")
        topup = a_paid_topup(wallet)
        ledger.transfer(from_wallet_id=wallet.pk, to_wallet_id=friend.pk, credits=Decimal(499), reason="Gift", actor="system:t", now=NOW)
        fought = dispute_of(topup)
        disputes.apply(fought, NOW)
        assert (standing(wallet)[0], standing(friend)[0]) == (-499, 499)
        disputes.apply(fought | {"status": "won"}, NOW)
        assert (standing(wallet)[0], standing(friend)[0]) == (1, 499)
        assert is_clean()
        assert not LedgerEntry.objects.filter(wallet=friend, kind="withdrawal").exists()
