"""`/topups`: one order and one page of Stripe's per key; credits when they are paid, and not before."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from billing.api import topups as api_topups
from billing.api import wallets as api_wallets
from billing.models import ApiKey, CreditPack, Environment, StripeEvent, TopUp, Wallet
from billing.services import disputes, topup_events, topup_refunds
from tests import stripe_objects
from tests.api.client import Answer, Api
from tests.api.test_events import refused
from tests.billing.selling import a_pack
from tests.billing.services.rivals import at_once
from tests.stripe_desk import StripeDesk

TOPUP = {
    *("id", "customer", "url", "status", "pack", "credits", "bonus_credits", "amount", "currency", "expires_at", "created_at", "paid_at"),
    *("amount_refunded", "amount_disputed", "test_mode"),
}


def a_body(key: str = "t1", **fields: Any) -> dict[str, Any]:
    body = {"customer": "user_42", "pack": "api-pack", "success_url": "https://example.com/thanks", "idempotency_key": key} | fields
    return {name: value for name, value in body.items() if value is not None}


@pytest.fixture
def pack(committed_db: None) -> CreditPack:
    found = CreditPack.objects.filter(key="api-pack").first()
    return found or a_pack("api-pack", bonus="100", prices={"USD": ("9.99", "9.99"), "JPY": ("1500", "9.8")})


def order(api: Api, key: str = "t1", **fields: Any) -> Answer:
    return api.post("/topups", a_body(key, **fields))


def deliver(desk: StripeDesk) -> None:
    """Have all that Stripe told be worked off."""
    for event in desk.events():
        if handler := topup_events.HANDLERS.get(event["type"]):
            handler(StripeEvent(type=event["type"], body=stripe_objects.body_of(event).decode()), timezone.now())


@pytest.mark.usefixtures("pack", "stripe_desk")
class TestAnOrder:
    def test_answers_with_the_page_where_the_buyer_pays(self, api: Api, stripe_desk: StripeDesk) -> None:
        answer = order(api, cancel_url="https://example.com/credits?from=buy")
        assert answer.status == 201
        assert set(answer.json()) == TOPUP
        facts = ("customer", "status", "pack", "credits", "bonus_credits", "amount", "currency", "paid_at", "test_mode")
        told = [answer[name] for name in facts]
        assert told == ["user_42", "open", "api-pack", "1000", "100", "9.99", "USD", None, True]
        assert answer["id"].startswith("topup_")
        assert answer["url"].startswith("http://127.0.0.1")
        assert api.get("/wallets/user_42")["balance"] == "100"

        before = api.get(f"/topups/{answer['id']}")
        assert (before.status, before["status"], before["url"]) == (200, "open", answer["url"])
        stripe_desk.pay(TopUp.objects.get(pk=int(answer["id"][6:])).checkout_session)
        deliver(stripe_desk)
        after = api.get(f"/topups/{answer['id']}")
        assert (after["status"], after["url"]) == ("paid", None)
        assert after["paid_at"]
        assert (after["amount_refunded"], after["amount_disputed"]) == ("0", "0")
        assert api.get("/wallets/user_42")["balance"] == "1200"

    def test_says_what_left_again_of_what_was_paid(self, api: Api, stripe_desk: StripeDesk) -> None:
        answer = order(api, "left")
        topup = TopUp.objects.get(pk=int(answer["id"][6:]))
        stripe_desk.pay(topup.checkout_session)
        deliver(stripe_desk)
        topup.refresh_from_db()
        about = {"payment_intent": topup.payment_intent, "charge": topup.charge or "ch_left"}
        topup_refunds.apply(stripe_objects.refund(**about, amount=200), timezone.now())
        topup_refunds.apply(stripe_objects.refund(**about, amount=100, status="failed"), timezone.now())
        taken = stripe_objects.dispute(**about, amount=799)
        disputes.apply(taken, timezone.now())
        now = api.get(f"/topups/{answer['id']}")
        assert (now["status"], now["amount"], now["amount_refunded"], now["amount_disputed"]) == ("paid", "9.99", "2", "7.99")
        disputes.apply(taken | {"status": "won"}, timezone.now())
        assert api.get(f"/topups/{answer['id']}")["amount_disputed"] == "0"
        assert order(api, "left").json() == answer.json()

    def test_is_in_the_currency_that_is_asked_for(self, api: Api) -> None:
        yen = order(api, currency="JPY")
        assert (yen["amount"], yen["currency"], yen["credits"]) == ("1500", "JPY", "1000")

    def test_may_be_for_an_amount(self, api: Api) -> None:
        answer = order(api, pack=None, amount="12.50", currency="USD")
        assert (answer.status, answer["pack"], answer["credits"], answer["amount"]) == (201, None, "1250", "12.5")

    def test_takes_a_page_on_the_developers_own_machine(self, api: Api) -> None:
        for number, url in enumerate(("http://localhost:3000/ok", "http://127.0.0.1/ok?s={CHECKOUT_SESSION_ID}", "http://[::1]:8000/")):
            assert order(api, f"here-{number}", success_url=url).status == 201

    def test_is_of_its_project_and_environment(self, api: Api, key_for: Callable[..., Api]) -> None:
        topup = order(api)["id"]
        staging = key_for(environment=Environment.STAGING)
        for client, path in (
            (staging, topup),
            (api, "topup_999999999"),
            (api, "31"),
            (api, "topup_x"),
            (api, "evt_1"),
            (api, "topup_" + "9" * 30),
        ):
            assert refused(client.get(f"/topups/{path}"), 404, "unknown_topup")

    def test_is_made_once_per_key(self, api: Api, stripe_desk: StripeDesk) -> None:
        first = order(api)
        stripe_desk.pay(TopUp.objects.get(pk=int(first["id"][6:])).checkout_session)
        deliver(stripe_desk)
        again = order(api)
        assert (again.status, again.headers["Idempotent-Replayed"], again.json()) == (200, "true", first.json())
        assert refused(order(api, currency="JPY"), 422, "idempotency_mismatch")
        header = api.post("/topups", a_body(idempotency_key=None), Idempotency_Key="t1")
        assert (header.status, header.json()) == (200, first.json())

    def test_goes_on_after_stripe_was_away(self, api: Api, stripe_desk: StripeDesk) -> None:
        stripe_desk.fail_next("500", times=2)
        away = order(api)
        assert refused(away, 503, "stripe_unavailable")
        assert int(away.headers["Retry-After"]) > 0
        after = order(api)
        assert after.status == 201
        assert TopUp.objects.filter(wallet__customer__external_id="user_42", project=_project(api)).count() == 1

    def test_of_64_callers_with_one_key_is_one(self, api: Api, stripe_desk: StripeDesk) -> None:
        answers = at_once([partial(order, api) for _ in range(64)])
        assert all(isinstance(one, Answer) and one.status in {200, 201} for one in answers), answers
        bodies = {one.body for one in answers if isinstance(one, Answer)}
        assert len(bodies) == 1
        assert sum(one.status == 201 for one in answers if isinstance(one, Answer)) == 1
        assert TopUp.objects.filter(project=_project(api)).count() == 1
        assert len([call for call in stripe_desk.calls() if call["path"] == "/v1/checkout/sessions"]) == 1


def _project(api: Api) -> Any:
    return ApiKey.objects.get(public_id=api.token.split("_")[2]).project


@pytest.mark.usefixtures("pack", "stripe_desk")
class TestARefusal:
    @pytest.mark.parametrize(
        ("fields", "status", "code", "field"),
        [
            ({"customer": "nobody"}, 404, "unknown_customer", ""),
            ({"pack": "nothing"}, 404, "unknown_pack", ""),
            ({"pack": None}, 422, "invalid_request", "pack"),
            ({"amount": "5", "currency": "USD"}, 422, "invalid_request", "amount"),
            ({"pack": None, "amount": "5"}, 422, "invalid_request", "currency"),
            ({"pack": None, "amount": "5", "currency": "EUR"}, 422, "invalid_request", "currency"),
            ({"pack": None, "amount": "5.001", "currency": "USD"}, 422, "invalid_request", "amount"),
            ({"pack": None, "amount": "0", "currency": "USD"}, 422, "invalid_request", "amount"),
            ({"pack": None, "amount": "0.49", "currency": "USD"}, 422, "invalid_request", "amount"),
            ({"pack": None, "amount": "1000000", "currency": "USD"}, 422, "invalid_request", "amount"),
            ({"pack": None, "amount": 5, "currency": "USD"}, 422, "invalid_request", "amount"),
            ({"currency": "CHF"}, 422, "invalid_request", "currency"),
            ({"currency": "usd"}, 422, "invalid_request", "currency"),
            ({"success_url": None}, 422, "invalid_request", "success_url"),
            ({"credits": "5"}, 422, "invalid_request", "credits"),
        ],
    )
    def test_says_what_is_wrong(self, api: Api, fields: dict[str, Any], status: int, code: str, field: str) -> None:
        answer = order(api, **fields)
        assert refused(answer, status, code)
        if field:
            assert answer["errors"][0]["field"] == field
        assert not TopUp.objects.filter(project=_project(api)).exists()
        assert order(api).status == 201  # and the key can be used again

    @pytest.mark.parametrize(
        "url",
        [
            *(
                "javascript:alert(1)",
                "JavaScript:alert(1)",
                "data:text/html,x",
                "//example.com",
                "/thanks",
                "example.com",
                "",
                " ",
                "https://",
            ),
            *(
                "http://example.com",
                "http://localhost.example.com/",
                "https://user:pass@example.com",
                "https://example.com:x/",
                "ftp://a.b",
            ),
            *(
                "https://exa mple.com",
                "https://example.com/ü",
                "https://example.com\\@evil.example",
                "https://example.com/\n",
                "https://[::1",
            ),
            *("https://ex<ample.com", "http://127.0.0.1.example.com", "https://" + "a" * 2000 + ".com", "\x00", "https:example.com"),
        ],
    )
    def test_sends_no_buyer_to_such_an_address(self, api: Api, url: str) -> None:
        for name in ("success_url", "cancel_url"):
            answer = order(api, **{name: url})
            assert refused(answer, 422, "invalid_request")
            assert answer["errors"][0]["field"] == name


def test_without_stripe_there_are_no_topups(api: Api, pack: CreditPack) -> None:
    answer = order(api)
    assert refused(answer, 503, "stripe_not_set_up")
    assert answer.headers["Retry-After"]
    assert refused(order(api, pack="nothing"), 404, "unknown_pack")


def test_a_frozen_wallet_may_be_topped_up(api: Api, pack: CreditPack, stripe_desk: StripeDesk, wallet: Wallet) -> None:
    Wallet.objects.filter(pk=wallet.pk).update(status="frozen")
    assert order(api).status == 201


def test_deposits_and_topups_name_each_other() -> None:
    assert "POST /topups" in (api_wallets.deposit.__doc__ or "")
    assert "/wallets/{customer}/deposit" in (api_topups.order.__doc__ or "")
