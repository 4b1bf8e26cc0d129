"""`/wallets`: what an end user's wallet page needs, without cost or margin, and deposits of custom rails."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from billing.models import Environment, Wallet
from billing.services import customers
from tests.api.client import Api
from tests.api.conftest import an_event
from tests.api.test_events import refused
from tests.billing.factories import a_deposit

WALLET = {"customer", "balance", "held", "available", "status", "low_balance", "next_expiry"}
ENTRY = {
    *("id", "transaction_id", "kind", "credits", "balance_after", "lot", "event", "event_id", "reason", "request_id"),
    *("occurred_at", "recorded_at"),
}
LOT = {"id", "kind", "granted", "remaining", "expires_at", "created_at", "status"}


def a_deposit_of(payment: str, **fields: Any) -> dict[str, Any]:
    return {"credits": "50", "amount": "0.5", "currency": "USD", "payment_id": payment, "idempotency_key": f"key-{payment}"} | fields


def pages(api: Api, path: str, limit: int) -> list[dict[str, Any]]:
    """Follow `next_cursor` to the end."""
    rows: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = api.get(f"{path}?limit={limit}{cursor}").json()
        assert set(page) == {"data", "next_cursor"}
        assert len(page["data"]) <= limit
        rows += page["data"]
        assert len(rows) < 1_000, "a cursor leads back"
        if page["next_cursor"] is None:
            return rows
        cursor = f"&cursor={page['next_cursor']}"


class TestAWallet:
    def test_tells_what_can_be_spent(self, api: Api, wallet: Wallet, now: datetime) -> None:
        customers.set_low_balance_threshold(wallet_id=wallet.pk, threshold=wallet.balance, reason="test")
        soon, later = now + timedelta(days=1), now + timedelta(days=2)
        for expires_at in (soon, soon, later):
            a_deposit(wallet, "5", now=now, expires_at=expires_at)
        assert api.get("/wallets/user_42")["low_balance"] is False
        api.post("/holds", {"customer": "user_42", "event": "chat.reply", "idempotency_key": "h1", "credits": "20"})
        answer = api.get("/wallets/user_42")
        assert answer.status == 200
        assert answer.json() == {
            "customer": "user_42",
            "balance": "115",
            "held": "20",
            "available": "95",
            "status": "active",
            "low_balance": True,
            "next_expiry": {"credits": "10", "expires_at": soon.isoformat()},
        }

    @pytest.mark.parametrize("path", ["", "/entries", "/lots"])
    def test_of_nobody_is_unknown(self, api: Api, key_for: Callable[..., Api], path: str) -> None:
        assert refused(api.get(f"/wallets/nobody{path}"), 404, "unknown_customer")
        assert refused(key_for(environment=Environment.STAGING).get(f"/wallets/user_42{path}"), 404, "unknown_customer")

    def test_lists_every_movement_once(self, api: Api, wallet: Wallet, now: datetime) -> None:
        for number in range(6):
            api.post("/events", an_event(f"k{number}"))
        everything = api.get("/wallets/user_42/entries?limit=200")["data"]
        assert [entry["kind"] for entry in everything] == ["charge"] * 6 + ["deposit"]
        assert all(set(entry) == ENTRY for entry in everything)
        assert [entry["balance_after"] for entry in everything] == ["76", "80", "84", "88", "92", "96", "100"]
        for limit in (1, 2, 3, 7, 8):
            assert pages(api, "/wallets/user_42/entries", limit) == everything
        assert [e["kind"] for e in api.get("/wallets/user_42/entries?kind=deposit")["data"]] == ["deposit"]
        until = everything[0]["recorded_at"].replace("+", "%2B")
        assert everything[0] not in api.get(f"/wallets/user_42/entries?until={until}")["data"]
        assert everything[0] in api.get(f"/wallets/user_42/entries?since={until}")["data"]

    def test_lists_every_lot_once(self, api: Api, wallet: Wallet, now: datetime) -> None:
        api.post("/events", an_event("k1", quantity="25"))
        for _ in range(3):
            a_deposit(wallet, "5", now=now, expires_at=now + timedelta(seconds=0.2))
        a_deposit(wallet, "5", now=now)
        everything = api.get("/wallets/user_42/lots")["data"]
        assert all(set(lot) == LOT for lot in everything)
        assert [lot["status"] for lot in everything][::4] == ["open", "used"]
        assert [(lot["granted"], lot["remaining"]) for lot in everything][::4] == [("5", "5"), ("100", "0")]
        assert [lot["id"] for lot in pages(api, "/wallets/user_42/lots", 2)] == [lot["id"] for lot in everything]

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            *(("limit=0", "limit"), ("limit=201", "limit"), ("limit=-1", "limit"), ("limit=ten", "limit"), ("limit=1&limit=2", "limit")),
            *(("cursor=", "cursor"), ("cursor=%00", "cursor"), ("cursor=abc", "cursor"), ("cursor=LTE=", "cursor"), ("kind=gift", "kind")),
            *(("since=today", "since"), ("until=2026-11-20T10:00:00", "until"), ("sicne=2026-11-20T10:00:00Z", "sicne")),
        ],
    )
    def test_refuses_a_wrong_parameter_by_name(self, api: Api, query: str, field: str) -> None:
        answer = api.get(f"/wallets/user_42/entries?{query}")
        assert refused(answer, 422, "invalid_request")
        assert answer["errors"][0]["field"] == field


class TestADeposit:
    def test_puts_credits_into_a_lot_of_their_own(self, api: Api, now: datetime) -> None:
        ends = (now + timedelta(days=30)).isoformat()
        answer = api.post(
            "/wallets/user_42/deposit", a_deposit_of("pay_1", expires_at=ends, promotional=True, metadata={"session": "cs_1"})
        )
        assert answer.status == 201
        assert set(answer.json()) == {"entry", "balance", "available", "replayed"}
        assert set(answer["entry"]) == ENTRY
        assert (answer["balance"], answer["available"], answer["replayed"]) == ("150", "150", False)
        assert (answer["entry"]["kind"], answer["entry"]["credits"]) == ("deposit", "50")
        lot = api.get("/wallets/user_42/lots")["data"][0]
        assert (lot["id"], lot["kind"], lot["expires_at"]) == (answer["entry"]["lot"], "promotional", ends)

    def test_again_is_the_same_deposit(self, api: Api) -> None:
        first, again = (api.post("/wallets/user_42/deposit", a_deposit_of("pay_1")) for _ in range(2))
        assert (first.status, again.status, again.headers["Idempotent-Replayed"]) == (201, 200, "true")
        assert again.body == first.body.replace(b'"replayed":false', b'"replayed":true')
        assert refused(api.post("/wallets/user_42/deposit", a_deposit_of("pay_1", credits="51")), 422, "idempotency_mismatch")

    def test_credits_a_payment_once_whatever_its_key(self, api: Api) -> None:
        api.post("/wallets/user_42/deposit", a_deposit_of("pay_1"))
        answer = api.post("/wallets/user_42/deposit", a_deposit_of("pay_1", idempotency_key="other"))
        assert refused(answer, 409, "payment_already_credited")
        assert api.get("/wallets/user_42")["balance"] == "150"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("credits", "0"), ("credits", "0.0000001"), ("amount", "-1"), ("amount", 1.5), ("currency", "EUR"), ("currency", "usd")),
            *(("expires_at", "2020-01-01T00:00:00Z"), ("promotional", "yes"), ("payment_id", "has space"), ("bonus", "1")),
        ],
    )
    def test_refuses_a_wrong_field_by_name(self, api: Api, field: str, value: object) -> None:
        answer = api.post("/wallets/user_42/deposit", a_deposit_of("pay_1", **{field: value}))
        assert refused(answer, 422, "invalid_request")
        assert answer["errors"][0]["field"] == field

    def test_refuses_more_than_the_books_can_hold(self, api: Api) -> None:
        tiny = {"credits": "0.000001", "amount": "99999999999999"}
        assert refused(api.post("/wallets/user_42/deposit", a_deposit_of("pay_2", **tiny)), 422, "invalid_request")
        assert api.get("/wallets/user_42")["balance"] == "100"

    def test_for_nobody_is_refused(self, api: Api) -> None:
        assert refused(api.post("/wallets/nobody/deposit", a_deposit_of("pay_1")), 404, "unknown_customer")
