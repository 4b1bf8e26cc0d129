"""`/holds`: authorise an action that is still running, settle it when its stream ends."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine

from billing.models import Environment, Project, Wallet, WalletStatus
from billing.services import customers
from pricing.models import EventType
from tests.api.client import Answer, Api
from tests.api.conftest import an_event, charges
from tests.api.test_events import ANSWER, refused

HOLD = {"id", "customer", "event", "credits", "status", "created_at", "expires_at", "captured_credits", "event_id"}


def place(api: Api, key: str = "h1", **fields: Any) -> Answer:
    return api.post("/holds", {"customer": "user_42", "event": "chat.reply", "idempotency_key": key} | fields)


def settle(api: Api, hold: str, key: str = "k1", **fields: Any) -> Answer:
    return api.post(f"/holds/{hold}/capture", {"event": "chat.reply", "idempotency_key": key} | fields)


class TestAHold:
    def test_sets_aside_what_the_event_costs(self, api: Api) -> None:
        answer = place(api, quantity="3", expires_in=60)
        assert answer.status == 201
        assert set(answer.json()) == HOLD | {"available"}
        assert answer["id"].startswith("hold_")
        facts = ("customer", "event", "credits", "available", "status", "captured_credits", "event_id")
        assert [answer[name] for name in facts] == ["user_42", "chat.reply", "12", "88", "open", None, None]
        wallet = api.get("/wallets/user_42")
        assert [wallet[name] for name in ("balance", "held", "available")] == ["100", "12", "88"]

    def test_sets_aside_the_credits_that_are_asked_for(self, api: Api) -> None:
        assert (place(api, credits="0.5")["credits"], place(api, "h2")["credits"]) == ("0.5", "4")

    def test_again_is_the_same_hold_even_after_it_ended(self, api: Api) -> None:
        first = place(api)
        api.post(f"/holds/{first['id']}/extend", {"expires_in": 86400})
        settle(api, first["id"])
        again = place(api)
        assert (again.status, again.headers["Idempotent-Replayed"], again.body) == (200, "true", first.body)
        assert refused(place(api, quantity="2"), 422, "idempotency_mismatch")

    def test_cannot_be_spent_by_anything_else(self, api: Api) -> None:
        place(api, credits="98")
        assert refused(api.post("/events", an_event("k1")), 402, "insufficient_credits")
        answer = place(api, "h2")
        assert refused(answer, 402, "insufficient_credits")
        assert (answer["balance"], answer["available"], answer["needed"]) == ("100", "2", "4")

    def test_is_refused_for_what_an_event_would_be_refused_for(self, api: Api, wallet: Wallet) -> None:
        assert refused(place(api, customer="nobody"), 404, "unknown_customer")
        assert refused(place(api, event="chat.retort"), 404, "unknown_event_type")
        EventType.objects.get_or_create(name="hold.unpriced", defaults={"label": "x"})
        assert refused(place(api, event="hold.unpriced"), 422, "no_price")
        assert refused(place(api, quantity="1", credits="4"), 422, "invalid_request")
        assert refused(place(api, expires_in=604801), 422, "invalid_request")
        customers.set_status(wallet_id=wallet.pk, status=WalletStatus.FROZEN, reason="dispute")
        assert refused(place(api), 402, "wallet_frozen")

    def test_ends_by_itself(self, api: Api, now: datetime) -> None:
        hold = place(api, credits="100", expires_in=60)["id"]
        with time_machine.travel(now + timedelta(seconds=61)):
            assert api.post("/events", an_event("k1")).status == 201
            assert refused(settle(api, hold, "k2"), 409, "hold_ended")
            answer = api.post(f"/holds/{hold}/extend", {})
            assert refused(answer, 409, "hold_ended")
            assert api.post(f"/holds/{hold}/release")["status"] == "expired"


class TestACapture:
    def test_charges_what_it_cost_and_gives_the_rest_back(self, api: Api, project: Project) -> None:
        hold = place(api, credits="10")["id"]
        answer = settle(api, hold)
        assert answer.status == 201
        assert set(answer.json()) == ANSWER | {"hold"}
        assert set(answer["hold"]) == HOLD
        assert (answer["credits"], answer["balance"], answer["available"]) == ("4", "96", "96")
        ended = answer["hold"]
        assert (ended["status"], ended["captured_credits"], ended["event_id"]) == ("captured", "4", answer["id"])
        assert (api.get("/wallets/user_42")["held"], charges(project)) == ("0", 1)

    def test_again_is_the_same_capture(self, api: Api) -> None:
        hold = place(api, credits="10")["id"]
        first, again = settle(api, hold), settle(api, hold)
        assert (first.status, again.status, again.headers["Idempotent-Replayed"]) == (201, 200, "true")
        assert again.body == first.body.replace(b'"replayed":false', b'"replayed":true')
        assert refused(settle(api, hold, quantity="2"), 422, "idempotency_mismatch")
        assert refused(settle(api, hold, "k2"), 409, "hold_ended")

    def test_above_the_hold_follows_the_stated_policy(self, api: Api) -> None:
        hold = place(api, credits="2")["id"]
        answer = settle(api, hold, quantity="5")
        assert refused(answer, 402, "insufficient_credits")
        assert (answer["needed"], answer["held"]) == ("20", "2")
        assert settle(api, hold, "k2", quantity="5", overage="available")["credits"] == "20"
        second = place(api, "h2", credits="2")["id"]
        waived = settle(api, second, "k3", quantity="50", overage="available")
        assert (waived["credits"], waived["balance"]) == ("80", "0")

    def test_may_leave_the_wallet_owing(self, api: Api) -> None:
        hold = place(api, credits="2")["id"]
        answer = settle(api, hold, quantity="50", overage="allow")
        assert (answer.status, answer["credits"], answer["balance"], answer["available"]) == (201, "200", "-100", "0")
        assert api.get("/wallets/user_42/lots")["data"][0]["status"] == "owed"

    def test_of_more_than_the_books_can_hold_is_refused(self, api: Api) -> None:
        hold = place(api)["id"]
        assert refused(settle(api, hold, quantity="99999999999999", overage="allow"), 422, "invalid_request")
        assert settle(api, hold).status == 201

    def test_names_no_customer(self, api: Api) -> None:
        answer = settle(api, place(api)["id"], customer="user_42")
        assert refused(answer, 422, "invalid_request")
        assert answer["errors"][0]["field"] == "customer"


class TestAnOpenHold:
    def test_is_released_once_and_for_all(self, api: Api) -> None:
        hold = place(api)["id"]
        for _ in range(2):
            answer = api.post(f"/holds/{hold}/release")
            assert (answer.status, answer["status"], set(answer.json())) == (200, "released", HOLD)
        assert api.get("/wallets/user_42")["available"] == "100"
        assert refused(settle(api, hold), 409, "hold_ended")

    def test_is_not_released_after_its_capture(self, api: Api) -> None:
        hold = place(api)["id"]
        settle(api, hold)
        answer = api.post(f"/holds/{hold}/release")
        assert refused(answer, 409, "hold_ended")
        assert "Refund the event" in answer["detail"]

    def test_is_extended_and_never_shortened(self, api: Api) -> None:
        first = place(api, expires_in=600)
        longer = api.post(f"/holds/{first['id']}/extend", {"expires_in": 3600})
        assert (longer.status, set(longer.json())) == (200, HOLD)
        assert longer["expires_at"] > first["expires_at"]
        assert api.post(f"/holds/{first['id']}/extend", {"expires_in": 1})["expires_at"] == longer["expires_at"]

    @pytest.mark.parametrize("call", ["capture", "release", "extend"])
    def test_is_nobody_elses(self, api: Api, key_for: Callable[..., Api], call: str) -> None:
        hold = place(api)["id"]
        body = {"event": "chat.reply", "idempotency_key": "k1"} if call == "capture" else None if call == "release" else {}
        staging = key_for(environment=Environment.STAGING)
        assert refused(staging.post(f"/holds/{hold}/{call}", body), 404, "unknown_hold")
        assert refused(api.post(f"/holds/hold_0/{call}", body), 404, "unknown_hold")
        assert refused(api.post(f"/holds/{hold}x/{call}", body), 404, "unknown_hold")
