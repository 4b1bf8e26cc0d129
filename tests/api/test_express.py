"""The short cut of the metering call answers as the long road does."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.api import client
from tests.api.client import Answer, Api

VARIES = {"id", "balance", "available", "occurred_at", "recorded_at", "request_id"}
BODIES: dict[str, Any] = {
    "charged": {"event": "chat.reply", "customer": "user_42", "usage": {"model": "m", "input_tokens": 3}},
    "internal": {"event": "chat.reply"},
    "unknown customer": {"event": "chat.reply", "customer": "nobody"},
    "unknown event type": {"event": "chat.nothing", "customer": "user_42"},
    "too dear": {"event": "chat.reply", "customer": "user_42", "quantity": "1000000000"},
    "wrong field": {"event": "chat.reply", "prompt": "Hello"},
    "wrong part": {"event": "chat.reply", "usage": {"input_tokens": 1, "cache_read_tokens": 2}},
    "not an object": [1, 2],
    "no JSON": b"{",
    "not UTF-8": b"\xff",
    "a name twice": b'{"event": "a", "event": "b"}',
}


def send(api: Api, body: Any, *, road: Callable[..., Any], key: str, monkeypatch: pytest.MonkeyPatch, **headers: str) -> Answer:
    with monkeypatch.context() as patch:
        patch.setattr(client, "application", road)
        content = body if isinstance(body, bytes | list) else {**body, "idempotency_key": key}
        return api.post("/events", content, **headers)


def told(answer: Answer) -> Any:
    """What must not depend on the road."""
    body = answer.json()
    kept = {name: value for name, value in body.items() if name not in VARIES}
    headers = {name: value for name, value in answer.headers.items() if name not in {"X-Request-ID", "Content-Length", "Vary"}}
    return answer.status, json.dumps(kept, sort_keys=True), headers


@pytest.mark.parametrize("name", BODIES)
def test_both_roads_answer_alike(name: str, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = client.application, client.long_road
    answers = [
        send(api, BODIES[name], road=road, key=f"{name.replace(' ', '-')}-{road.__name__}", monkeypatch=monkeypatch)
        for road in (short, long)
    ]
    assert told(answers[0]) == told(answers[1])


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer md_live_x_y"}, {"Content_Type": "text/plain"}, {"Content_Length": "9999999"}]
)
def test_both_roads_refuse_alike(headers: dict[str, str], api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    roads = (client.application, client.long_road)
    answers = [send(api, BODIES["charged"], road=road, key="k", monkeypatch=monkeypatch, **headers) for road in roads]
    assert told(answers[0]) == told(answers[1])
    assert answers[0].status >= 400


def test_a_retry_may_take_the_other_road(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    first = send(api, BODIES["charged"], road=client.application, key="once", monkeypatch=monkeypatch)
    again = send(api, BODIES["charged"], road=client.long_road, key="once", monkeypatch=monkeypatch)
    assert (first.status, again.status) == (201, 200)
    assert {**again.json(), "replayed": False} == first.json()


@pytest.mark.parametrize("name", ["charged", "internal"])
@pytest.mark.parametrize(("retried", "status"), [({}, 200), ({"quantity": "2"}, 422)], ids=["same body", "another body"])
def test_both_roads_answer_a_retry_alike(
    name: str, retried: dict[str, str], status: int, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    roads = (client.application, client.long_road)
    send(api, BODIES[name], road=client.application, key="twice", monkeypatch=monkeypatch)
    answers = [send(api, BODIES[name] | retried, road=road, key="twice", monkeypatch=monkeypatch) for road in roads]
    assert told(answers[0]) == told(answers[1])
    assert answers[0].status == status
    if status == 200:  # with another body each call is refused under its own request id
        assert answers[0].body == answers[1].body
