"""`POST /stripe/webhook`: what Stripe meets there, and whoever pretends to be Stripe."""

import http.client
import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.models import EventState, StripeEvent
from billing.services import inbox
from tests.api.bad_requests import bad_stripe_posts
from tests.api.client import Answer, call
from tests.api.conftest import counts
from tests.api.live import database_url
from tests.billing.stripe_inbox import TEST_KEY, handled_by, noting
from tests.stripe_objects import SECRET, body_of, charge, event, signature
from tests.web_server import WebServer, free_port

PATH = "/stripe/webhook"
pytestmark = pytest.mark.usefixtures("committed_db")


@pytest.fixture(autouse=True)
def _set_up(settings: Any) -> None:
    settings.STRIPE_API_KEY, settings.STRIPE_WEBHOOK_SECRETS = TEST_KEY, [SECRET]


def headers(body: bytes, **more: str) -> dict[str, str]:
    return {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": signature(body), **more}


def post(happened: dict[str, Any]) -> Answer:
    body = body_of(happened)
    return call("POST", PATH, body, headers(body))


def refused(answer: Answer, status: int, code: str) -> bool:
    assert answer.is_problem, answer
    assert (answer.status, answer["code"]) == (status, code), answer.body
    return True


class TestAnEvent:
    def test_is_stored_in_one_statement_and_answered(self) -> None:
        happened = event("charge.updated", charge())
        with CaptureQueriesContext(connection) as asked:
            answer = post(happened)
        assert (answer.status, answer.json()) == (200, {"id": happened["id"], "duplicate": False})
        assert [query["sql"][:6] for query in asked] == ["INSERT"]
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["X-Request-ID"].startswith("req_")
        assert post(happened).json() == {"id": happened["id"], "duplicate": True}
        assert StripeEvent.objects.get(event_id=happened["id"]).state == EventState.DUE

    def test_of_any_type_and_version_is_taken(self) -> None:
        for kind, version in [("customer.created", "2019-02-19"), ("some.thing_new", None), ("v1.x", "2031-01-01.zinnia")]:
            assert post(event(kind, {"object": "thing"}, api_version=version)).status == 200

    def test_that_holds_odd_things_is_kept_as_it_came(self) -> None:
        deep: Any = []
        for _ in range(100):
            deep = [deep]
        odd = {"a": "NUL \0", "b": 10**400, "c": deep, "d": "\U0001f600\u202e", "e": "x" * 100_000, "f": 1e308}
        happened = event("charge.updated", charge(metadata=odd))
        assert post(happened).status == 200
        assert StripeEvent.objects.get(event_id=happened["id"]).object["metadata"] == odd

    def test_is_taken_under_either_secret_while_one_replaces_the_other(self, settings: Any) -> None:
        settings.STRIPE_WEBHOOK_SECRETS = ["whsec_new", SECRET]
        assert post(event("charge.updated", charge())).status == 200

    def test_waits_at_stripe_while_nothing_is_set_up(self, settings: Any) -> None:
        for name, value in [("STRIPE_WEBHOOK_SECRETS", []), ("STRIPE_API_KEY", "")]:
            was = getattr(settings, name)
            setattr(settings, name, value)
            assert refused(post(event("charge.updated", charge())), 503, "stripe_not_set_up")
            setattr(settings, name, was)

    def test_waits_at_stripe_while_the_database_is_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(*_: Any, **__: Any) -> None:
            raise OperationalError("the server closed the connection")

        monkeypatch.setattr(connection, "cursor", away)
        answer = post(event("charge.updated", charge()))
        assert refused(answer, 503, "unavailable")
        assert answer.headers["Retry-After"] == "1"


class TestWhatIsNotStripes:
    def test_is_refused_without_a_trace(self) -> None:
        body, before = body_of(event("charge.updated", charge())), counts()
        for header in ({}, {"Stripe-Signature": signature(body, secret="whsec_other")}, {"Stripe-Signature": signature(body + b" ")}):
            assert refused(call("POST", PATH, body, {"Content-Type": "application/json", **header}), 400, "invalid_signature")
        for stamp in (int(time.time()) - 400, int(time.time()) + 400):
            late = {"Content-Type": "application/json", "Stripe-Signature": signature(body, at=stamp)}
            assert refused(call("POST", PATH, body, late), 400, "invalid_signature")
        assert counts() == before

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
    def test_may_only_post(self, method: str) -> None:
        answer = call(method, PATH, b"", {})
        assert refused(answer, 405, "method_not_allowed")
        assert answer.headers["Allow"] == "POST"

    def test_is_no_more_than_half_a_megabyte(self) -> None:
        body = b" " * 600_000
        assert refused(call("POST", PATH, body, headers(body)), 413, "too_large")

    def test_never_breaks_anything(self) -> None:
        before, seen, failures = counts(), Counter[str](), []
        posts = bad_stripe_posts(event("charge.updated", charge()), _signed)
        for number, bad in enumerate(posts):
            answer = call(bad.method, bad.path, bad.body, bad.headers, length=bad.length)
            if not (400 <= answer.status < 500) or (bad.path == PATH and not answer.is_problem):
                failures.append(
                    f"{number}: {bad.method} {bad.path} {bad.headers} {bad.body[:200]!r} -> {answer.status} {answer.body[:300]!r}"
                )
            elif answer.is_problem:
                seen[answer["code"]] += 1
        assert not failures, f"{len(failures)}:\n" + "\n".join(failures[:10])
        assert seen.keys() >= {"invalid_signature", "malformed_body", "too_large", "unsupported_media_type", "method_not_allowed"}
        assert counts() == before


def _signed(body: bytes) -> str:
    import hashlib
    import hmac

    stamp = int(time.time())
    return f"t={stamp},v1={hmac.new(SECRET.encode(), f'{stamp}.'.encode() + body, hashlib.sha256).hexdigest()}"


def send(port: int, body: bytes, **more: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Post over a connection of its own."""
    site = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        site.request("POST", PATH, body, headers(body, **more))
        answer = site.getresponse()
        return answer.status, json.loads(answer.read()), dict(answer.getheaders())
    finally:
        site.close()


class TestOverHttp:
    def test_a_hundred_copies_from_eight_threads_are_one_event_that_is_handled_once(self, web: WebServer) -> None:
        body = body_of(event("tests.copied", charge()))
        answers: list[tuple[int, bool]] = []

        def copies() -> None:
            for _ in range(13):
                status, answer, _ = send(web.port, body)
                answers.append((status, answer["duplicate"]))

        threads = [threading.Thread(target=copies) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert Counter(answers) == {(200, False): 1, (200, True): 103}
        handled: list[str] = []
        with handled_by(noting(handled), "tests.copied"):
            inbox.work_off(now=timezone.now())
            inbox.work_off(now=timezone.now())
        [row] = StripeEvent.objects.filter(type="tests.copied")
        assert handled == [row.event_id]
        assert row.state == EventState.DONE

    def test_chunked_and_packed_bodies_are_refused(self, web: WebServer) -> None:
        body = body_of(event("tests.chunked", charge()))
        site = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
        site.putrequest("POST", PATH)
        for name, value in (headers(body) | {"Transfer-Encoding": "chunked"}).items():
            site.putheader(name, value)
        site.endheaders(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))  # at once: the server may refuse before all has come
        answer = site.getresponse()
        assert answer.status in {200, 411}
        site.close()
        assert send(web.port, body + b" ", **{"Content-Encoding": "gzip", "Stripe-Signature": signature(body)})[0] == 400

    def test_goes_on_while_redis_is_away(self, tmp_path: Path) -> None:
        nowhere = f"redis://127.0.0.1:{free_port()}/0"
        stripe = {"STRIPE_API_KEY": TEST_KEY, "STRIPE_WEBHOOK_SECRET": SECRET}
        with WebServer(tmp_path, database_url=database_url(), redis_url=nowhere, threads=4, env=stripe) as web:
            took = []
            for _ in range(3):
                began = time.monotonic()
                assert send(web.port, body_of(event("tests.unwoken", charge())))[0] == 200
                took.append(time.monotonic() - began)
        assert max(took) < 10, took  # Celery's own policy would hold each up for 19
        with handled_by(lambda row, now: "Found by beat.", "tests.unwoken"):
            inbox.work_off(now=timezone.now())
        assert [row.outcome for row in StripeEvent.objects.filter(type="tests.unwoken")] == ["Found by beat."] * 3
