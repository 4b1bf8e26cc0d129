"""Disputes: credits go and come back to the last unit, and a frozen wallet is released by whoever froze it."""

from decimal import Decimal
from itertools import permutations
from threading import Thread
from typing import Any

import pytest
from django.db import connection

from billing.models import Dispute, DisputeState, PlatformFee, TopUp, Wallet, WalletStatus
from billing.services import checking, customers, disputes, ledger, topup_refunds
from pricing.models import SpentRefundPolicy, Workspace
from tests import stripe_objects
from tests.billing.factories import a_caller, a_wallet
from tests.billing.topups import NOW, a_paid_topup

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
