"""The gateway against stand-ins for Stripe, each a process of its own; what none of them does is asked of the simulation.

* localstripe 1.15.10: customers, payment intents off-session, charges, balance transactions, refunds, declines. It has no
  Checkout, disputes, fees or idempotency keys, takes refunds beyond the charge, and tells no decline code of the bank's.
* emulate 0.12.2: Checkout, create, complete and expire. It has no prices inside line items, no payment behind a session,
  no refunds, no idempotency keys.
* stripe-stateful-mock 0.0.16: charges, refunds and their limit, disputes, idempotency keys. It has no Checkout, payment
  intents, balance transactions or events.
* Our own simulation: all that the gateway asks for, held to Stripe's own lists of what may be asked. But it is no second
  opinion.
"""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from billing.errors import StripeNotSetUp, StripeRefused, StripeUnavailable
from billing.services import stripe_gateway
from billing.services.stripe_gateway import Gateway
from tests import peers
from tests.peers import Peer
from tests.stripe_desk import StripeDesk

NUMBERS = {"visa": "4242424242424242", "fails_later": "4000000000000341", "asks_the_buyer": "4000002760003184"}


@pytest.fixture(scope="module")
def localstripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with peers.localstripe(tmp_path_factory.mktemp("localstripe")) as peer:
        yield peer


@pytest.fixture(scope="module")
def emulate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with peers.emulate(tmp_path_factory.mktemp("emulate")) as peer:
        yield peer


@pytest.fixture(scope="module")
def stateful_mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with peers.stateful_mock(tmp_path_factory.mktemp("mock")) as peer:
        yield peer


def gateway_to(peer: Peer) -> Gateway:
    return Gateway("sk_test_peers", base=peer.base)


def gateway_at(place: socket.socket) -> Gateway:
    return Gateway("sk_test_peers", base=f"http://127.0.0.1:{place.getsockname()[1]}")


def a_saved_card(peer: Peer, card: str) -> tuple[str, str]:
    """Return a customer of localstripe's, made through the gateway, and a card that its buyer saved."""
    customer = gateway_to(peer).create_customer({"name": "Ann", "metadata": {"customer": "7"}}, key="customer-7")["id"]
    fields = {"type": "card", "card[number]": NUMBERS[card], "card[exp_month]": 12, "card[exp_year]": 2034, "card[cvc]": "123"}
    method = peer.post("/v1/payment_methods", **fields)["id"]
    peer.post(f"/v1/payment_methods/{method}/attach", customer=customer)
    return customer, method


def off_session(customer: str, method: str) -> dict[str, Any]:
    return {
        "amount": 1999,
        "currency": "usd",
        "customer": customer,
        "payment_method": method,
        "off_session": True,
        "confirm": True,
        "metadata": {"topup": "8"},
    }


class TestWithLocalstripe:
    def test_a_saved_card_is_charged_and_its_money_is_in_the_balance(self, localstripe: Peer) -> None:
        gateway = gateway_to(localstripe)
        customer, method = a_saved_card(localstripe, "visa")
        assert gateway.retrieve_payment_method(method)["card"]["last4"] == "4242"
        intent = gateway.create_payment_intent(off_session(customer, method), key="topup-8")
        assert (intent["status"], intent["metadata"], intent["customer"]) == ("succeeded", {"topup": "8"}, customer)
        assert gateway.retrieve_payment_intent(intent["id"])["status"] == "succeeded"
        charge = gateway.retrieve_charge(intent["latest_charge"]["id"])  # localstripe writes it out, unasked
        assert (charge["amount"], charge["paid"], charge["payment_intent"]) == (1999, True, intent["id"])
        entry = gateway.retrieve_balance_transaction(charge["balance_transaction"])
        assert (entry["type"], entry["amount"], entry["source"]) == ("charge", 1999, charge["id"])

    def test_a_charge_is_refunded_in_part(self, localstripe: Peer) -> None:
        gateway = gateway_to(localstripe)
        intent = gateway.create_payment_intent(off_session(*a_saved_card(localstripe, "visa")), key="topup-8")
        made = gateway.create_refund({"payment_intent": intent["id"], "amount": 500, "metadata": {"refund": "1"}}, key="refund-1")
        found, charge = gateway.retrieve_refund(made["id"]), intent["latest_charge"]["id"]
        assert (found["amount"], found["metadata"], found["charge"]) == (500, {"refund": "1"}, charge)
        assert [one["id"] for one in gateway.list_refunds(charge=charge)] == [made["id"]]
        assert gateway.retrieve_balance_transaction(made["balance_transaction"])["amount"] == -500

    def test_a_refund_needs_a_payment_that_was_made(self, localstripe: Peer) -> None:
        gateway = gateway_to(localstripe)
        with pytest.raises(StripeRefused):
            gateway.create_payment_intent(off_session(*a_saved_card(localstripe, "fails_later")), key="topup-8")
        failed = localstripe.post("/v1/payment_intents", amount=1999, currency="usd")["id"]
        with pytest.raises(StripeRefused, match="failed payment"):
            gateway.create_refund({"payment_intent": failed}, key="refund-1")

    def test_a_decline_is_refused_with_its_code(self, localstripe: Peer) -> None:
        with pytest.raises(StripeRefused, match="Your card was declined") as refused:
            gateway_to(localstripe).create_payment_intent(off_session(*a_saved_card(localstripe, "fails_later")), key="topup-8")
        assert refused.value.figures["stripe_code"] == "card_declined"

    def test_a_card_that_wants_its_buyer_has_not_paid(self, localstripe: Peer) -> None:
        intent = gateway_to(localstripe).create_payment_intent(off_session(*a_saved_card(localstripe, "asks_the_buyer")), key="topup-8")
        assert intent["status"] == "requires_action"

    def test_what_it_does_not_have_is_refused(self, localstripe: Peer) -> None:
        gateway = gateway_to(localstripe)
        for ask in (gateway.retrieve_charge, gateway.retrieve_payment_intent, gateway.retrieve_refund, gateway.retrieve_setup_intent):
            with pytest.raises(StripeRefused):
                ask("ch_nothing")


class TestWithEmulate:
    def an_open_session(self, emulate: Peer) -> dict[str, Any]:
        product = emulate.post("/v1/products", name="500 credits")["id"]
        price = emulate.post("/v1/prices", product=product, currency="usd", unit_amount=1999)["id"]
        asked = {
            "mode": "payment",
            "line_items": [{"price": price, "quantity": 1}],
            "success_url": "https://app.example.com/thanks",
            "cancel_url": "https://app.example.com/pity",
            "client_reference_id": "5",
            "metadata": {"topup": "5"},
            "payment_intent_data": {"metadata": {"topup": "5"}},
        }
        return gateway_to(emulate).create_checkout_session(asked, key="topup-5")

    def test_a_session_is_paid_where_its_link_leads(self, emulate: Peer) -> None:
        session = self.an_open_session(emulate)
        assert (session["status"], session["payment_status"], session["metadata"]) == ("open", "unpaid", {"topup": "5"})
        emulate.post(session["url"].removeprefix(emulate.base) + "/complete")
        session = gateway_to(emulate).retrieve_checkout_session(session["id"])
        assert (session["status"], session["payment_status"]) == ("complete", "paid")

    def test_an_open_session_is_expired_once(self, emulate: Peer) -> None:
        gateway = gateway_to(emulate)
        session = self.an_open_session(emulate)["id"]
        assert gateway.expire_checkout_session(session)["status"] == "expired"
        with pytest.raises(StripeRefused) as refused:
            gateway.expire_checkout_session(session)
        assert refused.value.figures["stripe_code"] == "checkout_session_not_open"

    def test_a_wrong_customer_is_refused(self, emulate: Peer) -> None:
        asked = {"mode": "setup", "customer": "cus_nobody", "success_url": "https://app.example.com", "currency": "usd"}
        with pytest.raises(StripeRefused, match="No such customer") as refused:
            gateway_to(emulate).create_checkout_session(asked, key="setup-7")
        assert refused.value.figures["stripe_code"] == "resource_missing"


class TestWithTheStatefulMock:
    def a_charge(self, mock: Peer, source: str = "tok_visa") -> str:
        charge: str = mock.post("/v1/charges", amount=1999, currency="usd", source=source)["id"]
        return charge

    def test_refunds_end_where_the_charge_ends(self, stateful_mock: Peer) -> None:
        gateway, charge = gateway_to(stateful_mock), self.a_charge(stateful_mock)
        gateway.create_refund({"charge": charge, "amount": 1500}, key=f"refund-1-{charge}")
        with pytest.raises(StripeRefused, match="greater than unrefunded amount"):
            gateway.create_refund({"charge": charge, "amount": 500}, key=f"refund-2-{charge}")
        gateway.create_refund({"charge": charge}, key=f"refund-3-{charge}")
        with pytest.raises(StripeRefused) as refused:
            gateway.create_refund({"charge": charge}, key=f"refund-4-{charge}")
        assert refused.value.figures["stripe_code"] == "charge_already_refunded"
        assert sorted(one["amount"] for one in gateway.list_refunds(charge=charge)) == [499, 1500]
        assert gateway.retrieve_charge(charge)["refunded"] is True

    def test_a_key_sent_again_does_nothing_again(self, stateful_mock: Peer) -> None:
        gateway, charge = gateway_to(stateful_mock), self.a_charge(stateful_mock)
        first = gateway.create_refund({"charge": charge, "amount": 500}, key=f"refund-1-{charge}")
        assert gateway.create_refund({"charge": charge, "amount": 500}, key=f"refund-1-{charge}") == first
        assert len(list(gateway.list_refunds(charge=charge))) == 1

    def test_a_key_sent_with_something_else_is_refused(self, stateful_mock: Peer) -> None:
        gateway, charge = gateway_to(stateful_mock), self.a_charge(stateful_mock)
        gateway.create_refund({"charge": charge, "amount": 500}, key=f"refund-1-{charge}")
        with pytest.raises(StripeRefused, match="same parameters") as refused:
            gateway.create_refund({"charge": charge, "amount": 600}, key=f"refund-1-{charge}")
        assert refused.value.figures["stripe_code"] == "idempotency_error"

    def test_many_refunds_are_listed_over_pages(self, stateful_mock: Peer) -> None:
        gateway, charge = gateway_to(stateful_mock), self.a_charge(stateful_mock)
        made = {gateway.create_refund({"charge": charge, "amount": 1}, key=f"refund-{n}-{charge}")["id"] for n in range(105)}
        assert {one["id"] for one in gateway.list_refunds(charge=charge)} == made

    def test_a_charge_that_was_taken_back_is_not_refunded_too(self, stateful_mock: Peer) -> None:
        gateway, charge = gateway_to(stateful_mock), self.a_charge(stateful_mock, "tok_createDispute")
        dispute = gateway.retrieve_dispute(gateway.retrieve_charge(charge)["dispute"])
        assert (dispute["charge"], dispute["status"], dispute["amount"]) == (charge, "needs_response", 1999)
        with pytest.raises(StripeRefused) as refused:
            gateway.create_refund({"charge": charge}, key=f"refund-1-{charge}")
        assert refused.value.figures["stripe_code"] == "charge_disputed"


class TestWhenStripeIsAway:
    @pytest.fixture
    def _in_a_hurry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stripe_gateway, "_TIMEOUT", (0.3, 0.3))

    def test_a_dead_address_is_unavailable(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            with pytest.raises(StripeUnavailable):  # bound, and nobody listens
                gateway_at(probe).retrieve_charge("ch_1")

    @pytest.mark.usefixtures("_in_a_hurry")
    def test_silence_ends_after_the_limit_of_time(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            began = time.monotonic()
            with pytest.raises(StripeUnavailable):
                gateway_at(silent).create_refund({"charge": "ch_1"}, key="refund-1")
            assert time.monotonic() - began < 5

    @pytest.mark.parametrize(
        "said",
        [
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 13\r\n\r\n<html></html>",
            b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>",
            b"HTTP/1.1 409 Conflict\r\nContent-Length: 86\r\n\r\n"
            b'{"error": {"type": "invalid_request_error", "code": "lock_timeout", "message": "Wait"}}'[:86],
            b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
            b"",
        ],
    )
    def test_what_is_no_answer_of_stripes_may_be_tried_again(self, said: bytes) -> None:
        with socket.create_server(("127.0.0.1", 0)) as odd:
            threading.Thread(target=_say, args=(odd, said), daemon=True).start()
            with pytest.raises(StripeUnavailable):
                gateway_at(odd).retrieve_charge("ch_1")

    @pytest.mark.parametrize(("fault", "times"), [("429", 1), ("500", 2), ("lost", 2)])  # the library itself tries most things twice
    def test_a_call_that_failed_in_between_is_done_once(self, stripe_desk: StripeDesk, fault: str, times: int) -> None:
        gateway = stripe_gateway.gateway()
        stripe_desk.fail_next(fault, times=times)
        with pytest.raises(StripeUnavailable):
            gateway.create_customer({"name": "Ann"}, key="customer-7")
        made = gateway.create_customer({"name": "Ann"}, key="customer-7")
        assert gateway.create_customer({"name": "Ann"}, key="customer-7") == made
        assert [event["type"] for event in stripe_desk.events()] == ["customer.created"]


def _say(listener: socket.socket, said: bytes) -> None:
    """Answer whoever comes with `said`, until the listener is closed."""
    while True:
        try:
            caller, _ = listener.accept()
        except OSError:
            return
        with caller:
            caller.recv(65536)
            caller.sendall(said)


class TestSetUp:
    def test_no_key_is_no_gateway(self, settings: Settings) -> None:
        settings.STRIPE_API_KEY = ""
        assert not stripe_gateway.is_set_up()
        with pytest.raises(StripeNotSetUp):
            stripe_gateway.gateway()

    def test_a_key_that_stripe_does_not_know_is_a_matter_of_setting_up(self, stripe_desk: StripeDesk) -> None:
        with pytest.raises(StripeNotSetUp, match="STRIPE_API_KEY"):
            Gateway("sk_test_other", base=stripe_desk.base).retrieve_charge("ch_1")

    @pytest.mark.parametrize(("key", "is_live"), [("sk_test_1", False), ("sk_live_1", True), ("rk_live_1", True), ("rk_test_1", False)])
    def test_the_key_says_whether_money_is_real(self, key: str, is_live: bool) -> None:
        assert Gateway(key).is_live is is_live

    def test_calls_name_the_version_that_they_were_written_for(self, stripe_desk: StripeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        stripe_gateway.gateway().create_customer({"name": "Ann"}, key="customer-7")
        monkeypatch.setattr(stripe_gateway, "API_VERSION", "2019-12-03")
        with pytest.raises(StripeRefused, match="Invalid Stripe API version"):
            stripe_gateway.gateway().create_customer({"name": "Ann"}, key="customer-8")


class TestEveryCall:
    """All methods once against the simulation, which takes only what stripe-python declares for each."""

    def test_is_understood(self, stripe_desk: StripeDesk) -> None:
        gateway, since = stripe_gateway.gateway(), datetime.now(UTC) - timedelta(hours=1)
        customer = gateway.create_customer({"name": "Ann"}, key="customer-7")["id"]
        setup = {"mode": "setup", "customer": customer, "currency": "usd", "success_url": "https://app.example.com"}
        saved = stripe_desk.pay(gateway.create_checkout_session(setup, key="setup-7")["id"])
        method = gateway.retrieve_setup_intent(saved["setup_intent"])["payment_method"]
        assert gateway.retrieve_payment_method(method)["customer"] == customer
        intent = gateway.create_payment_intent(off_session(customer, method), key="topup-8")
        charge = gateway.retrieve_charge(gateway.retrieve_payment_intent(intent["id"])["latest_charge"])
        refund = gateway.create_refund({"charge": charge["id"], "amount": 500, "reason": "requested_by_customer"}, key="refund-1")
        assert [one["id"] for one in gateway.list_refunds(charge=charge["id"])] == [gateway.retrieve_refund(refund["id"])["id"]]
        assert gateway.retrieve_dispute(stripe_desk.open_dispute(charge["id"])["id"])["amount"] == 1499
        [payout] = stripe_desk.make_payout()
        assert [one["id"] for one in gateway.list_payouts(since=since)] == [payout["id"]]
        entries = list(gateway.list_balance_transactions(payout=payout["id"]))
        assert gateway.retrieve_balance_transaction(entries[0]["id"])["status"] == "available"
        assert [one["id"] for one in gateway.list_balance_transactions(since=since)] == [one["id"] for one in entries]
        assert len(list(gateway.list_events(since=since))) == len(stripe_desk.events())
        open_one = gateway.create_checkout_session(setup, key="setup-8")["id"]
        assert gateway.expire_checkout_session(open_one)["status"] == gateway.retrieve_checkout_session(open_one)["status"] == "expired"
        asked_for = {name for name in vars(Gateway) if not name.startswith("_")}
        assert asked_for == {
            "create_checkout_session",
            "retrieve_checkout_session",
            "expire_checkout_session",
            "create_customer",
            "create_payment_intent",
            "retrieve_payment_intent",
            "retrieve_setup_intent",
            "retrieve_payment_method",
            "retrieve_charge",
            "create_refund",
            "retrieve_refund",
            "list_refunds",
            "retrieve_dispute",
            "retrieve_balance_transaction",
            "list_events",
            "list_payouts",
            "list_balance_transactions",
        }
