"""`POST /events/batch`: up to 1,000 events, each answered by itself and in its place."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from billing.models import Project, UsageRecord, Wallet
from billing.services import keys
from tests.api.client import Answer, Api
from tests.api.conftest import an_event, charges
from tests.api.test_events import ANSWER, refused
from tests.billing.factories import a_caller, a_wallet


def without_key() -> dict[str, Any]:
    return {"event": "chat.reply", "customer": "user_42"}


class TestABatch:
    def test_answers_each_event_in_its_place(self, api: Api, project: Project) -> None:
        api.post("/events", an_event("known"))
        events = [
            an_event("k1"),
            an_event("known"),
            an_event("k2", quantity="100"),
            an_event("k3", customer="nobody"),
            an_event("known", quantity="2"),
            without_key(),
            "not an object",
            an_event("k1"),
            an_event("k4", prompt="Dear AI"),
        ]
        answer = api.post("/events/batch", {"events": events}, X_Request_ID="batch-1")
        assert answer.status == 200
        results = answer["results"]
        assert [result["status"] for result in results] == ["created", "duplicate", *["rejected"] * 5, "duplicate", "rejected"]
        problems = [result["problem"] for result in results if result["status"] == "rejected"]
        assert [(problem["status"], problem["code"]) for problem in problems] == [
            (402, "insufficient_credits"),
            (404, "unknown_customer"),
            (422, "idempotency_mismatch"),
            (422, "invalid_request"),
            (422, "invalid_request"),
            (422, "invalid_request"),
        ]
        assert {problem["request_id"] for problem in problems} == {"batch-1"}
        assert problems[0]["needed"] == "400"
        assert problems[3]["errors"][0]["field"] == "idempotency_key"
        assert set(results[0]["event"]) == ANSWER
        assert results[7]["event"] == results[0]["event"] | {"replayed": True}
        assert charges(project) == 2

    def test_may_be_sent_again_as_a_whole(self, api: Api, project: Project) -> None:
        events = {"events": [an_event(f"k{number}") for number in range(20)]}
        first, again = api.post("/events/batch", events), api.post("/events/batch", events)
        assert {result["status"] for result in first["results"]} == {"created"}
        assert {result["status"] for result in again["results"]} == {"duplicate"}
        assert [r["event"] | {"replayed": True} for r in first["results"]] == [r["event"] for r in again["results"]]
        assert (charges(project), api.get("/wallets/user_42")["balance"]) == (20, "20")

    def test_spends_what_there_is_and_not_more(self, api: Api, project: Project) -> None:
        answer = api.post("/events/batch", {"events": [an_event(f"k{number}") for number in range(30)]})
        assert [result["status"] for result in answer["results"]] == ["created"] * 25 + ["rejected"] * 5
        assert (charges(project), api.get("/wallets/user_42")["balance"]) == (25, "0")

    def test_holds_a_thousand_events_and_not_one_more(self, api: Api) -> None:
        def batch(size: int) -> dict[str, Any]:
            return {"events": [{"event": "chat.reply", "idempotency_key": f"k{number}"} for number in range(size)]}

        answer = api.post("/events/batch", batch(1000))
        assert (answer.status, len(answer["results"])) == (200, 1000)
        for size in (0, 1001):
            answer = api.post("/events/batch", batch(size))
            assert refused(answer, 422, "invalid_request")
            assert answer["errors"][0]["field"] == "events"

    def test_may_be_as_long_as_a_body_may_be(self, api: Api) -> None:
        """More than fits between two processes at a time: whoever waits before all is sent, waits for ever."""
        notes = {f"note-{number}": str(number) * 500 for number in range(3)}
        events = [{"event": "chat.reply", "idempotency_key": f"{number:0128}", "metadata": notes} for number in range(1000)]
        with within(60):
            answer = api.post("/events/batch", {"events": events})
        assert {result["status"] for result in answer["results"]} == {"created"}
        assert UsageRecord.objects.filter(metadata=notes).count() == 1000

    def test_that_has_begun_is_finished_though_its_key_is_revoked_under_way(self, api: Api, project: Project, wallet: Wallet) -> None:
        """Three parts: internal usage, user_42's, bob's. While the second waits for its wallet, the first stands and the key ends."""
        a_wallet(a_caller(project), "bob", credits="100", now=timezone.now())
        internal = [{"event": "chat.reply", "idempotency_key": f"i{number}"} for number in range(499)]
        events = [*internal, an_event("second"), an_event("third", customer="bob")]
        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic():
                Wallet.objects.select_for_update().get(pk=wallet.pk)
                answer = pool.submit(in_a_thread, partial(api.post, "/events/batch", {"events": events}))
                while UsageRecord.objects.filter(project=project).count() < 499:
                    assert not answer.done()
                    time.sleep(0.01)
                keys.revoke(key_id=project.api_keys.get().pk, reason="leaked", now=timezone.now())
            assert (answer.result().status, {result["status"] for result in answer.result()["results"]}) == (200, {"created"})
        assert charges(project) == 2
        assert refused(api.post("/events/batch", {"events": events}), 401, "unauthorized")


def in_a_thread(call: Callable[[], Answer]) -> Answer:
    try:
        return call()
    finally:
        connection.close()


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """End what hangs."""

    def refuse(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, refuse)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
