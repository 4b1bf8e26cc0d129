"""Orders and Stripe's page: one of each per call, whatever is cut off in between."""

from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from billing.errors import (
    IdempotencyMismatch,
    InvalidRequest,
    StripeNotSetUp,
    StripeRefused,
    StripeUnavailable,
    UnknownPack,
)
from billing.models import Customer, Environment, Operation, TopUp, TopUpChannel, TopUpStatus
from billing.services import topup_orders, topup_sweeping, topups
from billing.services.idempotency import Call
from billing.services.topup_orders import Order, Ordered, Wanted
from tests.billing.factories import NOW, a_caller, a_wallet
from tests.billing.selling import a_pack, an_order, told
from tests.billing.services.rivals import at_once
from tests.stripe_desk import StripeDesk

pytestmark = pytest.mark.django_db(transaction=True)

PACK = Wanted(pack="starter-1000")


@pytest.fixture
def customer() -> Customer:
    a_pack(bonus="100")
    return a_wallet(a_caller()).customer


def call(customer: Customer, key: str = "k1", body: bytes = b"0" * 16) -> Call:
    return Call(customer.project_id, key, Operation.TOPUP, body)


def order(customer: Customer, wanted: Wanted = PACK, *, now: Any = NOW, **options: Any) -> Ordered:
    asked = Order(
        customer=customer,
        wanted=wanted,
        channel=TopUpChannel.API,
        actor="system:tests",
        success_url="https://example.com/thanks",
        cancel_url="https://example.com/credits",
    )
    return topup_orders.order(asked, now=now, **options)


def sessions(desk: StripeDesk) -> list[dict[str, Any]]:
    """The calls that asked for a Checkout session."""
    return [call for call in desk.calls() if call["method"] == "POST" and call["path"] == "/v1/checkout/sessions"]


def deliver(desk: StripeDesk, *, kinds: tuple[str, ...] = ("checkout.session.", "payment_intent.succeeded")) -> None:
    for event in desk.events():
        if event["type"].startswith(kinds) and event["type"] != "payment_intent.created":
            told(event["type"], event["data"]["object"])


class TestAnOrder:
    def test_is_paid_on_stripes_page(self, customer: Customer, stripe_desk: StripeDesk) -> None:
        topup = order(customer, call=call(customer)).topup
        assert (topup.status, topup.is_live, topup.credits, topup.bonus_credits) == (TopUpStatus.OPEN, False, 1000, 100)
        assert topup.url.startswith("http")
        assert topup.expires_at is not None
        [asked] = sessions(stripe_desk)
        assert asked["key"] == topup_orders.stripe_key(topup)
        sent = asked["params"]
        assert sent["client_reference_id"] == sent["metadata[topup]"] == sent["payment_intent_data[metadata][topup]"] == str(topup.pk)
        assert sent["line_items[0][price_data][unit_amount]"] == "999"
        assert sent["adaptive_pricing[enabled]"].lower() == "false"
        stripe_desk.pay(topup.checkout_session)
        deliver(stripe_desk)
        topup.refresh_from_db()
        assert topup.status == TopUpStatus.PAID
        customer.wallet.refresh_from_db()
        assert customer.wallet.balance == 1100

    def test_of_an_amount_buys_credits_at_their_value(self, customer: Customer, stripe_desk: StripeDesk) -> None:
        topup = order(customer, Wanted(amount=Decimal("12.34"), currency="USD")).topup
        assert (topup.credits, topup.amount_minor, topup.pack) == (1234, 1234, None)

    def test_that_is_wrong_leaves_nothing(self, customer: Customer, stripe_desk: StripeDesk) -> None:
        for wanted, error in (
            (Wanted(), InvalidRequest),
            (Wanted(pack="nothing"), UnknownPack),
            (Wanted(pack="starter-1000", amount=Decimal(1)), InvalidRequest),
            (Wanted(amount=Decimal(1)), InvalidRequest),
            (Wanted(pack="starter-1000", currency="CHF"), InvalidRequest),
        ):
            with pytest.raises(error):
                order(customer, wanted, call=call(customer))
        assert TopUp.objects.count() == 0
        assert not order(customer, call=call(customer)).replayed  # a refusal has not used the key up

    def test_needs_stripe(self, customer: Customer) -> None:
        with pytest.raises(StripeNotSetUp):
            order(customer, call=call(customer))
        assert TopUp.objects.count() == 0

    def test_with_a_live_key_is_for_production_only(self, customer: Customer, stripe_desk: StripeDesk, settings: Any) -> None:
        settings.STRIPE_API_KEY = "sk_live_123"
        staging = a_wallet(a_caller(customer.project, environment=Environment.STAGING)).customer
        with pytest.raises(InvalidRequest, match="only customers of production"):
            order(staging)
        assert TopUp.objects.count() == 0


class TestARepeatedCall:
    def test_gets_the_same_order(self, customer: Customer, stripe_desk: StripeDesk) -> None:
        first = order(customer, call=call(customer))
        again = order(customer, call=call(customer), now=NOW + timedelta(days=3))
        assert (again.topup, again.topup.url, again.replayed) == (first.topup, first.topup.url, True)
        assert len(sessions(stripe_desk)) == 1
        with pytest.raises(IdempotencyMismatch):
            order(customer, call=call(customer, body=b"1" * 16))

    def test_gets_it_though_the_pack_has_ended(self, customer: Customer, stripe_desk: StripeDesk) -> None:
        first = order(customer, call=call(customer))
        pack = first.topup.pack
        assert pack is not None
        pack.active_until = NOW
        pack.save()
        assert order(customer, call=call(customer)).topup == first.topup

    def test_goes_on_where_stripe_was_away(self, customer: Customer, stripe_desk: StripeDesk) -> None:
        stripe_desk.fail_next("500", times=2)
        with pytest.raises(StripeUnavailable):
            order(customer, call=call(customer))
        assert TopUp.objects.get().status == TopUpStatus.NEW
        after = order(customer, call=call(customer), now=NOW + timedelta(seconds=1))
        assert (after.replayed, after.topup.status) == (False, TopUpStatus.OPEN)
        assert TopUp.objects.count() == 1

    def test_finds_the_session_of_which_the_answer_was_lost(self, customer: Customer, stripe_desk: StripeDesk) -> None:
        stripe_desk.fail_next("lost", times=2)
        with pytest.raises(StripeUnavailable):
            order(customer, call=call(customer))
        after = order(customer, call=call(customer), now=NOW + timedelta(seconds=1))
        stripe_desk.pay(after.topup.checkout_session)
        assert len({event["data"]["object"]["id"] for event in stripe_desk.events() if event["type"].startswith("checkout")}) == 1

    def test_of_an_order_that_stripe_refused_says_so_again(self, customer: Customer, stripe_desk: StripeDesk) -> None:
        refused = order_with_a_broken_address(customer)
        assert (refused.status, bool(refused.failure)) == (TopUpStatus.FAILED, True)
        with pytest.raises(StripeRefused, match="another idempotency key"):
            order(customer, call=call(customer))


def order_with_a_broken_address(customer: Customer) -> TopUp:
    """Order with an empty address, which Stripe refuses."""
    asked = Order(customer=customer, wanted=PACK, channel=TopUpChannel.API, actor="system:tests", success_url="")
    with pytest.raises(StripeRefused):
        topup_orders.order(asked, now=NOW, call=call(customer))
    return TopUp.objects.get()


class TestRivals:
    def test_with_one_key_make_one_order_and_one_session(self, customer: Customer, stripe_desk: StripeDesk) -> None:
        results = at_once([partial(order, customer, call=call(customer), now=timezone.now()) for _ in range(32)])
        assert [result for result in results if isinstance(result, Exception)] == []
        made = [result for result in results if isinstance(result, Ordered)]
        assert len({(one.topup.pk, one.topup.url) for one in made}) == 1
        assert sum(not one.replayed for one in made) == 1
        assert TopUp.objects.count() == 1
        assert len(sessions(stripe_desk)) == 1


class TestSweeping:
    def test_finds_a_payment_of_which_no_event_came(self, customer: Customer, stripe_desk: StripeDesk) -> None:
        topup = order(customer).topup
        assert topup_sweeping.sweep(now=NOW + timedelta(minutes=5)) == 0
        stripe_desk.pay(topup.checkout_session)
        assert topup_sweeping.sweep(now=NOW + timedelta(minutes=6)) == 1
        topup.refresh_from_db()
        assert topup.status == TopUpStatus.PAID
        assert topup_sweeping.sweep(now=NOW + timedelta(days=1)) == 0

    def test_tells_stripe_of_an_order_that_a_crash_left_behind(self, customer: Customer, stripe_desk: StripeDesk) -> None:
        stripe_desk.fail_next("lost", times=2)
        with pytest.raises(StripeUnavailable):
            order(customer)
        topup_sweeping.sweep(now=NOW + timedelta(minutes=7))
        topup = TopUp.objects.get()
        assert (topup.status, bool(topup.url)) == (TopUpStatus.OPEN, True)

    def test_ends_an_order_that_stripe_never_heard_of(self, customer: Customer, stripe_desk: StripeDesk) -> None:
        stripe_desk.fail_next("500", times=2)
        with pytest.raises(StripeUnavailable):
            order(customer)
        topup_sweeping.sweep(now=NOW + timedelta(hours=24))
        assert TopUp.objects.get().status == TopUpStatus.FAILED

    def test_learns_that_a_link_has_ended_and_that_a_bank_did_not_pay(self, customer: Customer, stripe_desk: StripeDesk) -> None:
        expired, unpaid = order(customer).topup, order(customer).topup
        stripe_desk.expire(expired.checkout_session)
        stripe_desk.pay_by_bank(unpaid.checkout_session)
        topup_sweeping.sweep(now=NOW + timedelta(minutes=6))
        unpaid.refresh_from_db()
        assert unpaid.status == TopUpStatus.PROCESSING
        stripe_desk.bank_refuses(unpaid.payment_intent)
        topup_sweeping.sweep(now=NOW + timedelta(days=1))
        assert [TopUp.objects.get(pk=one.pk).status for one in (expired, unpaid)] == [TopUpStatus.EXPIRED, TopUpStatus.FAILED]

    def test_asks_less_and_less_often(self, customer: Customer, stripe_desk: StripeDesk) -> None:
        order(customer)
        asked = [minute for minute in range(24 * 60) if topup_sweeping.sweep(now=NOW + timedelta(minutes=minute))]
        assert asked[:4] == [6, 12, 18, 27]
        assert len(asked) < 20

    def test_stops_where_stripe_does_not_answer(self, customer: Customer, stripe_desk: StripeDesk) -> None:
        for _ in range(3):
            order(customer)
        stripe_desk.fail_next("500", times=2)
        assert topup_sweeping.sweep(now=NOW + timedelta(minutes=6)) == 1
        assert topup_sweeping.sweep(now=NOW + timedelta(minutes=6)) == 2

    def test_leaves_orders_of_the_other_mode_alone(self, customer: Customer, stripe_desk: StripeDesk, settings: Any) -> None:
        order(customer)
        settings.STRIPE_API_KEY = "sk_live_123"
        assert topup_sweeping.sweep(now=NOW + timedelta(hours=1)) == 0
        settings.STRIPE_API_KEY = ""
        assert topup_sweeping.sweep(now=NOW + timedelta(hours=1)) == 0

    def test_ends_links_of_the_other_mode_once_stripe_must_have(self, customer: Customer, stripe_desk: StripeDesk, settings: Any) -> None:
        hour, day = timedelta(hours=1), timedelta(days=1)
        orders = {
            "link": an_order(customer.wallet, expires_at=NOW + day),
            "never told": an_order(customer.wallet, status=TopUpStatus.NEW, checkout_session="", url=""),
            "at the bank": an_order(customer.wallet, status=TopUpStatus.PROCESSING, expires_at=NOW + day),
            "live": an_order(customer.wallet, is_live=True, expires_at=NOW + 5 * day),
        }

        def ended() -> set[str]:
            return {name for name, one in orders.items() if TopUp.objects.get(pk=one.pk).status == TopUpStatus.EXPIRED}

        settings.STRIPE_API_KEY = "sk_live_123"
        settings.STRIPE_API_BASE = "http://127.0.0.1:9"
        topup_sweeping.sweep(now=NOW + day)
        assert ended() == set()
        topup_sweeping.sweep(now=NOW + day + 2 * hour)
        assert ended() == {"link"}
        topup_sweeping.sweep(now=NOW + 2 * day + hour)
        assert ended() == {"link", "never told"}
        late = TopUp.objects.get(pk=orders["link"].pk)
        assert "from test mode to real money" in late.failure
        topups.settle(
            topup_id=late.pk, paid=topups.Paid(999, "USD", is_live=False, facts=topups.Facts(payment_intent="pi_late")), now=NOW + 3 * day
        )
        late.refresh_from_db()
        assert (late.status, late.failure) == (TopUpStatus.PAID, "")
