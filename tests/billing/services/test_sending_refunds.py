"""Sending refunds to Stripe: once, whatever is cut off where, and refused in Stripe's own words."""

from decimal import Decimal

import pytest
from django.utils import timezone

from billing.errors import RefundExceedsPayment, StripeRefused, StripeUnavailable
from billing.models import RefundState, TopUp, TopUpRefund, Wallet
from billing.services import disputes, stripe_gateway, topup_refunds
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
    """A top-up whose payment the simulation knows."""
    session = stripe_gateway.gateway().create_checkout_session(
        {
            "mode": "payment",
            "success_url": "https://app.test/paid",
            "line_items": [{"price_data": {"currency": "usd", "unit_amount": 500, "product_data": {"name": "500 credits"}}, "quantity": 1}],
        },
        key="session",
    )
    paid = stripe_desk.pay(session["id"])
    return a_paid_topup(wallet, payment_intent=paid["payment_intent"], charge="")


def approved(topup: TopUp, amount_minor: int = 500) -> TopUpRefund:
    return topup_refunds.request(
        topup_id=topup.pk, amount_minor=amount_minor, reason="Unhappy", requested_by=a_person(name=f"p{amount_minor}"), now=timezone.now()
    )


def send(refund: TopUpRefund) -> TopUpRefund:
    return topup_refunds.send(refund_id=refund.pk, gateway=stripe_gateway.gateway(), now=timezone.now())


def send_approved() -> int:
    return topup_refunds.send_approved(gateway=stripe_gateway.gateway(), now=timezone.now())


def made(stripe_desk: StripeDesk, topup: TopUp) -> int:
    return len(list(stripe_gateway.gateway().list_refunds(payment_intent=topup.payment_intent)))


class TestSending:
    def test_pays_back_and_takes_the_credits(self, wallet: Wallet, topup: TopUp) -> None:
        refund = send(approved(topup))
        wallet.refresh_from_db()
        assert (refund.state, refund.credits, wallet.balance) == (RefundState.SUCCEEDED, Decimal(500), 0)

    @pytest.mark.parametrize("fault", ["lost", "500"])
    def test_an_answer_that_was_lost_is_one_refund(self, stripe_desk: StripeDesk, topup: TopUp, fault: str) -> None:
        refund = approved(topup)
        stripe_desk.fail_next(fault, times=2)  # with the client's own second try
        with pytest.raises(StripeUnavailable):
            send(refund)
        refund.refresh_from_db()
        assert (refund.state, refund.failure) == (RefundState.APPROVED, topup_refunds.NO_ANSWER)
        assert send_approved() == 1
        refund.refresh_from_db()
        assert (refund.state, refund.failure, made(stripe_desk, topup)) == (RefundState.SUCCEEDED, "", 1)

    def test_one_that_was_cut_off_before_our_commit_is_found_by_its_number(self, stripe_desk: StripeDesk, topup: TopUp) -> None:
        """As if the key had been forgotten by then: Stripe keeps keys for a day."""
        refund = approved(topup, 200)
        params = {"payment_intent": topup.payment_intent, "amount": 200, "metadata": {"refund": str(refund.pk)}}
        stripe_gateway.gateway().create_refund(params, key="forgotten")
        assert send_approved() == 1
        refund.refresh_from_db()
        assert (refund.state, made(stripe_desk, topup)) == (RefundState.SUCCEEDED, 1)

    def test_its_event_changes_nothing_more(self, stripe_desk: StripeDesk, wallet: Wallet, topup: TopUp) -> None:
        send(approved(topup, 200))
        told = next(event for event in stripe_desk.events() if event["type"] == "refund.created")
        assert "already" in topup_refunds.apply(told["data"]["object"], timezone.now())
        wallet.refresh_from_db()
        assert wallet.balance == 300

    def test_refused_fails_in_stripes_words(self, stripe_desk: StripeDesk, topup: TopUp) -> None:
        refund = approved(topup)
        stripe_desk.refund(topup.payment_intent, amount=100)
        with pytest.raises(StripeRefused):
            send(refund)
        refund.refresh_from_db()
        assert refund.state == RefundState.FAILED
        assert "greater than unrefunded" in refund.failure

    @pytest.mark.parametrize("way", ["refund", "dispute"])
    def test_one_that_was_overtaken_is_not_sent_and_says_what_is_left(
        self, stripe_desk: StripeDesk, wallet: Wallet, topup: TopUp, way: str
    ) -> None:
        refund = approved(topup, 400)
        if way == "refund":
            topup_refunds.apply(stripe_desk.refund(topup.payment_intent, amount=300), timezone.now())
        else:
            disputes.apply(stripe_desk.open_dispute(topup.payment_intent, amount=300), timezone.now())
        before = made(stripe_desk, topup)
        with pytest.raises(RefundExceedsPayment, match="2 USD can be refunded now"):
            send(refund)
        refund.refresh_from_db()
        wallet.refresh_from_db()
        assert (refund.state, refund.reason, wallet.balance) == (RefundState.FAILED, "Unhappy", 200)
        assert refund.failure.startswith("It was not sent. This refund of 4 USD was overtaken")
        assert made(stripe_desk, topup) == before
        assert topup_refunds.refundable(topup) == 200

    def test_one_that_had_arrived_is_followed_though_it_was_overtaken(self, stripe_desk: StripeDesk, wallet: Wallet, topup: TopUp) -> None:
        refund = approved(topup, 400)
        params = {"payment_intent": topup.payment_intent, "amount": 400, "metadata": {"refund": str(refund.pk)}}
        stripe_gateway.gateway().create_refund(params, key="its answer was lost")
        dispute = stripe_desk.open_dispute(topup.payment_intent)
        disputes.apply(dispute | {"amount": 500}, timezone.now())
        assert send(refund).state == RefundState.SUCCEEDED
        wallet.refresh_from_db()
        assert (wallet.balance, made(stripe_desk, topup)) == (0, 1)

    def test_what_waits_for_a_second_person_is_not_sent(self, stripe_desk: StripeDesk, topup: TopUp) -> None:
        TopUpRefund.objects.filter(pk=approved(topup).pk).update(state=RefundState.REQUESTED)
        assert send_approved() == 0
        assert not made(stripe_desk, topup)

    def test_one_that_is_refused_holds_up_no_other(self, stripe_desk: StripeDesk, wallet: Wallet, topup: TopUp) -> None:
        unknown = a_paid_topup(wallet, payment_intent="pi_unknown")
        first, second = approved(unknown, 100), approved(topup, 200)
        assert send_approved() == 1
        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.state, second.state) == (RefundState.FAILED, RefundState.SUCCEEDED)
