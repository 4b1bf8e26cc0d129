"""Refunds and disputes of which no event told: Stripe is asked."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing.models import Dispute, DisputeState, RefundState, TopUp, TopUpRefund, Wallet, WalletStatus
from billing.services import disputes, money_back_sweeping, stripe_gateway, topup_refunds
from tests.billing.factories import a_caller, a_wallet
from tests.billing.topups import a_paid_topup
from tests.people import a_person
from tests.stripe_desk import StripeDesk

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def wallet() -> Wallet:
    return a_wallet(a_caller())


@pytest.fixture
def topup(wallet: Wallet, stripe_desk: StripeDesk) -> TopUp:
    item = {"price_data": {"currency": "usd", "unit_amount": 500, "product_data": {"name": "500 credits"}}, "quantity": 1}
    page = {"mode": "payment", "success_url": "https://app.test/paid", "line_items": [item]}
    session = stripe_gateway.gateway().create_checkout_session(page, key="session")
    return a_paid_topup(wallet, payment_intent=stripe_desk.pay(session["id"])["payment_intent"], charge="")


def swept(*, hours: int = 7) -> int:
    return money_back_sweeping.sweep(now=timezone.now() + timedelta(hours=hours))


def a_refund_under_way(topup: TopUp, stripe_desk: StripeDesk) -> TopUpRefund:
    stripe_desk.refunds_are("pending")
    now = timezone.now()
    asked = topup_refunds.request(topup_id=topup.pk, amount_minor=500, reason="Unhappy", requested_by=a_person(), now=now)
    return topup_refunds.send(refund_id=asked.pk, gateway=stripe_gateway.gateway(), now=now)


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_refund_is_followed_to_its_end(wallet: Wallet, topup: TopUp, stripe_desk: StripeDesk, *, succeeds: bool) -> None:
    refund = a_refund_under_way(topup, stripe_desk)
    stripe_desk.settle_refund(refund.stripe_id, succeeds=succeeds)
    assert swept(hours=1) == 0  # an event may be on its way
    assert swept() == 1
    refund.refresh_from_db()
    wallet.refresh_from_db()
    assert (refund.state, wallet.balance) == ((RefundState.SUCCEEDED, 0) if succeeds else (RefundState.FAILED, 500))
    assert swept() == 0


def test_a_dispute_is_followed_to_its_end(wallet: Wallet, topup: TopUp, stripe_desk: StripeDesk) -> None:
    told = stripe_desk.open_dispute(topup.payment_intent)
    disputes.apply(told, timezone.now())
    stripe_desk.close_dispute(told["id"], "won")
    assert swept() == 1
    wallet.refresh_from_db()
    assert (Dispute.objects.get().state, wallet.balance, wallet.status) == (DisputeState.WON, 500, WalletStatus.ACTIVE)


def test_stops_while_stripe_is_away(topup: TopUp, stripe_desk: StripeDesk) -> None:
    refund = a_refund_under_way(topup, stripe_desk)
    stripe_desk.fail_next("500", times=2)
    assert swept() == 1
    refund.refresh_from_db()
    assert refund.state == RefundState.PENDING
    assert swept() == 1
