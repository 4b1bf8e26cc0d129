"""The simulation of Stripe, asked through the desk's own gateway wherever the API is meant."""

import http.client
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import stripe

from billing.errors import StripeNotSetUp, StripeRefused, StripeUnavailable
from billing.services.stripe_gateway import Gateway
from config.demo.stripe import KEY, SECRET
from config.demo.stripe.state import State
from tests.stripe_desk import StripeDesk

PACK = {"currency": "usd", "unit_amount": 1999, "product_data": {"name": "500 credits"}}
ORDER: dict[str, Any] = {
    "mode": "payment",
    "success_url": "https://app.example.com/thanks",
    "line_items": [{"quantity": 1, "price_data": PACK}],
    "client_reference_id": "5",
    "metadata": {"topup": "5"},
    "payment_intent_data": {"metadata": {"topup": "5"}},
}


@pytest.fixture
def gateway(stripe_desk: StripeDesk) -> Gateway:
    return Gateway(KEY, base=stripe_desk.base)


def kinds(desk: StripeDesk) -> list[str]:
    return [event["type"] for event in desk.events()]


def a_paid_session(desk: StripeDesk, gateway: Gateway, *, card: str = "visa", key: str = "topup-5") -> dict[str, Any]:
    """Sell 19.99 USD; forget the events of it."""
    paid: dict[str, Any] = desk.pay(gateway.create_checkout_session(ORDER, key=key)["id"], card=card)
    desk.events()
    return paid


class TestCheckout:
    def test_a_paid_session_carries_the_order_into_intent_and_charge(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        session = gateway.create_checkout_session(ORDER, key="topup-5")
        assert (session["status"], session["payment_status"], session["payment_intent"]) == ("open", "unpaid", None)
        assert session["url"].startswith(stripe_desk.base + "/pay/")
        stripe_desk.pay(session["id"])
        session = gateway.retrieve_checkout_session(session["id"])
        assert (session["status"], session["payment_status"], session["client_reference_id"]) == ("complete", "paid", "5")
        intent = gateway.retrieve_payment_intent(session["payment_intent"])
        assert (intent["status"], intent["amount_received"], intent["metadata"]) == ("succeeded", 1999, {"topup": "5"})
        charge = gateway.retrieve_charge(intent["latest_charge"])
        assert (charge["paid"], charge["metadata"]) == (True, {"topup": "5"})

    def test_the_fee_comes_after_the_money(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        stripe_desk.pay(gateway.create_checkout_session(ORDER, key="topup-5")["id"])
        told = stripe_desk.events()
        assert [event["type"] for event in told] == [
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded",
            "checkout.session.completed",
            "charge.updated",
        ]
        assert told[1]["data"]["object"]["balance_transaction"] is None
        entry = gateway.retrieve_balance_transaction(told[4]["data"]["object"]["balance_transaction"])
        assert (entry["amount"], entry["fee"], entry["net"]) == (1999, 88, 1911)  # 57.971 rounded, and 30

    def test_a_declined_session_stays_open_and_can_still_be_paid(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        session = gateway.create_checkout_session(ORDER, key="topup-5")
        assert stripe_desk.decline(session["id"], card="insufficient_funds")["status"] == "open"
        failed = stripe_desk.events()[-1]
        assert failed["type"] == "payment_intent.payment_failed"
        assert failed["data"]["object"]["last_payment_error"]["decline_code"] == "insufficient_funds"
        assert stripe_desk.pay(session["id"])["payment_intent"] == failed["data"]["object"]["id"]

    def test_a_bank_may_take_its_time_and_pay(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        session = stripe_desk.pay_by_bank(gateway.create_checkout_session(ORDER, key="topup-5")["id"])
        assert (session["status"], session["payment_status"]) == ("complete", "unpaid")
        assert kinds(stripe_desk)[-1] == "checkout.session.completed"
        stripe_desk.bank_pays(session["id"])
        assert gateway.retrieve_checkout_session(session["id"])["payment_status"] == "paid"
        told = ["charge.succeeded", "payment_intent.succeeded", "checkout.session.async_payment_succeeded", "charge.updated"]
        assert kinds(stripe_desk) == told

    def test_a_bank_may_take_its_time_and_refuse(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        session = stripe_desk.pay_by_bank(gateway.create_checkout_session(ORDER, key="topup-5")["id"])
        stripe_desk.events()
        stripe_desk.bank_refuses(session["payment_intent"])
        assert kinds(stripe_desk) == ["charge.failed", "payment_intent.payment_failed", "checkout.session.async_payment_failed"]

    def test_an_expired_session_cannot_be_paid(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        session = gateway.create_checkout_session(ORDER, key="topup-5")
        assert gateway.expire_checkout_session(session["id"])["status"] == "expired"
        assert kinds(stripe_desk) == ["checkout.session.expired"]
        with pytest.raises(ValueError, match="expired"):
            stripe_desk.pay(session["id"])

    def test_a_saved_card_pays_without_the_buyer(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        customer = gateway.create_customer({"name": "Ann", "metadata": {"customer": "7"}}, key="customer-7")["id"]
        asked = {"mode": "setup", "success_url": "https://app.example.com", "customer": customer, "currency": "usd"}
        session = stripe_desk.pay(gateway.create_checkout_session(asked, key="setup-7")["id"])
        assert session["payment_status"] == "no_payment_required"
        assert kinds(stripe_desk)[-3:] == ["payment_method.attached", "setup_intent.succeeded", "checkout.session.completed"]
        method = gateway.retrieve_setup_intent(session["setup_intent"])["payment_method"]
        assert gateway.retrieve_payment_method(method)["card"]["last4"] == "4242"
        intent = gateway.create_payment_intent(off_session(customer, method), key="topup-8")
        assert (intent["status"], intent["metadata"]) == ("succeeded", {"topup": "8"})
        assert kinds(stripe_desk) == ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "charge.updated"]

    @pytest.mark.parametrize(
        ("card", "code", "decline"),
        [
            ("fails_later", "card_declined", "generic_decline"),
            ("authenticate", "authentication_required", "authentication_required"),
        ],
    )
    def test_a_saved_card_may_be_refused_later(self, stripe_desk: StripeDesk, gateway: Gateway, card: str, code: str, decline: str) -> None:
        customer = gateway.create_customer({"name": "Ann"}, key="customer-7")["id"]
        asked = {"mode": "setup", "success_url": "https://app.example.com", "customer": customer, "currency": "usd"}
        session = stripe_desk.pay(gateway.create_checkout_session(asked, key="setup-7")["id"], card=card)
        method = gateway.retrieve_setup_intent(session["setup_intent"])["payment_method"]
        for _ in range(2):  # the second answer is the first one, given again
            with pytest.raises(StripeRefused) as refused:
                gateway.create_payment_intent(off_session(customer, method), key="topup-8")
            assert (refused.value.figures["stripe_code"], refused.value.figures["decline_code"]) == (code, decline)
        told = stripe_desk.events()
        assert [event["type"] for event in told].count("payment_intent.payment_failed") == 1
        assert told[-1]["data"]["object"]["id"] == refused.value.figures["payment_intent"]


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


class TestMoneyBack:
    def test_a_charge_is_refunded_in_parts_and_never_beyond(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        intent = a_paid_session(stripe_desk, gateway)["payment_intent"]
        first = gateway.create_refund({"payment_intent": intent, "amount": 500, "metadata": {"refund": "1"}}, key="refund-1")
        assert (first["status"], first["amount"]) == ("succeeded", 500)
        assert kinds(stripe_desk) == ["refund.created", "charge.refunded"]
        with pytest.raises(StripeRefused, match="greater than unrefunded amount"):
            gateway.create_refund({"payment_intent": intent, "amount": 1500}, key="refund-2")
        gateway.create_refund({"payment_intent": intent}, key="refund-3")
        with pytest.raises(StripeRefused) as refused:
            gateway.create_refund({"payment_intent": intent}, key="refund-4")
        assert refused.value.figures["stripe_code"] == "charge_already_refunded"
        assert [one["amount"] for one in gateway.list_refunds(charge=first["charge"])] == [1499, 500]

    def test_a_pending_refund_arrives_or_fails(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        intent = a_paid_session(stripe_desk, gateway)["payment_intent"]
        stripe_desk.refunds_are("pending")
        arrives = gateway.create_refund({"payment_intent": intent, "amount": 500}, key="refund-1")
        fails = gateway.create_refund({"payment_intent": intent, "amount": 300}, key="refund-2")
        assert arrives["status"] == fails["status"] == "pending"
        stripe_desk.events()
        stripe_desk.settle_refund(arrives["id"])
        stripe_desk.settle_refund(fails["id"], succeeds=False)
        assert kinds(stripe_desk) == ["refund.updated", "refund.updated", "refund.failed"]
        assert gateway.retrieve_refund(fails["id"])["status"] == "failed"
        assert gateway.retrieve_charge(fails["charge"])["amount_refunded"] == 500

    @pytest.mark.parametrize(("outcome", "last"), [("won", "charge.dispute.funds_reinstated"), ("lost", "charge.dispute.closed")])
    def test_a_dispute_takes_the_money_until_it_is_won(self, stripe_desk: StripeDesk, gateway: Gateway, outcome: str, last: str) -> None:
        session = a_paid_session(stripe_desk, gateway)
        dispute = stripe_desk.open_dispute(session["id"])
        assert kinds(stripe_desk) == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
        with pytest.raises(StripeRefused) as refused:
            gateway.create_refund({"payment_intent": session["payment_intent"]}, key="refund-1")
        assert refused.value.figures["stripe_code"] == "charge_disputed"
        stripe_desk.close_dispute(dispute["id"], outcome)
        dispute = gateway.retrieve_dispute(dispute["id"])
        assert dispute["status"] == outcome
        assert kinds(stripe_desk)[-1] == last
        if outcome == "won":
            assert gateway.create_refund({"payment_intent": session["payment_intent"]}, key="refund-2")["amount"] == 1999
        nets = [entry["net"] for entry in dispute["balance_transactions"]]
        assert nets == [-1999 - 1500, 1999][: 2 if outcome == "won" else 1]

    def test_an_inquiry_takes_nothing_unless_it_becomes_a_dispute(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        inquiry = stripe_desk.open_dispute(a_paid_session(stripe_desk, gateway)["id"], is_inquiry=True)
        assert (inquiry["status"], inquiry["balance_transactions"]) == ("warning_needs_response", [])
        assert stripe_desk.escalate(inquiry["id"])["balance_transactions"][0]["net"] == -3499
        assert kinds(stripe_desk) == ["charge.dispute.created", "charge.dispute.updated", "charge.dispute.funds_withdrawn"]

    def test_a_card_can_dispute_by_itself(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        stripe_desk.pay(gateway.create_checkout_session(ORDER, key="topup-5")["id"], card="disputed")
        assert kinds(stripe_desk)[-2:] == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]

    def test_a_payout_is_the_sum_of_what_it_took_along(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        intent = a_paid_session(stripe_desk, gateway)["payment_intent"]
        gateway.create_refund({"payment_intent": intent, "amount": 500}, key="refund-1")
        [payout] = stripe_desk.make_payout()
        assert payout["amount"] == 1911 - 500
        own, *rest = gateway.list_balance_transactions(payout=payout["id"])
        assert (own["type"], own["net"]) == ("payout", -1411)
        assert sum(entry["net"] for entry in rest) == 1411
        assert [one["id"] for one in gateway.list_payouts(since=datetime.now(UTC) - timedelta(hours=1))] == [payout["id"]]
        assert kinds(stripe_desk)[-3:] == ["payout.created", "payout.paid", "payout.reconciliation_completed"]
        assert stripe_desk.make_payout() == []

    def test_a_payout_may_fail_and_the_money_is_back(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        a_paid_session(stripe_desk, gateway)
        [failed] = stripe_desk.make_payout(fails=True)
        assert kinds(stripe_desk) == ["payout.created", "payout.failed"]
        assert [one["amount"] for one in stripe_desk.make_payout()] == [failed["amount"]]


class TestAsStripeDoes:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"sucess_url": "https://x"}, "Received unknown parameter: sucess_url"),
            (
                {"line_items": [{"quantity": 1, "price_data": PACK | {"amount": 5}}]},
                r"unknown parameter: line_items\[0\]\[price_data\]\[amount\]",
            ),
            ({"mode": "paymet"}, "Invalid mode"),
            ({"line_items": []}, "one at least"),
            ({"expires_at": 5}, "between 30 minutes and 24 hours"),
            ({"customer": "cus_nobody"}, "No such customer"),
        ],
    )
    def test_a_wrong_parameter_is_refused(self, gateway: Gateway, change: dict[str, Any], message: str) -> None:
        with pytest.raises(StripeRefused, match=message):
            gateway.create_checkout_session(ORDER | change, key="topup-5")

    @pytest.mark.parametrize(
        ("minor", "currency", "code"),
        [(49, "usd", "amount_too_small"), (17_499, "huf", "amount_too_small"), (100_000_000, "eur", "amount_too_large")],
    )
    def test_what_stripe_does_not_charge_is_refused(self, gateway: Gateway, minor: int, currency: str, code: str) -> None:
        price = {"quantity": 1, "price_data": PACK | {"unit_amount": minor, "currency": currency}}
        payment = {"amount": minor, "currency": currency, "confirm": True, "off_session": True, "payment_method": "pm_card_visa"}
        calls: list[Callable[[], Any]] = [
            lambda: gateway.create_checkout_session(ORDER | {"line_items": [price]}, key=f"c-{minor}"),
            lambda: gateway.create_payment_intent(payment, key=f"p-{minor}"),
        ]
        for call in calls:
            with pytest.raises(StripeRefused) as refused:
                call()
            assert refused.value.figures["stripe_code"] == code
        right = minor - 1 if code == "amount_too_large" else minor + 1
        assert gateway.create_payment_intent(payment | {"amount": right}, key=f"r-{minor}")["status"] == "succeeded"

    def test_a_key_answers_again_and_holds_to_its_parameters(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        first = gateway.create_checkout_session(ORDER, key="topup-5")
        stripe_desk.pay(first["id"])
        assert gateway.create_checkout_session(ORDER, key="topup-5") == first
        with pytest.raises(StripeRefused, match="same parameters"):
            gateway.create_checkout_session(ORDER | {"success_url": "https://elsewhere.example.com"}, key="topup-5")

    def test_a_lost_answer_was_done_once(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        stripe_desk.fail_next("lost", times=2)  # the library tries twice
        with pytest.raises(StripeUnavailable):
            gateway.create_checkout_session(ORDER, key="topup-5")
        session = gateway.create_checkout_session(ORDER, key="topup-5")
        assert stripe_desk.pay(session["id"])["status"] == "complete"
        assert {call["key"] for call in stripe_desk.calls()} == {"topup-5"}

    def test_another_key_is_refused(self, stripe_desk: StripeDesk) -> None:
        with pytest.raises(StripeNotSetUp):
            Gateway("sk_test_other", base=stripe_desk.base).retrieve_charge("ch_1")

    def test_what_is_not_there_is_said_so(self, gateway: Gateway) -> None:
        with pytest.raises(StripeRefused) as refused:
            gateway.retrieve_charge("ch_nothing")
        assert refused.value.figures["stripe_code"] == "resource_missing"

    def test_events_are_listed_over_pages_the_newest_first(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        for number in range(60):
            gateway.create_customer({"name": f"{number}"}, key=f"customer-{number}")
            gateway.create_customer({"name": f"again {number}"}, key=f"again-{number}")
        listed = [event["id"] for event in gateway.list_events(since=datetime.now(UTC) - timedelta(hours=1))]
        assert listed == [event["id"] for event in reversed(stripe_desk.events())]
        assert len(listed) == 120

    def test_unreadable_requests_get_an_answer(self, stripe_desk: StripeDesk) -> None:
        for method, path, body in (
            ("POST", "/v1/refunds", b"\xff\xfe"),
            ("POST", "/v1/refunds", b"a[b=1"),
            ("POST", "/v1/refunds", b"a=1&a[b]=1"),
            ("POST", "/simulation/do/pay", b"{"),
            ("GET", "/v1/nothing", b""),
            ("POST", "/pay/cs_nothing", b"button=pay"),
        ):
            site = http.client.HTTPConnection("127.0.0.1", stripe_desk.port, timeout=5)
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
            site.request(method, path, body, headers)
            assert 400 <= site.getresponse().status < 500, (method, path, body)
            site.close()


class TestTheFile:
    def test_a_killed_simulation_still_knows_what_it_answered(self, tmp_path: Path) -> None:
        with StripeDesk(tmp_path) as desk:
            gateway = Gateway(KEY, base=desk.base)
            session = gateway.create_checkout_session(ORDER, key="topup-5")
            desk.pay(session["id"])
            told = desk.events()
            assert desk.process.child
            desk.process.child.kill()
            desk.process.child.wait()
        with StripeDesk(tmp_path, port=desk.port) as desk:
            gateway = Gateway(KEY, base=desk.base)
            assert gateway.create_checkout_session(ORDER, key="topup-5") == session
            assert gateway.retrieve_checkout_session(session["id"])["payment_status"] == "paid"
            assert desk.events() == told

    def test_history_has_the_moment_when_it_would_have_happened(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        past = int(time.time()) - 80 * 86_400
        stripe_desk.set_clock(past)
        session = a_paid_session(stripe_desk, gateway)
        stripe_desk.set_clock(None)
        assert session["created"] == past
        assert gateway.retrieve_payment_intent(session["payment_intent"])["created"] == past
        assert list(gateway.list_events(since=datetime.now(UTC) - timedelta(hours=1))) == []


def press(desk: StripeDesk, path: str, **fields: str) -> tuple[int, str, str]:
    """Press a button of a page as a browser does; returns status, where it leads, and what it shows."""
    return ask(desk, "POST", path, urlencode(fields))


def ask(desk: StripeDesk, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str, str]:
    site = http.client.HTTPConnection("127.0.0.1", desk.port, timeout=5)
    site.request(method, path, body, headers)
    answer = site.getresponse()
    shown = answer.read().decode()
    site.close()
    return answer.status, answer.headers["Location"] or "", shown


class TestPages:
    @pytest.fixture
    def page(self, stripe_desk: StripeDesk, gateway: Gateway) -> str:
        """Where the buyer pays."""
        places = {"success_url": "https://app.example.com/?s={CHECKOUT_SESSION_ID}", "cancel_url": "https://app.example.com/pity"}
        url: str = gateway.create_checkout_session(ORDER | places, key="topup-5")["url"]
        return url.removeprefix(stripe_desk.base)

    def test_say_first_that_no_money_moves(self, stripe_desk: StripeDesk, page: str) -> None:
        for path in (page, "/simulation"):
            status, _, shown = ask(stripe_desk, "GET", path)
            assert (status, shown.count("<header>Simulation - no money moves</header>")) == (200, 1)

    def test_show_what_is_bought_for_how_much(self, stripe_desk: StripeDesk, page: str) -> None:
        shown = ask(stripe_desk, "GET", page)[2]
        assert "500 credits" in shown
        assert "19.99 USD" in shown

    def test_pay_leads_back_to_the_shop(self, stripe_desk: StripeDesk, gateway: Gateway, page: str) -> None:
        session = page.rpartition("/")[2]
        assert press(stripe_desk, page, button="pay", card="visa")[:2] == (303, f"https://app.example.com/?s={session}")
        assert gateway.retrieve_checkout_session(session)["payment_status"] == "paid"
        assert "nothing left to pay" in ask(stripe_desk, "GET", page)[2]
        assert press(stripe_desk, page, button="pay", card="visa")[:2] == (303, page)  # a second click buys nothing

    def test_decline_stays_and_says_so(self, stripe_desk: StripeDesk, page: str) -> None:
        status, _, shown = press(stripe_desk, page, button="decline", card="visa")
        assert status == 200
        assert "The bank declined" in shown

    def test_cancel_leads_to_the_other_address(self, stripe_desk: StripeDesk, page: str) -> None:
        assert press(stripe_desk, page, button="cancel")[:2] == (303, "https://app.example.com/pity")

    def test_banks_are_played_from_a_page(self, stripe_desk: StripeDesk, gateway: Gateway, page: str) -> None:
        press(stripe_desk, page, button="later")
        charge = gateway.retrieve_payment_intent(stripe_desk.events()[0]["data"]["object"]["id"])["latest_charge"]
        assert "The bank pays" in ask(stripe_desk, "GET", "/simulation")[2]
        press(stripe_desk, "/simulation", button="bank_answers", payment=charge, pays="yes")
        press(stripe_desk, "/simulation", button="open_dispute", payment=charge)
        [dispute] = [one["data"]["object"]["id"] for one in stripe_desk.events() if one["type"] == "charge.dispute.created"]
        press(stripe_desk, "/simulation", button="close_dispute", dispute=dispute, outcome="lost")
        press(stripe_desk, "/simulation", button="pay_out")
        assert kinds(stripe_desk)[-4:] == ["charge.dispute.closed", "payout.created", "payout.paid", "payout.reconciliation_completed"]
        shown = ask(stripe_desk, "GET", "/simulation")[2]
        assert all(word in shown for word in ("disputed", "lost", "paid"))

    def test_say_why_a_button_did_nothing(self, stripe_desk: StripeDesk, gateway: Gateway, page: str) -> None:
        press(stripe_desk, page, button="pay")
        charge = stripe_desk.events()[-1]["data"]["object"]["id"]
        press(stripe_desk, "/simulation", button="refund", payment=charge)
        status, _, shown = press(stripe_desk, "/simulation", button="refund", payment=charge)
        assert status == 200
        assert "has already been refunded" in shown

    def test_take_no_word_from_another_site(self, stripe_desk: StripeDesk, page: str) -> None:
        assert ask(stripe_desk, "POST", page, "button=pay", **{"Sec-Fetch-Site": "cross-site"})[0] == 403

    def test_names_from_elsewhere_are_text(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        price = PACK | {"product_data": {"name": "<script>alert(1)</script>"}}
        bad = ORDER | {"line_items": [{"quantity": 1, "price_data": price}], "success_url": "javascript:alert(1)"}
        session = gateway.create_checkout_session(bad, key="topup-6")
        path = session["url"].removeprefix(stripe_desk.base)
        stripe_desk.pay(session["id"])
        shown = ask(stripe_desk, "GET", path)[2]
        assert "<script>" not in shown
        assert "javascript:" not in shown


class TestWebhooks:
    def test_events_are_posted_signed_and_until_somebody_takes_them(self, stripe_desk: StripeDesk, gateway: Gateway) -> None:
        taken: list[tuple[bytes, str]] = []
        answers = [500, 200]

        class Desk(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                taken.append((self.rfile.read(int(self.headers["Content-Length"])), self.headers["Stripe-Signature"]))
                self.send_response(answers[min(len(taken), len(answers)) - 1])
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Desk) as desk:
            threading.Thread(target=desk.serve_forever, daemon=True).start()
            stripe_desk.post_to(f"http://127.0.0.1:{desk.server_port}/stripe/webhook")
            made = gateway.create_customer({"name": "Ann"}, key="customer-7")
            deadline = time.monotonic() + 10
            while len(taken) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            desk.shutdown()
        assert len(taken) == 2
        for body, signature in taken:
            event = stripe.Webhook.construct_event(body, signature, SECRET)
            assert (event.type, event.data.object["id"]) == ("customer.created", made["id"])
        assert stripe_desk.deliver() == []


class TestState:
    def test_forgets_what_stripe_would_and_keeps_objects(self, tmp_path: Path) -> None:
        state = State(tmp_path / "state.json")
        state.clock = int(time.time()) - 31 * 86_400
        customer = state.add("cus", {"object": "customer", "name": "Ann"})
        state.tell("customer.created", customer)
        state.data["answers"]["customer-7"] = {"at": state.now()}
        assert state.forget_old() == 0
        state.clock = None
        assert state.forget_old() == 2
        assert state.find("customer", customer["id"]) == customer

    def test_builds_nothing_that_stripe_does_not_have(self, tmp_path: Path) -> None:
        state = State(tmp_path / "state.json")
        with pytest.raises(TypeError, match="Customer has no nickname"):
            state.add("cus", {"object": "customer", "nickname": "Ann"})
        with pytest.raises(TypeError, match="EvidenceDetails has no until"):
            state.add("dp", {"object": "dispute", "evidence_details": {"until": 5}})
