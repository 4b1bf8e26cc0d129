"""`POST /events`: one call prices, charges and answers with the new balance."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.models import Environment, IdempotencyKey, Project, UsageRecord, Wallet, WalletStatus
from billing.services import customers
from pricing.models import EventType
from tests.api.client import Answer, Api
from tests.api.conftest import an_event, charges
from tests.billing.factories import a_price

ANSWER = {
    *("id", "event", "customer", "credits", "balance", "available", "price", "lots", "provider_cost", "budgets"),
    *("occurred_at", "recorded_at", "request_id", "replayed"),
}
WHOLE: dict[str, Any] = {
    "quantity": "2",
    "occurred_at": "2026-11-20T10:00:00+00:00",
    "usage": {
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "input_tokens": 847,
        "output_tokens": 312,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
        "audio_input_tokens": 0,
        "audio_output_tokens": 0,
        "images": 0,
        "video_seconds": "0",
        "requests": 1,
    },
    "route": {
        "endpoint": "chat.completions",
        "modality": "text",
        "service_tier": "standard",
        "route_group": "default",
        "final_route": "",
        "batch": False,
        "stream": True,
        "fallbacks": 0,
        "retries": 0,
    },
    "outcome": {"status": "ok", "status_code": 200, "error_class": "", "latency_ms": 812, "ttft_ms": 140, "accepted": True},
    "owner": {"workflow": "support", "run_id": "", "job_id": "", "agent_type": "", "user": "", "cost_center": ""},
    "provider_cost": None,
    "trace_id": "",
    "metadata": {},
}


CACHED: dict[str, Any] = {
    "provider": "anthropic",
    "model": "claude-sonnet-4-5",
    "input_tokens": 847,
    "output_tokens": 312,
    "cache_read_tokens": 600,
    "cache_write_tokens": 147,
}


def refused(answer: Answer, status: int, code: str) -> bool:
    assert answer.is_problem, answer
    assert (answer.status, answer["code"]) == (status, code), answer.body
    return True


class TestAnEvent:
    def test_is_priced_charged_and_answered_with_the_new_balance(self, api: Api, wallet: Wallet) -> None:
        answer = api.post("/events", an_event("k1"), X_Request_ID="chat-7")
        assert answer.status == 201
        body = answer.json()
        assert set(body) == ANSWER
        assert body["id"].startswith("evt_")
        figures = ("event", "customer", "credits", "balance", "available", "budgets", "request_id", "replayed")
        assert [body[name] for name in figures] == ["chat.reply", "user_42", "4", "96", "96", [], "chat-7", False]
        assert set(body["price"]) == {"rule", "version", "lines"}
        assert (body["price"]["rule"], body["price"]["version"]) == ("chat.reply/default", 1)
        assert sum(Decimal(line["credits"]) for line in body["price"]["lines"]) == 4
        assert body["lots"] == [{"id": f"lot_{wallet.lots.get().pk}", "credits": "4"}]
        assert body["provider_cost"] == {"amount": None, "currency": "USD", "status": "none"}
        assert datetime.fromisoformat(body["occurred_at"]).utcoffset() == timedelta(0)
        assert datetime.fromisoformat(body["recorded_at"]).utcoffset() == timedelta(0)
        assert answer.headers["X-Request-ID"] == "chat-7"
        assert "Idempotent-Replayed" not in answer.headers

    def test_takes_every_documented_field(self, api: Api, project: Project) -> None:
        answer = api.post("/events", an_event("k1", **WHOLE))
        assert answer.status == 201
        assert (answer["credits"], answer["provider_cost"]["status"]) == ("8", "unpriced")
        record = UsageRecord.objects.get(project=project)
        assert (record.input_tokens, record.latency_ms, record.workflow, record.is_stream) == (847, 812, "support", True)

    def test_reports_the_cost_that_the_app_knows(self, api: Api) -> None:
        answer = api.post("/events", an_event("k1", provider_cost="0.000000000001"))
        assert answer["provider_cost"] == {"amount": "0.000000000001", "currency": "USD", "status": "reported"}

    def test_one_number_in_two_spellings_is_one_body(self, api: Api) -> None:
        first = api.post("/events", an_event("k1", quantity="1.50", provider_cost="-0.0"))
        again = api.post("/events", an_event("k1", quantity="1.5", provider_cost="0"))
        assert again.json() == first.json() | {"replayed": True}

    def test_without_a_customer_has_a_cost_and_no_wallet(self, api: Api) -> None:
        body = an_event("k1", provider_cost="0.25")
        del body["customer"]
        answer = api.post("/events", body)
        assert answer.status == 201
        names = ("customer", "credits", "balance", "available", "price", "lots")
        assert [answer[name] for name in names] == [None, "0", None, None, None, []]

    def test_may_bring_its_key_as_a_header(self, api: Api) -> None:
        body = an_event("k1")
        first = api.post("/events", body)
        del body["idempotency_key"]
        again = api.post("/events", body, Idempotency_Key="k1")
        assert (again.status, again["id"]) == (200, first["id"])

    def test_is_charged_at_the_price_of_the_time_when_it_occurred(self, api: Api, now: datetime) -> None:
        a_price("5", event="voice.reply", effective_from=now - timedelta(days=2), now=now)
        a_price("7", event="voice.reply", effective_from=now + timedelta(seconds=65), now=now)
        yesterday = (now - timedelta(days=1)).isoformat()
        assert api.post("/events", an_event("k1", event="voice.reply", occurred_at=yesterday))["credits"] == "5"
        assert api.post("/events", an_event("k2", event="voice.reply"))["price"]["version"] == 1
        before = an_event("k3", event="voice.reply", occurred_at=(now - timedelta(days=3)).isoformat())
        assert refused(api.post("/events", before), 422, "no_price")


class TestTheSameEventAgain:
    def test_gets_the_original_answer_to_the_letter(self, api: Api) -> None:
        body = an_event("k1", **WHOLE)
        first = api.post("/events", body, X_Request_ID="first")
        api.post("/events", an_event("k2"))
        again = api.post("/events", body, X_Request_ID="second")
        assert (first.status, again.status) == (201, 200)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.body == first.body.replace(b'"replayed":false', b'"replayed":true')
        assert again.headers["X-Request-ID"] == "second"

    def test_is_known_in_whatever_order_its_fields_come(self, api: Api) -> None:
        body = an_event("k1", metadata={"b": 1, "a": 2})
        api.post("/events", body)
        other = {name: body[name] for name in reversed(body)} | {"metadata": {"a": 2, "b": 1}, "quantity": "1.0"}
        assert api.post("/events", other).status == 200

    @pytest.mark.parametrize(
        ("body", "stored"),
        [
            ({}, "70d005f2bd63a93e611c27b140e18cd7"),
            (WHOLE, "81646f99c0e88def73240915f2a253cb"),
            ({"usage": CACHED}, "c34d628c2910c02be4bb9ade810b43f4"),
            ({"usage": CACHED | {"cache_write_1h_tokens": 0}}, "c34d628c2910c02be4bb9ade810b43f4"),
        ],
    )
    def test_is_known_by_the_hash_of_before_a_field_was_added(self, body: dict[str, Any], stored: str, api: Api, project: Project) -> None:
        """These were stored before `cache_write_1h_tokens` was there; a retry of such an event must still find itself."""
        assert api.post("/events", an_event("k1", **body)).status == 201
        assert bytes(IdempotencyKey.objects.get(project_id=project.pk, key="k1").body_hash).hex() == stored

    def test_is_another_one_when_it_uses_the_new_field(self, api: Api) -> None:
        assert api.post("/events", an_event("k1", usage=CACHED)).status == 201
        other = an_event("k1", usage=CACHED | {"cache_write_1h_tokens": 1})
        assert refused(api.post("/events", other), 422, "idempotency_mismatch")

    def test_is_refused_with_another_body(self, api: Api, project: Project) -> None:
        api.post("/events", an_event("k1"))
        assert refused(api.post("/events", an_event("k1", quantity="2")), 422, "idempotency_mismatch")
        assert charges(project) == 1

    def test_may_succeed_after_it_was_refused(self, api: Api, wallet: Wallet) -> None:
        body = an_event("k1", quantity="26")
        assert refused(api.post("/events", body), 402, "insufficient_credits")
        deposit = {"credits": "4", "amount": "0.04", "currency": "USD", "payment_id": "p2", "idempotency_key": "d2"}
        assert api.post("/wallets/user_42/deposit", deposit).status == 201
        assert (api.post("/events", body).status, api.post("/events", body).status) == (201, 200)

    def test_of_another_environment_is_another_event(self, api: Api, key_for: Callable[..., Api]) -> None:
        body = an_event("k1", provider_cost="1")
        del body["customer"]
        api.post("/events", body)
        staging = key_for(environment=Environment.STAGING)
        assert refused(staging.post("/events", body), 422, "idempotency_mismatch")


class TestRefusals:
    def test_insufficient_credits_tells_what_is_there_and_what_is_needed(self, api: Api, project: Project) -> None:
        answer = api.post("/events", an_event("k1", quantity="26"))
        assert refused(answer, 402, "insufficient_credits")
        assert (answer["balance"], answer["available"], answer["needed"]) == ("100", "100", "104")
        assert set(answer.json()) == {"type", "title", "status", "detail", "code", "request_id", "balance", "available", "needed"}
        assert charges(project) == 0

    def test_wallet_frozen(self, api: Api, wallet: Wallet) -> None:
        customers.set_status(wallet_id=wallet.pk, status=WalletStatus.FROZEN, reason="dispute")
        assert refused(api.post("/events", an_event("k1")), 402, "wallet_frozen")

    def test_unknown_customer(self, api: Api) -> None:
        answer = api.post("/events", an_event("k1", customer="nobody"))
        assert refused(answer, 404, "unknown_customer")
        assert "PUT /customers/" in answer["detail"]

    def test_unknown_event_type(self, api: Api) -> None:
        assert refused(api.post("/events", an_event("k1", event="chat.retort")), 404, "unknown_event_type")

    def test_no_price(self, api: Api) -> None:
        EventType.objects.create(name="image.generate", label="Image")
        assert refused(api.post("/events", an_event("k1", event="image.generate")), 422, "no_price")
        before = an_event("k2", occurred_at="2020-01-01T00:00:00+00:00")
        assert refused(api.post("/events", before), 422, "no_price")

    def test_the_future(self, api: Api) -> None:
        ahead = (datetime.now(UTC) + timedelta(minutes=3)).isoformat()
        answer = api.post("/events", an_event("k1", occurred_at=ahead))
        assert refused(answer, 422, "invalid_request")
        assert answer["errors"][0]["field"] == "occurred_at"

    def test_no_idempotency_key(self, api: Api) -> None:
        answer = api.post("/events", {"event": "chat.reply", "customer": "user_42"})
        assert refused(answer, 422, "invalid_request")
        assert answer["errors"][0]["field"] == "idempotency_key"

    def test_two_idempotency_keys(self, api: Api) -> None:
        assert refused(api.post("/events", an_event("k1"), Idempotency_Key="k2"), 422, "invalid_request")

    @pytest.mark.parametrize("name", ["prompt", "messages", "content", "completion", "input", "output", "system_prompt"])
    @pytest.mark.parametrize("place", ["", "usage", "route", "outcome", "owner", "metadata"])
    def test_prompts_and_outputs_by_name(self, api: Api, name: str, place: str) -> None:
        body = an_event("k1") | ({place: {name: "Dear AI"}} if place else {name: "Dear AI"})
        answer = api.post("/events", body)
        assert refused(answer, 422, "invalid_request")
        assert name in answer["detail"]
        assert "never stored" in answer["detail"]
        assert "Dear AI" not in answer.body.decode()

    @pytest.mark.parametrize("name", ["gen_ai.prompt", "systemPrompt", "input-messages", "PROMPT"])
    def test_prompts_under_other_spellings(self, api: Api, name: str) -> None:
        assert refused(api.post("/events", an_event("k1", metadata={name: "Dear AI"})), 422, "invalid_request")

    @pytest.mark.parametrize(
        ("field", "value", "says"),
        [
            ("quantity", "1.0000001", "at most 6 decimal places"),
            ("quantity", 1.5, 'decimal number in a string, such as "1.5"'),
            ("quantity", 2, "decimal number in a string"),
            ("quantity", "1e3", "decimal number in a string"),
            ("quantity", "\u0661", "decimal number in a string"),
            ("quantity", "0", "more than zero"),
            ("quantity", "-1", "more than zero"),
            ("quantity", "100000000000000", "at most 14 digits"),
            ("provider_cost", "0.0000000000001", "at most 12 decimal places"),
            ("provider_cost", 0.25, "decimal number in a string"),
            ("occurred_at", "2026-11-20T10:00:00", "with an offset"),
            ("occurred_at", "2026-02-30T10:00:00Z", "that exists"),
            ("occurred_at", 1763632800, "ISO 8601"),
            ("metadata", {"deep": {"er": 1}}, "must be text, a number"),
            ("metadata", [], "flat JSON object"),
        ],
    )
    def test_a_wrong_value_with_what_it_must_be(self, api: Api, field: str, value: Any, says: str) -> None:
        answer = api.post("/events", an_event("k1", **{field: value}))
        assert refused(answer, 422, "invalid_request")
        assert answer["errors"][0]["field"] == field
        assert says in answer["errors"][0]["message"]

    @pytest.mark.parametrize(
        ("usage", "field"),
        [
            ({"input_tokens": 10, "cache_read_tokens": 6, "cache_write_tokens": 5}, "usage.input_tokens"),
            ({"input_tokens": 10, "cache_write_tokens": 4, "cache_write_1h_tokens": 5}, "usage.cache_write_1h_tokens"),
            ({"input_tokens": 10, "cache_write_1h_tokens": 5}, "usage.cache_write_1h_tokens"),
            ({"cache_write_1h_tokens": -1}, "usage.cache_write_1h_tokens"),
            ({"cache_write_1h_tokens": 1.0}, "usage.cache_write_1h_tokens"),
            ({"cache_write_1h_tokens": True}, "usage.cache_write_1h_tokens"),
            ({"cache_write_1h_tokens": "5"}, "usage.cache_write_1h_tokens"),
            ({"cache_write_1h_tokens": None}, "usage.cache_write_1h_tokens"),
            ({"cache_write_1h_tokens": 10**30}, "usage.cache_write_1h_tokens"),
            ({"output_tokens": 10, "reasoning_tokens": 11}, "usage.output_tokens"),
            ({"input_tokens": -1}, "usage.input_tokens"),
            ({"input_tokens": 1.0}, "usage.input_tokens"),
            ({"input_tokens": True}, "usage.input_tokens"),
        ],
    )
    def test_a_whole_that_is_less_than_its_parts_by_name(self, api: Api, usage: dict[str, Any], field: str) -> None:
        answer = api.post("/events", an_event("k1", usage=usage))
        assert refused(answer, 422, "invalid_request")
        assert [error["field"] for error in answer["errors"]] == [field]

    def test_more_one_hour_writes_than_writes_with_what_to_do(self, api: Api) -> None:
        answer = api.post("/events", an_event("k1", usage={"input_tokens": 10, "cache_write_tokens": 4, "cache_write_1h_tokens": 5}))
        assert answer["errors"][0]["message"] == "must not be more than cache_write_tokens, of which it is a part"


class TestEstimate:
    def test_answers_as_the_event_would_and_writes_nothing(self, api: Api, project: Project) -> None:
        body = an_event("", **WHOLE)
        del body["idempotency_key"]
        answer = api.post("/estimate", body)
        assert answer.status == 200
        assert set(answer.json()) == ANSWER
        figures = ("id", "credits", "balance", "available", "replayed")
        assert [answer[name] for name in figures] == [None, "8", "92", "92", False]
        assert charges(project) == 0
        assert api.get("/wallets/user_42")["balance"] == "100"

    def test_refuses_as_the_event_would(self, api: Api) -> None:
        assert refused(api.post("/estimate", an_event("k1", quantity="26")), 402, "insufficient_credits")
        assert refused(api.post("/estimate", an_event("k1", customer="nobody")), 404, "unknown_customer")
