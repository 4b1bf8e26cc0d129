"""Charging saved cards: once for one need, within the caps, whatever fails in between; and never silently."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.conf import settings as configured
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from pytest_django import Settings

from billing.errors import InvalidRequest
from billing.models import (
    AutoTopUp,
    AutoTopUpState,
    BillingNotice,
    Environment,
    EventSweep,
    Operation,
    PackPrice,
    RefundState,
    StripeCustomer,
    StripeEvent,
    TopUp,
    TopUpChannel,
    TopUpRefund,
    TopUpStatus,
    UnappliedKind,
    Wallet,
    WalletStatus,
)
from billing.queries import auto_topups as queries
from billing.services import (
    auto_topup_terms,
    auto_topups,
    customers,
    holds,
    ledger,
    saved_cards,
    stripe_gateway,
    topup_orders,
    topup_refunds,
    unapplied_payments,
)
from billing.services.idempotency import Call
from billing.services.topup_orders import Order, Wanted
from billing.services.topup_sweeping import LAST_CALL
from pricing.models import Workspace
from tests import stripe_objects
from tests.billing import saving
from tests.billing.factories import NOW, a_caller, a_price, a_wallet
from tests.billing.selling import a_pack, an_order
from tests.billing.services.rivals import at_once
from tests.stripe_desk import StripeDesk

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def wallet() -> Wallet:
    return a_wallet(a_caller())


@pytest.fixture
def finance() -> User:
    return User.objects.create_superuser("ann", "ann@example.com")


def balance(wallet: Wallet) -> Decimal:
    wallet.refresh_from_db()
    return Decimal(wallet.balance)


def owed() -> list[str]:
    return list(BillingNotice.objects.order_by("pk").values_list("kind", flat=True))


def waits_for(wallet: Wallet) -> str:
    return queries.load(Wallet.objects.get(pk=wallet.pk), now=NOW).waits_for


def spend_all(wallet: Wallet) -> None:
    ledger.adjust(wallet_id=wallet.pk, credits=-balance(wallet), reason="spent", actor="system:tests", now=NOW)


def calls(desk: StripeDesk) -> list[Any]:
    return [call for call in desk.calls() if call["path"] == "/v1/payment_intents" and call["method"] == "POST"]


class TestTerms:
    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"threshold": Decimal(0)}, "threshold"),
            ({"day_cap": Decimal(9)}, "day_cap"),
            ({"month_cap": Decimal(29)}, "month_cap"),
            ({"day_cap": Decimal("30.001")}, "day_cap"),
            ({"month_cap": Decimal("1e20")}, "month_cap"),
            ({"currency": "EUR"}, "currency"),
            ({"amount": None}, "pack"),
            ({"amount": Decimal("0.001")}, "amount"),
            ({"amount": Decimal("0.49")}, "amount must be at least 0.50 USD"),
            ({"amount": Decimal(1_000_000)}, "amount must be above 0 and at most 999999.99 USD"),
        ],
    )
    def test_that_make_no_sense_are_refused(self, wallet: Wallet, fields: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidRequest, match=field):
            saving.an_auto_topup(wallet, **fields)

    def test_are_held_by_the_database_too(self, wallet: Wallet) -> None:
        auto = saving.an_auto_topup(wallet)
        wrong = {"threshold": 0, "month_cap_minor": 1, "amount_minor": None, "state": "stopped", "order_method": "pm_1"}
        for name, value in [*wrong.items(), ("amount_minor", 100_000_000)]:
            with pytest.raises(IntegrityError), transaction.atomic():
                AutoTopUp.objects.filter(pk=auto.pk).update(**{name: value})

    def test_changed_they_do_not_start_what_was_switched_off(self, wallet: Wallet) -> None:
        saving.an_auto_topup(wallet)
        auto_topup_terms.switch_off(wallet_id=wallet.pk, reason="Asked for it")
        auto = saving.an_auto_topup(wallet, threshold=Decimal(50))
        assert (auto.state, auto.threshold) == (AutoTopUpState.OFF, 50)
        assert [row.history_change_reason for row in auto.history.order_by("history_id")] == ["Asked for it"] * 3

    def test_of_nobody_cannot_be_stopped(self, wallet: Wallet) -> None:
        with pytest.raises(InvalidRequest, match="set it up first"):
            auto_topup_terms.switch_off(wallet_id=wallet.pk, reason="x")


class TestCharging:
    def test_a_pack_is_bought_at_its_price(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        a_pack(credits="1000", bonus="100", prices={"USD": ("9.99", "9.99")})
        saving.a_running_one(stripe_desk, wallet, pack="starter-1000", amount=None)
        assert saving.run() == 1
        assert balance(wallet) == 1100
        [call] = calls(stripe_desk)
        assert (call["params"]["amount"], call["params"]["off_session"], call["params"]["confirm"]) == ("999", "true", "true")

    def test_a_wallet_above_its_mark_is_left_alone(self, stripe_desk: StripeDesk) -> None:
        wallet = a_wallet(a_caller(), credits="100")
        saving.a_running_one(stripe_desk, wallet)
        assert (saving.run(), calls(stripe_desk)) == (0, [])

    def test_held_credits_are_not_available(self, stripe_desk: StripeDesk) -> None:
        caller = a_caller()
        wallet = a_wallet(caller, credits="150")
        a_price("60")
        saving.a_running_one(stripe_desk, wallet)
        assert saving.run() == 0
        call = Call(caller.project_id, "hold", Operation.HOLD, b"0" * 16)
        terms: dict[str, Any] = {"event": "chat.reply", "quantity": Decimal(1), "credits": None, "expires_in": 600}
        holds.place(caller=caller, customer=wallet.customer, call=call, now=NOW, **terms)
        assert saving.run() == 1

    def test_what_a_bank_takes_days_for_blocks_the_next(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        saving.a_running_one(stripe_desk, wallet, card="bank")
        assert saving.run() == 1
        [order] = saving.orders(wallet)
        assert (order.status, balance(wallet)) == (TopUpStatus.PROCESSING, 0)
        assert saving.run(NOW + timedelta(days=1)) == 0
        stripe_desk.bank_pays(order.payment_intent)
        saving.hear(stripe_desk)
        assert balance(wallet) == 1000
        saving.run(NOW + timedelta(days=1, minutes=1))
        assert saving.again(wallet).order is None

    def test_a_frozen_wallet_is_not_charged(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        saving.a_running_one(stripe_desk, wallet)
        customers.set_status(wallet_id=wallet.pk, status=WalletStatus.FROZEN, reason="x")
        assert saving.run() == 0
        assert "frozen" in waits_for(wallet)
        customers.set_status(wallet_id=wallet.pk, status=WalletStatus.ACTIVE, reason="x")
        assert saving.run() == 1

    def test_while_a_dispute_is_open_nothing_is_charged(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        saving.a_running_one(stripe_desk, wallet)
        saving.run()
        dispute = stripe_desk.open_dispute(saving.orders(wallet)[0].payment_intent, is_inquiry=True)
        saving.hear(stripe_desk)
        spend_all(wallet)
        assert saving.run(NOW + MINUTE) == 0
        assert "dispute" in waits_for(wallet)
        stripe_desk.close_dispute(dispute["id"], "won")
        saving.hear(stripe_desk)
        assert saving.run(NOW + MINUTE * 2) == 1

    def test_a_customer_elsewhere_than_production_is_not_charged_real_money(self, stripe_desk: StripeDesk) -> None:
        wallet = a_wallet(a_caller(environment=Environment.STAGING))
        auto = saving.a_running_one(stripe_desk, wallet)
        StripeCustomer.objects.update(is_live=True)
        assert not auto_topups._place(auto.pk, is_live=True, now=NOW)
        assert saving.again(wallet).state == AutoTopUpState.STOPPED
        assert "production" in saving.again(wallet).why

    def test_without_a_key_nothing_happens(self, wallet: Wallet, settings: Settings) -> None:
        settings.STRIPE_API_KEY = ""
        assert saving.run() == 0


class TestStopping:
    def test_at_once_when_a_card_will_not_work_again(self, wallet: Wallet, stripe_desk: StripeDesk, finance: User) -> None:
        saving.a_running_one(stripe_desk, wallet, card="authenticate")
        assert saving.run() == 1
        assert saving.again(wallet).state == AutoTopUpState.STOPPED
        assert owed() == ["auto_topup_stopped"]
        assert saving.run(NOW + timedelta(days=9)) == 0

    def test_when_money_went_back(self, wallet: Wallet, stripe_desk: StripeDesk, finance: User) -> None:
        saving.a_running_one(stripe_desk, wallet)
        saving.run()
        saving.hear(stripe_desk)
        paid = saving.orders(wallet)[0]
        stripe_desk.refund(paid.payment_intent)
        saving.hear(stripe_desk)
        assert balance(wallet) == 0
        assert saving.run(NOW + timedelta(hours=1)) == 0
        assert "was refunded" in saving.again(wallet).why
        auto_topup_terms.start_again(wallet_id=wallet.pk, reason="Wanted all the same", now=NOW + timedelta(hours=2))
        assert saving.run(NOW + timedelta(hours=2)) == 1

    def test_not_when_a_refund_is_only_asked_for_or_rejected(self, stripe_desk: StripeDesk, finance: User) -> None:
        wallet = a_wallet(a_caller())
        saving.a_running_one(stripe_desk, wallet)
        Workspace.objects.update(refund_limit=1)
        asked = topup_refunds.request(topup_id=self.paid_by(wallet).pk, amount_minor=1000, reason="x", requested_by=finance, now=NOW)
        assert asked.state == RefundState.REQUESTED
        spend_all(wallet)
        assert saving.run(NOW + MINUTE) == 1
        topup_refunds.withdraw(refund_id=asked.pk, reason="x", by=finance, now=NOW + MINUTE)
        spend_all(wallet)
        assert saving.run(NOW + MINUTE * 2) == 1
        assert (saving.again(wallet).state, owed()) == (AutoTopUpState.ACTIVE, [])

    def test_not_when_what_was_paid_beside_an_order_goes_back(self, wallet: Wallet, stripe_desk: StripeDesk, finance: User) -> None:
        saving.a_running_one(stripe_desk, wallet)
        topup = self.paid_by(wallet)
        paid: dict[str, Any] = {"payment_intent": "pi_twice", "charge": "ch_twice", "amount_minor": 1000, "currency": "USD"}
        twice, _ = unapplied_payments.keep(topup, kind=UnappliedKind.AGAIN, now=NOW, **paid)
        facts = {"amount_minor": 1000, "created_at": NOW + MINUTE, "changed_at": NOW + MINUTE}
        refund = TopUpRefund.objects.create(topup=topup, unapplied=twice, state=RefundState.APPROVED, **facts)
        spend_all(wallet)
        assert waits_for(wallet) == ""
        assert saving.run(NOW + MINUTE * 2) == 1
        TopUpRefund.objects.filter(pk=refund.pk).update(state=RefundState.SUCCEEDED, stripe_id="re_twice")
        spend_all(wallet)
        assert saving.run(NOW + MINUTE * 3) == 1
        assert saving.again(wallet).state == AutoTopUpState.ACTIVE

    def test_a_refund_that_is_to_be_sent_holds_it_back_until_stripe_answers(self, stripe_desk: StripeDesk, finance: User) -> None:
        wallet = a_wallet(a_caller())
        saving.a_running_one(stripe_desk, wallet)
        asked = topup_refunds.request(topup_id=self.paid_by(wallet).pk, amount_minor=500, reason="x", requested_by=finance, now=NOW)
        assert asked.state == RefundState.APPROVED
        spend_all(wallet)
        assert saving.run(NOW + MINUTE) == 0
        assert "A refund is about to be sent" in waits_for(wallet)
        TopUpRefund.objects.update(state=RefundState.FAILED)  # as Stripe's refusal does
        assert saving.run(NOW + MINUTE * 2) == 1
        assert saving.again(wallet).state == AutoTopUpState.ACTIVE

    def test_when_money_leaves_that_was_asked_for_before_it_was_started(self, stripe_desk: StripeDesk, finance: User) -> None:
        wallet = a_wallet(a_caller())
        saving.a_running_one(stripe_desk, wallet)
        asked = topup_refunds.request(topup_id=self.paid_by(wallet).pk, amount_minor=500, reason="x", requested_by=finance, now=NOW)
        auto_topup_terms.switch_off(wallet_id=wallet.pk, reason="x")
        auto_topup_terms.start_again(wallet_id=wallet.pk, reason="x", now=NOW + MINUTE)
        stripe_desk.refunds_are("pending")
        sent = topup_refunds.send(refund_id=asked.pk, gateway=stripe_gateway.gateway(), now=NOW + MINUTE * 2)
        assert sent.state == RefundState.PENDING
        spend_all(wallet)
        assert saving.run(NOW + MINUTE * 3) == 0
        assert "was refunded" in saving.again(wallet).why
        # Whoever starts it knows of the refund: that the bank confirms it later changes nothing.
        auto_topup_terms.start_again(wallet_id=wallet.pk, reason="x", now=NOW + MINUTE * 4)
        stripe_desk.settle_refund(sent.stripe_id)
        saving.hear(stripe_desk, now=NOW + MINUTE * 5)
        assert TopUpRefund.objects.get().state == RefundState.SUCCEEDED
        assert saving.run(NOW + MINUTE * 6) == 1

    def paid_by(self, wallet: Wallet) -> TopUp:
        saving.run()
        [order] = saving.orders(wallet)
        assert order.status == TopUpStatus.PAID
        return order

    def test_when_stripe_charges_no_such_amount(self, wallet: Wallet, stripe_desk: StripeDesk, finance: User) -> None:
        """As where the account settles in another currency: only Stripe knows the minimum."""
        saving.a_running_one(stripe_desk, wallet)
        stripe_desk.minimum_is("USD", 1001)
        assert [saving.run(NOW + MINUTE * n) for n in range(3)] == [1, 0, 0]
        auto, [order] = saving.again(wallet), saving.orders(wallet)
        assert (auto.state, auto.why) == (AutoTopUpState.STOPPED, "Amount must be at least 10.01 usd (amount_too_small)")
        assert (order.status, len(calls(stripe_desk)), owed()) == (TopUpStatus.FAILED, 1, ["auto_topup_stopped"])

    def test_when_a_packs_price_has_fallen_below_what_stripe_charges(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        saving.a_running_one(stripe_desk, wallet, pack=a_pack().key, amount=None)
        PackPrice.objects.update(amount_minor=49)
        assert (saving.run(), calls(stripe_desk)) == (0, [])
        assert "must be at least 0.50 USD" in saving.again(wallet).why

    def test_when_a_dispute_is_lost(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        saving.a_running_one(stripe_desk, wallet)
        saving.run()
        dispute = stripe_desk.open_dispute(saving.orders(wallet)[0].payment_intent)
        saving.hear(stripe_desk)
        stripe_desk.close_dispute(dispute["id"], "lost")
        saving.hear(stripe_desk, now=NOW + timedelta(days=9))
        assert saving.run(NOW + timedelta(days=10)) == 0
        assert "was lost" in saving.again(wallet).why

    def test_when_stripe_warns_of_fraud(self, wallet: Wallet, stripe_desk: StripeDesk, finance: User) -> None:
        saving.a_running_one(stripe_desk, wallet)
        saving.run()
        stripe_desk.warn(saving.orders(wallet)[0].payment_intent)
        saving.hear(stripe_desk)
        assert (saving.again(wallet).state, owed()) == (AutoTopUpState.STOPPED, ["auto_topup_stopped"])

    def test_when_a_pack_costs_more_than_a_cap_or_is_sold_no_more(self, stripe_desk: StripeDesk, finance: User) -> None:
        caller = a_caller()
        pack = a_pack()
        first, second = a_wallet(caller, "one"), a_wallet(caller, "two")
        for wallet in (first, second):
            saving.a_running_one(stripe_desk, wallet, pack=pack.key, amount=None)
        PackPrice.objects.update(amount_minor=3001)
        assert saving.run() == 0
        assert "costs 30.01 USD by now, more than the cap of 30 USD a day" in saving.again(first).why
        pack.active_until = NOW
        pack.save()
        auto_topup_terms.start_again(wallet_id=second.pk, reason="x", now=NOW)
        assert saving.run() == 0
        assert "not sold any more" in saving.again(second).why
        assert owed() == ["auto_topup_stopped"] * 3

    def test_a_person_stops_what_is_under_way_after_this_one(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        saving.a_running_one(stripe_desk, wallet, card="bank")
        saving.run()
        auto_topup_terms.switch_off(wallet_id=wallet.pk, reason="Enough")
        stripe_desk.bank_refuses(saving.orders(wallet)[0].payment_intent)
        saving.hear(stripe_desk)
        saving.run(NOW + MINUTE)
        auto = saving.again(wallet)
        assert (auto.state, auto.failures, auto.order) == (AutoTopUpState.OFF, 0, None)


class TestCaps:
    def test_of_a_day_hold_until_midnight_of_the_workspace(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        Workspace.objects.update(time_zone="Europe/Vienna")
        saving.a_running_one(stripe_desk, wallet, threshold=Decimal(100_000))
        day = datetime(2026, 10, 24, 22, 30, tzinfo=UTC)  # half an hour into the day of 25 hours
        assert [saving.run(day + MINUTE * n) for n in range(5)] == [1, 1, 1, 0, 0]
        auto = saving.again(wallet)
        assert auto.why == "The cap of the day is reached: 30 of 30 USD were charged, and one more top-up costs 10 USD."
        assert auto.next_attempt_at == datetime(2026, 10, 25, 23, tzinfo=UTC)
        assert saving.run(day + timedelta(hours=24)) == 0  # 24 hours later it is still that day
        assert saving.run(datetime(2026, 10, 25, 23, tzinfo=UTC)) == 1
        assert queries.used(auto, now=datetime(2026, 10, 25, 23, tzinfo=UTC)) == queries.Used(1000, 4000)

    def test_of_a_month_hold_until_the_next(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        Workspace.objects.update(time_zone="Europe/Vienna")
        saving.a_running_one(stripe_desk, wallet, threshold=Decimal(100_000), day_cap=Decimal(20), month_cap=Decimal(20))
        last = datetime(2026, 10, 31, 22, 30, tzinfo=UTC)  # half an hour before November in Vienna
        assert [saving.run(last + MINUTE * n) for n in range(3)] == [1, 1, 0]
        assert saving.again(wallet).next_attempt_at == datetime(2026, 10, 31, 23, tzinfo=UTC)
        assert saving.run(datetime(2026, 10, 31, 23, tzinfo=UTC)) == 1

    def test_changed_they_hold_at_once(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        saving.a_running_one(stripe_desk, wallet, threshold=Decimal(100_000), day_cap=Decimal(10))
        assert [saving.run(NOW + MINUTE * n) for n in range(2)] == [1, 0]
        saving.an_auto_topup(wallet, threshold=Decimal(100_000), day_cap=Decimal(20))
        assert saving.run(NOW + MINUTE * 3) == 1

    def test_are_told_of_once_a_cap_and_period(self, wallet: Wallet, stripe_desk: StripeDesk, finance: User) -> None:
        terms: dict[str, Any] = {"threshold": Decimal(100_000), "day_cap": Decimal(10), "month_cap": Decimal(20)}
        saving.a_running_one(stripe_desk, wallet, **terms)
        day = timedelta(days=1)
        assert [saving.run(NOW + MINUTE * n) for n in range(4)] == [1, 0, 0, 0]
        assert owed() == ["auto_topup_capped"]
        saving.an_auto_topup(wallet, **terms)  # agreed on again, it looks again
        assert (saving.run(NOW + MINUTE * 5), owed()) == (0, ["auto_topup_capped"])
        assert [saving.run(NOW + day + MINUTE * n) for n in range(3)] == [1, 0, 0]
        assert owed() == ["auto_topup_capped"] * 2  # of the month now
        assert [saving.run(NOW + day * 2 + MINUTE * n) for n in range(3)] == [0, 0, 0]
        causes = BillingNotice.objects.order_by("pk").values_list("cause", flat=True)
        assert [cause.split(":")[2] for cause in causes] == ["day", "month"]

    def test_what_failed_does_not_count(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        auto = saving.a_running_one(stripe_desk, wallet, card="fails_later", day_cap=Decimal(10))
        assert saving.run() == 1
        assert queries.used(auto, now=NOW).day_minor == 0
        assert saving.run(NOW + timedelta(hours=1, minutes=1)) == 1

    def test_the_database_takes_one_order_at_a_time(self, wallet: Wallet) -> None:
        an_order(wallet, channel=TopUpChannel.AUTO, status=TopUpStatus.NEW)
        with pytest.raises(IntegrityError, match="topup_automatic_is_one_at_a_time"):
            an_order(wallet, channel=TopUpChannel.AUTO, status=TopUpStatus.PROCESSING)


class TestCallsThatAreCutOff:
    @pytest.mark.parametrize("fault", ["500", "429", "lost"])
    def test_are_made_again_and_charge_once(self, wallet: Wallet, stripe_desk: StripeDesk, fault: str) -> None:
        saving.a_running_one(stripe_desk, wallet)
        stripe_desk.fail_next(fault, times=1 if fault == "429" else 2)  # the client tries twice, but when it is to slow down
        assert saving.run() == 0
        assert (saving.orders(wallet)[0].status, balance(wallet)) == (TopUpStatus.NEW, 0)
        assert saving.run(NOW + timedelta(seconds=30)) == 0
        assert len({call["key"] for call in calls(stripe_desk)}) == 1
        saving.run(NOW + timedelta(minutes=2))
        assert (balance(wallet), saving.charges(stripe_desk)) == (1000, 1)
        assert len(saving.orders(wallet)) == 1

    def test_the_event_may_come_before_the_answer(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        saving.a_running_one(stripe_desk, wallet)
        stripe_desk.fail_next("lost", times=2)
        saving.run()
        saving.hear(stripe_desk)
        assert balance(wallet) == 1000
        saving.run(NOW + timedelta(minutes=2))
        assert (saving.again(wallet).order, balance(wallet), saving.charges(stripe_desk)) == (None, 1000, 1)

    def test_are_the_same_call_though_another_card_was_saved(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        saving.a_running_one(stripe_desk, wallet)
        stripe_desk.fail_next("lost", times=2)
        saving.run()
        StripeCustomer.objects.update(payment_method="pm_card_mastercard")
        saving.run(NOW + timedelta(minutes=2))
        assert (balance(wallet), saving.charges(stripe_desk)) == (1000, 1)

    def test_a_decline_that_only_an_event_told_of_counts_with_its_code(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        saving.a_running_one(stripe_desk, wallet, card="authenticate")
        stripe_desk.fail_next("lost", times=2)
        saving.run()
        saving.hear(stripe_desk)
        assert saving.orders(wallet)[0].status == TopUpStatus.FAILED
        saving.run(NOW + timedelta(minutes=2))
        assert "authentication_required" in saving.again(wallet).why

    def test_after_a_day_only_what_stripe_told_decides(self, wallet: Wallet, stripe_desk: StripeDesk, finance: User) -> None:
        saving.a_running_one(stripe_desk, wallet)
        stripe_desk.fail_next("500", times=2)
        saving.run()
        late = NOW + LAST_CALL + timedelta(hours=2)
        made = len(calls(stripe_desk))
        saving.run(late)
        assert saving.orders(wallet)[0].status == TopUpStatus.NEW
        EventSweep.objects.create(is_live=False, reached_at=late)
        saving.run(late + MINUTE)
        assert len(calls(stripe_desk)) == made
        auto = saving.again(wallet)
        assert (saving.orders(wallet)[0].status, auto.state) == (TopUpStatus.FAILED, AutoTopUpState.BACKING_OFF)
        assert owed() == ["auto_topup_declined"]

    @pytest.mark.parametrize("because", ["switched off", "frozen"])
    def test_are_not_made_again_for_what_was_stopped_meanwhile(self, wallet: Wallet, stripe_desk: StripeDesk, because: str) -> None:
        saving.a_running_one(stripe_desk, wallet)
        stripe_desk.fail_next("500", times=2)
        saving.run()
        if because == "frozen":
            Wallet.objects.filter(pk=wallet.pk).update(status="frozen")
        else:
            auto_topup_terms.switch_off(wallet_id=wallet.pk, reason="Enough")
        for minutes in (2, 20, 200):
            saving.run(NOW + MINUTE * minutes)
        assert saving.charges(stripe_desk) == 0
        EventSweep.objects.create(is_live=False, reached_at=NOW + MINUTE * 300)
        saving.run(NOW + MINUTE * 301)
        assert saving.orders(wallet)[0].status == TopUpStatus.FAILED

    def test_one_that_never_ends_does_not_stop_the_others(self, stripe_desk: StripeDesk) -> None:
        caller = a_caller()
        wallets = [a_wallet(caller, f"user_{n}") for n in range(3)]
        for wallet in wallets:
            saving.a_running_one(stripe_desk, wallet)
        stripe_desk.fail_next("500", times=2)
        assert saving.run() == 2


class TestAKeyOfTheOtherMode:
    """The desk's key is the simulation's, of the test mode; what was real money is so in the rows."""

    def real(self, wallet: Wallet) -> None:
        """An order under way that was made with the live key."""
        TopUp.objects.filter(wallet=wallet).update(is_live=True)
        StripeCustomer.objects.filter(customer=wallet.customer).update(is_live=True)

    @pytest.mark.parametrize("card", ["visa", "bank"])
    def test_ends_an_order_of_real_money_stops_and_tells(self, wallet: Wallet, stripe_desk: StripeDesk, finance: User, card: str) -> None:
        saving.a_running_one(stripe_desk, wallet, card=card)
        if card == "visa":
            stripe_desk.fail_next("500", times=2)
        saving.run()
        self.real(wallet)
        made = len(stripe_desk.calls())
        saving.run(NOW + LAST_CALL * 2)
        [order], auto = saving.orders(wallet), saving.again(wallet)
        assert (order.status, auto.order, auto.state) == (TopUpStatus.FAILED, None, AutoTopUpState.STOPPED)
        assert order.failure.startswith("Stripe's key has changed from real money to test mode since it was ordered")
        assert "Look in Stripe's dashboard whether it was paid" in auto.why
        assert (waits_for(wallet), owed(), len(stripe_desk.calls())) == ("", ["auto_topup_stopped"], made)
        assert saving.run(NOW + LAST_CALL * 3) == 0

    def test_money_that_comes_after_all_is_deposited(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        saving.a_running_one(stripe_desk, wallet, card="bank")
        saving.run()
        self.real(wallet)
        saving.run(NOW + MINUTE)
        TopUp.objects.update(is_live=False)  # the old key is back
        stripe_desk.bank_pays(saving.orders(wallet)[0].payment_intent)
        saving.hear(stripe_desk)
        assert (saving.orders(wallet)[0].status, balance(wallet)) == (TopUpStatus.PAID, 1000)

    def test_of_an_order_in_the_test_mode_it_goes_on(self, wallet: Wallet, stripe_desk: StripeDesk, finance: User) -> None:
        auto = saving.a_running_one(stripe_desk, wallet, card="bank")
        saving.run()
        [order] = saving.orders(wallet)
        live = type("Live", (), {"is_live": True})()  # nothing of it is asked
        auto_topups._follow(auto.pk, auto_topups._Run(live, NOW + MINUTE))
        order.refresh_from_db()
        assert (order.status, "from test mode to real money" in order.failure) == (TopUpStatus.FAILED, True)
        auto = saving.again(wallet)
        assert (auto.order, auto.state, auto.failures, owed()) == (None, AutoTopUpState.ACTIVE, 0, [])
        assert not auto_topups._place(auto.pk, is_live=True, now=NOW + MINUTE)
        assert "Have one saved anew" in saving.again(wallet).why
        assert owed() == ["auto_topup_stopped"]

    def test_what_stripe_forgot_of_a_failed_order_does_not_hold_it_up(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        saving.a_running_one(stripe_desk, wallet)
        stripe_desk.fail_next("500", times=2)
        saving.run()
        TopUp.objects.update(status=TopUpStatus.FAILED, payment_intent="pi_of_another_account", failure="Declined.")
        saving.run(NOW + MINUTE)
        auto = saving.again(wallet)
        assert (auto.order, auto.state, auto.why) == (None, AutoTopUpState.BACKING_OFF, "Declined.")


class TestSavedCards:
    def test_an_account_is_made_once(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        stripe_desk.fail_next("lost", times=2)
        with pytest.raises(Exception, match="did not answer"):
            saved_cards.link(customer=wallet.customer, return_url=saving.RETURN, now=NOW)
        for minutes in (1, 2):
            saved_cards.link(customer=wallet.customer, return_url=saving.RETURN, now=NOW + MINUTE * minutes)
        assert StripeCustomer.objects.count() == 1
        assert sum(event["type"] == "customer.created" for event in stripe_desk.events()) == 1

    def test_a_checkout_keeps_its_card_while_one_is_wanted(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        wanted = Order(wallet.customer, Wanted(amount=Decimal(10), currency="USD"), TopUpChannel.API, "x", saving.RETURN)
        assert topup_orders.order(wanted, now=NOW).topup.saves_card_for == ""
        saving.an_auto_topup(wallet)
        topup = topup_orders.order(wanted, now=NOW + MINUTE).topup
        stripe_desk.pay(topup.checkout_session, card="mastercard")
        saving.hear(stripe_desk)
        assert StripeCustomer.objects.get().method_label == "Mastercard 4444, 12/2034"
        assert (saving.again(wallet).state, balance(wallet)) == (AutoTopUpState.ACTIVE, 1000)
        assert topup_orders.order(wanted, now=NOW + MINUTE * 2).topup.saves_card_for == ""

    def test_older_news_changes_nothing(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        saving.save_card(stripe_desk, wallet)
        account = saving.save_card(stripe_desk, wallet, card="mastercard", now=NOW + MINUTE)
        assert account.method_changed_at is not None
        first = next(event["data"]["object"]["id"] for event in stripe_desk.do("events") if event["type"] == "payment_method.attached")
        said = saved_cards.keep(
            stripe_id=account.stripe_id, method=first, at=account.method_changed_at - MINUTE, gateway=stripe_gateway.gateway
        )
        assert said == "Visa 4242, 12/2034 was saved before what is saved now."
        account.refresh_from_db()
        assert account.method_label == "Mastercard 4444, 12/2034"

    @pytest.mark.parametrize("kind", ["payment_method.detached", "customer.deleted"])
    def test_gone_at_stripe_it_stops_and_tells(self, wallet: Wallet, stripe_desk: StripeDesk, finance: User, kind: str) -> None:
        saving.a_running_one(stripe_desk, wallet)
        account = StripeCustomer.objects.get()
        about = {"id": account.payment_method if kind.startswith("payment") else account.stripe_id}
        body = stripe_objects.body_of(stripe_objects.event(kind, about)).decode()
        saved_cards.HANDLERS[kind](StripeEvent(type=kind, body=body, happened_at=NOW), NOW)
        assert (saving.run(NOW + MINUTE), saving.again(wallet).state, owed()) == (0, AutoTopUpState.STOPPED, ["auto_topup_stopped"])
        saving.save_card(stripe_desk, wallet, now=NOW + MINUTE)
        auto_topup_terms.start_again(wallet_id=wallet.pk, reason="x", now=NOW + MINUTE)
        assert saving.run(NOW + MINUTE * 2) == 1


@pytest.mark.django_db(transaction=True)
class TestWorkers:
    def test_eight_at_once_charge_once_for_each_wallet(self, stripe_desk: StripeDesk) -> None:
        caller = a_caller()
        wallets = [a_wallet(caller, f"user_{n}") for n in range(4)]
        for wallet in wallets:
            saving.a_running_one(stripe_desk, wallet)
        results = at_once([saving.run] * 8)
        assert [result for result in results if isinstance(result, Exception)] == []
        saving.run(NOW + timedelta(minutes=2))
        assert [balance(wallet) for wallet in wallets] == [1000] * 4
        assert (TopUp.objects.count(), saving.charges(stripe_desk)) == (4, 4)

    def test_eight_at_once_keep_a_cap(self, stripe_desk: StripeDesk) -> None:
        wallet = a_wallet(a_caller())
        saving.a_running_one(stripe_desk, wallet, threshold=Decimal(100_000), day_cap=Decimal(20))
        for round_ in range(3):
            at_once([partial(saving.run, NOW + MINUTE * round_)] * 8)
        assert (saving.charges(stripe_desk), balance(wallet)) == (2, 2000)

    @pytest.mark.slow
    def test_one_that_is_killed_while_stripe_answers_charges_once(self, stripe_desk: StripeDesk) -> None:
        wallet = a_wallet(a_caller())
        saving.a_running_one(stripe_desk, wallet)
        stripe_desk.fail_next("slow")
        database = f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{connection.settings_dict['NAME']}"
        work = (
            f"from datetime import datetime; from billing.services import auto_topups as a; a.run_due(now=datetime.fromisoformat('{NOW}'))"
        )
        environment = {**os.environ, **stripe_desk.env, "DATABASE_URL": database}
        child = subprocess.Popen([sys.executable, "manage.py", "shell", "-c", work], cwd=configured.BASE_DIR, env=environment)
        deadline = time.monotonic() + 60
        while not calls(stripe_desk) and time.monotonic() < deadline:
            time.sleep(0.05)
        child.kill()
        assert child.wait(60) == -signal.SIGKILL
        assert (saving.orders(wallet)[0].status, balance(wallet), saving.charges(stripe_desk)) == (TopUpStatus.NEW, 0, 1)
        saving.run(NOW + timedelta(minutes=2))
        assert (saving.orders(wallet)[0].status, balance(wallet), saving.charges(stripe_desk)) == (TopUpStatus.PAID, 1000, 1)
