"""Cancelling an order from the desk: its link ends at Stripe, whoever was faster."""

from functools import partial

import pytest

from billing.errors import DecisionRefused, StripeUnavailable
from billing.models import TopUp, TopUpChannel, TopUpStatus, Wallet
from billing.services import stripe_gateway, topup_events, topup_orders
from billing.services.topup_orders import Order, Wanted
from tests.billing.factories import NOW, a_caller, a_wallet
from tests.billing.selling import a_pack
from tests.billing.services.rivals import at_once
from tests.stripe_desk import StripeDesk
from tests.stripe_objects import stored

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def wallet() -> Wallet:
    return a_wallet(a_caller())


@pytest.fixture
def topup(wallet: Wallet, stripe_desk: StripeDesk) -> TopUp:
    a_pack()
    order = Order(wallet.customer, Wanted("starter-1000", None, "USD"), TopUpChannel.ADMIN, "user:ann", "https://app.test/paid")
    return topup_orders.order(order, now=NOW).topup


def cancel(topup: TopUp, actor: str = "user:fiona") -> TopUp:
    return topup_orders.cancel(topup_id=topup.pk, reason="Sent to the wrong customer", actor=actor, now=NOW)


def hear(stripe_desk: StripeDesk) -> None:
    for event in stripe_desk.events():
        if handler := topup_events.HANDLERS.get(event["type"]):
            handler(stored(event), NOW)


def test_ends_the_link_and_says_who_did_and_why(topup: TopUp, stripe_desk: StripeDesk) -> None:
    done = cancel(topup)
    assert (done.status, done.failure) == (TopUpStatus.EXPIRED, "Cancelled by user:fiona: Sent to the wrong customer")
    assert stripe_gateway.gateway().retrieve_checkout_session(topup.checkout_session)["status"] == "expired"
    hear(stripe_desk)
    topup.refresh_from_db()
    assert topup.failure.startswith("Cancelled by")
    with pytest.raises(DecisionRefused, match="Only an order that waits"):
        cancel(topup)


def test_that_was_paid_meanwhile_is_deposited(wallet: Wallet, topup: TopUp, stripe_desk: StripeDesk) -> None:
    stripe_desk.pay(topup.checkout_session)
    with pytest.raises(DecisionRefused, match="It is now: paid"):
        cancel(topup)
    wallet.refresh_from_db()
    assert wallet.balance == 1000


def test_while_stripe_is_away_changes_nothing_and_may_be_sent_again(topup: TopUp, stripe_desk: StripeDesk) -> None:
    stripe_desk.fail_next("500", times=2)
    with pytest.raises(StripeUnavailable):
        cancel(topup)
    topup.refresh_from_db()
    assert topup.status == TopUpStatus.OPEN
    assert cancel(topup).failure.startswith("Cancelled by user:fiona")


def test_whose_answer_was_lost_is_found_cancelled(topup: TopUp, stripe_desk: StripeDesk) -> None:
    stripe_gateway.gateway().expire_checkout_session(topup.checkout_session)
    hear(stripe_desk)
    TopUp.objects.filter(pk=topup.pk).update(status=TopUpStatus.OPEN)
    assert cancel(topup).failure.startswith("Cancelled by user:fiona")


def test_by_several_people_at_once_is_one_persons(topup: TopUp) -> None:
    results = at_once([partial(cancel, topup, f"user:p{number}") for number in range(6)])
    assert sum(isinstance(one, TopUp) for one in results) == 1
    assert all(isinstance(one, (TopUp, DecisionRefused)) for one in results), results
