"""A purchase and its refund are told in several events; in whatever order they come, the books end the same."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from billing import checks
from billing.models import EventState, Lot, PlatformFee, RefundState, StripeEvent, TopUp, TopUpStatus
from billing.services import inbox
from tests import stripe_objects
from tests.billing.factories import NOW, a_caller, a_wallet
from tests.billing.selling import a_session, an_intent, an_order
from tests.billing.stripe_inbox import TEST_KEY, post
from tests.stripe_objects import SECRET

pytestmark = pytest.mark.django_db
REFUNDED_MINOR = 333
EVENTS = (
    *("checkout.session.completed", "payment_intent.succeeded", "charge.succeeded", "charge.updated"),
    *("refund.created", "refund.updated", "charge.refunded"),
)
# The two of the charge tell of fees, which touch nothing else: these five make all orders, all seven make some.
MAIN = ("checkout.session.completed", "payment_intent.succeeded", "refund.created", "refund.updated", "charge.refunded")


@pytest.fixture(autouse=True)
def _set_up(settings: Any) -> None:
    settings.STRIPE_API_KEY, settings.STRIPE_WEBHOOK_SECRETS = TEST_KEY, [SECRET]


def told_of(topup: TopUp) -> dict[str, dict[str, Any]]:
    """Everything that Stripe tells of the purchase and of the refund of a third."""
    intent = an_intent(topup)
    names = {"id": intent["latest_charge"], "payment_intent": intent["id"], "metadata": intent["metadata"], "amount": topup.amount_minor}
    fee = stripe_objects.balance_transaction(source=names["id"], amount=999, fee=59, net=940)
    refund = stripe_objects.refund(charge=names["id"], payment_intent=intent["id"], amount=REFUNDED_MINOR, status="pending")
    about = {
        "checkout.session.completed": a_session(topup),
        "payment_intent.succeeded": intent,
        "charge.succeeded": stripe_objects.charge(**names),
        "charge.updated": stripe_objects.charge(**names, balance_transaction=fee),
        "refund.created": refund,
        "refund.updated": refund | {"status": "succeeded"},
        "charge.refunded": stripe_objects.charge(**names, amount_refunded=REFUNDED_MINOR),
    }
    return {kind: stripe_objects.event(kind, about[kind]) for kind in EVENTS}


def ended(order: Sequence[str], *, is_worked_off_between: bool) -> tuple[Any, ...]:
    """Post the events of a new purchase in this order, each twice; return how the books stand when all is worked off."""
    topup = an_order(a_wallet(a_caller()))
    events, now = told_of(topup), NOW
    for kind in order:
        now += timedelta(seconds=1)
        post(events[kind], now=now)
        post(events[kind], now=now)
        if is_worked_off_between:
            inbox.work_off(now=now)
    work_all_off(now)
    topup.refresh_from_db()
    lots = [(lot.kind, lot.granted, lot.remaining, lot.value_remaining) for lot in Lot.objects.filter(wallet=topup.wallet_id)]
    refunds = [(refund.state, refund.amount_minor, refund.credits) for refund in topup.refunds.all()]
    fees = list(PlatformFee.objects.filter(payment=topup.payment_id).values_list("amount_minor", flat=True))
    topup.wallet.refresh_from_db()
    return topup.status, topup.wallet.balance, lots, refunds, fees


def work_all_off(now: datetime) -> None:
    while waiting := StripeEvent.objects.filter(state=EventState.DUE).order_by("due_at").first():
        now = max(now, waiting.due_at)
        inbox.work_off(now=now)
    assert not StripeEvent.objects.filter(state=EventState.DEAD).exists()


class TestAPurchaseAndItsRefund:
    @pytest.mark.parametrize("is_worked_off_between", [True, False], ids=["as they come", "together"])
    def test_end_in_the_same_books_in_every_order(self, is_worked_off_between: bool) -> None:
        found = {ended(order, is_worked_off_between=is_worked_off_between).__repr__() for order in permutations(MAIN)}
        assert len(found) == 1, found
        status, balance, lots, refunds, _ = ended(MAIN, is_worked_off_between=is_worked_off_between)
        taken = Decimal("333.333333")
        assert (status, balance, refunds) == (TopUpStatus.PAID, 1000 - taken, [(RefundState.SUCCEEDED, REFUNDED_MINOR, taken)])
        assert [lot[:3] for lot in lots] == [("paid", 1000, 1000 - taken)]
        assert checks.run().is_clean

    def test_end_in_the_same_books_with_the_events_of_the_fee_among_them(self) -> None:
        """Some of the 5,040 orders, with each event in each place."""
        orders = list(permutations(EVENTS))[::61]
        assert all({order[place] for order in orders} == set(EVENTS) for place in range(len(EVENTS)))
        found = {repr(ended(order, is_worked_off_between=True)) for order in orders}
        assert len(found) == 1, found
        assert checks.run().is_clean
