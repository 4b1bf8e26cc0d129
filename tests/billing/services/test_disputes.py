"""Disputes: credits go and come back to the last unit, and a frozen wallet is released by whoever froze it."""

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import permutations
from threading import Thread
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import ProgrammingError, connection

from billing.models import BillingNotice, Dispute, DisputeState, PlatformFee, TopUp, Wallet, WalletStatus
from billing.services import checking, customers, disputes, ledger, topup_refunds
from config.roles import Role
from pricing.models import SpentRefundPolicy, Workspace
from tests import stripe_objects
from tests.billing.factories import a_caller, a_wallet
from tests.billing.topups import NOW, a_paid_topup, an_order
from tests.people import a_person

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def wallet() -> Wallet:
    return a_wallet(a_caller())


@pytest.fixture
def topup(wallet: Wallet) -> TopUp:
    return a_paid_topup(wallet)


def told(topup: TopUp, **overlay: Any) -> dict[str, Any]:
    return stripe_objects.dispute(**({"payment_intent": topup.payment_intent, "charge": topup.charge, "amount": 500} | overlay))


def standing(wallet: Wallet) -> tuple[Decimal, str]:
    wallet.refresh_from_db()
    return Decimal(wallet.balance), wallet.status


def spend(wallet: Wallet, credits: str) -> None:
    ledger.adjust(wallet_id=wallet.pk, credits=-Decimal(credits), reason="Spent", actor="system:tests", now=NOW)


def later(minutes: int) -> datetime:
    return NOW + timedelta(minutes=minutes)


def is_clean() -> bool:
    return checking.check(now=NOW, actor="system:tests").is_clean


class TestOpened:
    def test_takes_the_credits_and_freezes(self, wallet: Wallet, topup: TopUp) -> None:
        disputes.apply(told(topup), NOW)
        assert standing(wallet) == (0, WalletStatus.FROZEN)
        assert is_clean()

    def test_shortfall_is_owed(self, wallet: Wallet, topup: TopUp) -> None:
        spend(wallet, "123.456")
        disputes.apply(told(topup), NOW)
        assert standing(wallet)[0] == Decimal("-123.456")
        assert is_clean()

    def test_shortfall_is_written_off_where_the_policy_says_so(self, wallet: Wallet, topup: TopUp) -> None:
        Workspace.objects.update_or_create(pk=1, defaults={"spent_refund_policy": SpentRefundPolicy.WRITE_OFF})
        spend(wallet, "123.456")
        disputes.apply(told(topup), NOW)
        assert standing(wallet)[0] == 0
        assert is_clean()

    def test_inquiry_moves_nothing(self, wallet: Wallet, topup: TopUp) -> None:
        disputes.apply(told(topup, status="warning_needs_response"), NOW)
        assert standing(wallet) == (500, WalletStatus.ACTIVE)

    def test_after_a_part_was_refunded_takes_the_rest(self, wallet: Wallet, topup: TopUp) -> None:
        part = stripe_objects.refund(payment_intent=topup.payment_intent, amount=200)
        topup_refunds.apply(part, NOW)
        disputes.apply(told(topup), NOW)
        assert standing(wallet)[0] == 0
        assert is_clean()


class TestClosed:
    @pytest.mark.parametrize("spent", ["0.000001", "77.7", "500"])
    @pytest.mark.parametrize("end", ["won", "prevented", "warning_closed"])
    def test_gives_back_exactly_what_was_taken(self, wallet: Wallet, topup: TopUp, spent: str, end: str) -> None:
        spend(wallet, spent)
        before = standing(wallet)
        dispute = told(topup)
        disputes.apply(dispute, NOW)
        disputes.apply(dispute | {"status": end}, NOW)
        assert standing(wallet) == before
        assert is_clean()

    def test_lost_keeps_it(self, wallet: Wallet, topup: TopUp) -> None:
        dispute = told(topup)
        disputes.apply(dispute, NOW)
        disputes.apply(dispute | {"status": "lost"}, NOW)
        assert standing(wallet) == (0, WalletStatus.ACTIVE)

    @pytest.mark.parametrize("order", list(permutations(("warning_needs_response", "needs_response", "under_review", "won"))))
    def test_any_order_ends_in_the_same_books(self, wallet: Wallet, topup: TopUp, order: tuple[str, ...]) -> None:
        dispute = told(topup)
        for status in order:
            disputes.apply(dispute | {"status": status}, NOW)
        assert standing(wallet) == (500, WalletStatus.ACTIVE)
        assert Dispute.objects.get().state == DisputeState.WON
        assert is_clean()


class TestMoneyThatIsGoneTwice:
    """A bank takes back what is being refunded: the money is gone once, and the credits with it."""

    def test_refund_that_fails_leaves_the_credits_to_the_dispute(self, wallet: Wallet, topup: TopUp) -> None:
        refund = stripe_objects.refund(payment_intent=topup.payment_intent, amount=300, status="pending")
        topup_refunds.apply(refund, NOW)
        dispute = told(topup)
        disputes.apply(dispute, NOW)
        topup_refunds.apply(refund | {"status": "failed"}, NOW)
        assert standing(wallet)[0] == 0
        disputes.apply(dispute | {"status": "lost"}, NOW)
        assert standing(wallet)[0] == 0
        assert is_clean()

    def test_and_the_dispute_gives_them_back_when_it_is_won(self, wallet: Wallet, topup: TopUp) -> None:
        refund = stripe_objects.refund(payment_intent=topup.payment_intent, amount=300, status="pending")
        topup_refunds.apply(refund, NOW)
        dispute = told(topup)
        disputes.apply(dispute, NOW)
        topup_refunds.apply(refund | {"status": "failed"}, NOW)
        disputes.apply(dispute | {"status": "won"}, NOW)
        assert standing(wallet) == (500, WalletStatus.ACTIVE)
        assert is_clean()

    def test_only_what_overlaps_is_left_out(self, wallet: Wallet, topup: TopUp) -> None:
        refund = stripe_objects.refund(payment_intent=topup.payment_intent, amount=300, status="pending")
        topup_refunds.apply(refund, NOW)
        disputes.apply(told(topup, amount=300), NOW)
        topup_refunds.apply(refund | {"status": "failed"}, NOW)
        assert standing(wallet)[0] == 200
        assert is_clean()


class TestAmounts:
    def test_above_what_was_paid_counts_as_all_of_it(self, wallet: Wallet, topup: TopUp) -> None:
        disputes.apply(told(topup, amount=530), NOW)
        assert standing(wallet)[0] == 0
        assert topup_refunds.refundable(topup) == 0

    def test_in_another_currency_counts_as_all_of_it(self, wallet: Wallet, topup: TopUp) -> None:
        disputes.apply(told(topup, amount=100, currency="eur"), NOW)
        assert standing(wallet)[0] == 0
        assert is_clean()

    def test_part_takes_a_part(self, wallet: Wallet, topup: TopUp) -> None:
        dispute = told(topup, amount=200)
        disputes.apply(dispute, NOW)
        disputes.apply(dispute | {"status": "lost"}, NOW)
        assert standing(wallet)[0] == 300


class TestLostAfterAll:
    """No end is the last word: what Stripe said last counts, and the credits leave and return as often as the money."""

    @pytest.mark.parametrize("policy", SpentRefundPolicy)
    @pytest.mark.parametrize("spent", ["0", "0.000001", "77.7", "500"])
    @pytest.mark.parametrize("end", ["won", "prevented", "warning_closed"])
    def test_takes_the_credits_again(self, wallet: Wallet, topup: TopUp, end: str, spent: str, policy: SpentRefundPolicy) -> None:
        Workspace.objects.update_or_create(pk=1, defaults={"spent_refund_policy": policy})
        dispute = told(topup)
        disputes.apply(dispute, NOW)
        disputes.apply(dispute | {"status": end}, later(1))
        if Decimal(spent):
            spend(wallet, spent)
        disputes.apply(dispute | {"status": "lost"}, later(2))
        written_off = policy == SpentRefundPolicy.WRITE_OFF
        assert standing(wallet) == (0 if written_off else -Decimal(spent), WalletStatus.ACTIVE)
        row = Dispute.objects.get()
        assert (row.state, row.credits, row.given_back, len(row.earlier_withdrawals)) == (DisputeState.LOST, 500, None, 1)
        assert is_clean()
        disputes.apply(dispute | {"status": "won"}, later(3))
        assert standing(wallet) == (500 - Decimal(spent), WalletStatus.ACTIVE)
        assert is_clean()

    def test_freezes_again_when_it_is_opened_again_and_tells_of_it(self, wallet: Wallet, topup: TopUp) -> None:
        User.objects.filter(pk=a_person(Role.FINANCE).pk).update(email="ann@example.com")
        dispute = told(topup)
        for minutes, status in enumerate(["needs_response", "won", "under_review", "under_review"]):
            disputes.apply(dispute | {"status": status}, later(minutes))
        assert standing(wallet) == (0, WalletStatus.FROZEN)
        assert BillingNotice.objects.filter(kind="dispute_opened").count() == 2
        disputes.apply(dispute | {"status": "lost"}, later(4))
        assert standing(wallet) == (0, WalletStatus.ACTIVE)
        assert is_clean()

    def test_older_news_changes_nothing_whatever_it_says(self, wallet: Wallet, topup: TopUp) -> None:
        dispute = told(topup)
        disputes.apply(dispute | {"status": "lost"}, later(5))
        for minutes, status in ((4, "won"), (0, "needs_response"), (1, "warning_closed")):
            assert "lost already" in disputes.apply(dispute | {"status": status}, later(9), told_at=later(minutes))
        assert standing(wallet) == (0, WalletStatus.ACTIVE)

    def test_more_movements_are_later_within_a_second(self, wallet: Wallet, topup: TopUp) -> None:
        gone = stripe_objects.balance_transaction(amount=-500, fee=0, net=-500, type="adjustment")
        dispute = told(topup, status="prevented")
        disputes.apply(dispute | {"balance_transactions": [gone]}, NOW)
        disputes.apply(dispute, NOW)
        assert standing(wallet)[0] == 0
        assert Dispute.objects.get().state == DisputeState.LOST

    def test_while_a_refund_keeps_some_of_its_credits(self, wallet: Wallet, topup: TopUp) -> None:
        """Of 500 disputed, 300 were refunded meanwhile: won, it returns 200 and keeps 300 for the refund; lost, it takes those 200."""
        dispute = told(topup)
        disputes.apply(dispute, NOW)
        refund = stripe_objects.refund(payment_intent=topup.payment_intent, amount=300, status="pending")
        topup_refunds.apply(refund, NOW)
        disputes.apply(dispute | {"status": "won"}, later(1))
        assert standing(wallet)[0] == 200
        disputes.apply(dispute | {"status": "lost"}, later(2))
        assert (standing(wallet)[0], Dispute.objects.get().credits) == (0, 500)
        assert is_clean()
        topup_refunds.apply(refund | {"status": "failed"}, later(3))
        assert standing(wallet)[0] == 0
        disputes.apply(dispute | {"status": "won"}, later(4))
        assert standing(wallet)[0] == 500
        assert is_clean()

    def test_about_another_amount(self, wallet: Wallet, topup: TopUp) -> None:
        dispute = told(topup, amount=500, status="warning_needs_response")
        disputes.apply(dispute, NOW)
        for minutes, (amount, left) in enumerate([(200, 300), (500, 0), (100, 400)], start=1):
            disputes.apply(dispute | {"amount": amount, "status": "needs_response"}, later(minutes))
            assert standing(wallet)[0] == left
            assert is_clean()
        disputes.apply(dispute | {"amount": 100, "status": "won"}, later(4))
        assert standing(wallet) == (500, WalletStatus.ACTIVE)
        assert is_clean()

    def test_database_keeps_what_took_the_credits(self, topup: TopUp) -> None:
        dispute = told(topup)
        for minutes, status in enumerate(["needs_response", "won", "lost"]):
            disputes.apply(dispute | {"status": status}, later(minutes))
        other = an_order(topup.wallet)
        changes: list[dict[str, Any]] = [
            {"earlier_withdrawals": []},
            {"withdrawal": 1},
            {"withdrawal": None},
            {"told_at": NOW},
            {"topup": other},
        ]
        for change in changes:
            with pytest.raises(ProgrammingError, match="never changes"):
                Dispute.objects.update(**change)


class TestStatuses:
    def test_won_on_appeal(self, wallet: Wallet, topup: TopUp) -> None:
        dispute = told(topup)
        for status in ("needs_response", "lost", "appeal_needs_response", "appeal_under_review"):
            disputes.apply(dispute | {"status": status}, NOW)
            assert standing(wallet)[0] == 0
        disputes.apply(dispute | {"status": "won"}, NOW)
        assert standing(wallet) == (500, WalletStatus.ACTIVE)
        assert is_clean()

    def test_prevented_by_giving_the_money_back_is_a_loss(self, wallet: Wallet, topup: TopUp) -> None:
        gone = stripe_objects.balance_transaction(amount=-500, fee=0, net=-500, type="adjustment")
        dispute = told(topup, status="prevented")
        disputes.apply(dispute, NOW)
        assert standing(wallet) == (500, WalletStatus.ACTIVE)
        disputes.apply(dispute | {"balance_transactions": [gone]}, NOW)
        assert standing(wallet) == (0, WalletStatus.ACTIVE)
        assert Dispute.objects.get().state == DisputeState.LOST

    def test_older_news_does_not_unsend_the_evidence(self, topup: TopUp) -> None:
        dispute = told(topup)
        for status in ("needs_response", "under_review", "needs_response"):
            disputes.apply(dispute | {"status": status}, NOW)
        assert Dispute.objects.get().stripe_status == "under_review"

    def test_date_for_evidence_follows_stripes(self, topup: TopUp) -> None:
        dispute = told(topup)
        disputes.apply(dispute, NOW)
        disputes.apply(dispute | {"evidence_details": {"due_by": 1_800_000_000}}, NOW)
        due = Dispute.objects.get().evidence_due_at
        assert due is not None
        assert due.timestamp() == 1_800_000_000


class TestFreezing:
    def test_what_a_person_released_stays_released(self, wallet: Wallet, topup: TopUp) -> None:
        dispute = told(topup)
        disputes.apply(dispute, NOW)
        customers.set_status(wallet_id=wallet.pk, status=WalletStatus.ACTIVE, reason="A known customer")
        disputes.apply(dispute | {"status": "under_review"}, NOW)
        assert standing(wallet)[1] == WalletStatus.ACTIVE

    def test_what_a_person_froze_again_stays_frozen(self, wallet: Wallet, topup: TopUp) -> None:
        dispute = told(topup)
        disputes.apply(dispute, NOW)
        customers.set_status(wallet_id=wallet.pk, status=WalletStatus.FROZEN, reason="Under investigation")
        disputes.apply(dispute | {"status": "won"}, NOW)
        assert standing(wallet)[1] == WalletStatus.FROZEN

    def test_what_a_person_froze_stays_frozen(self, wallet: Wallet, topup: TopUp) -> None:
        customers.set_status(wallet_id=wallet.pk, status=WalletStatus.FROZEN, reason="Under investigation")
        dispute = told(topup)
        disputes.apply(dispute, NOW)
        disputes.apply(dispute | {"status": "won"}, NOW)
        assert standing(wallet)[1] == WalletStatus.FROZEN

    @pytest.mark.parametrize("first", [0, 1])
    def test_stays_frozen_until_the_last_dispute_is_over(self, wallet: Wallet, first: int) -> None:
        both = [told(a_paid_topup(wallet)) for _ in range(2)]
        for dispute in both:
            disputes.apply(dispute, NOW)
        disputes.apply(both[first] | {"status": "won"}, NOW)
        assert standing(wallet)[1] == WalletStatus.FROZEN
        disputes.apply(both[1 - first] | {"status": "lost"}, NOW)
        assert standing(wallet)[1] == WalletStatus.ACTIVE

    def test_two_that_end_at_once_release_the_wallet(self, wallet: Wallet) -> None:
        for _ in range(5):
            both = [told(a_paid_topup(wallet)) for _ in range(2)]
            for dispute in both:
                disputes.apply(dispute, NOW)
            at_once([dispute | {"status": "won"} for dispute in both])
            assert standing(wallet)[1] == WalletStatus.ACTIVE
        assert is_clean()


class TestFees:
    def test_the_banks_fee_is_kept_once(self, topup: TopUp) -> None:
        taken = stripe_objects.balance_transaction(amount=-500, fee=1500, net=-2000, type="adjustment")
        happened = stripe_objects.event("charge.dispute.funds_withdrawn", told(topup, balance_transactions=[taken]))
        for _ in range(2):
            disputes._on_funds(stripe_objects.stored(happened), NOW)
        assert [(fee.amount, fee.kind) for fee in PlatformFee.objects.all()] == [(Decimal(15), "dispute")]


def at_once(news: list[dict[str, Any]]) -> None:
    def work(one: dict[str, Any]) -> None:
        try:
            disputes.apply(one, NOW)
        finally:
            connection.close()

    threads = [Thread(target=work, args=(one,)) for one in news]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
