"""Whatever goes wrong is told as a problem, never as a page."""

from collections.abc import Iterator

import pytest
from django.db import connections

from tests.api.client import Answer, Api, call
from tests.api.conftest import an_event
from tests.api.test_events import refused
from tests.api.test_holds import place


class TestAnAddress:
    @pytest.mark.parametrize(
        "path", ["/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/events", "/nothing", "/events/", "/wallets/a/b", "/%00", "/é"]
    )
    def test_that_leads_nowhere(self, api: Api, path: str) -> None:
        assert refused(api.get(path.encode().decode("latin-1")), 404, "not_found")

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("GET", "/events", "POST"),
            ("DELETE", "/customers/ada", "GET, PUT"),
            ("PATCH", "/wallets/ada", "GET"),
            ("BREW", "/runs/r", "PUT"),
        ],
    )
    def test_that_knows_other_methods(self, api: Api, method: str, path: str, allowed: str) -> None:
        answer = api.send(method, path, body={} if method != "GET" else None)
        assert refused(answer, 405, "method_not_allowed")
        assert sorted(answer.headers["Allow"].split(", ")) == allowed.split(", ")

    @pytest.mark.parametrize(
        "path", ["/customers/..", "/customers/%2e%2e", "/customers/a%2Fb", "/wallets/..%2F..%2Fetc", "/../../etc/passwd"]
    )
    def test_that_climbs(self, api: Api, path: str) -> None:
        assert api.get(path).status == 404
        assert api.get(path).is_problem


class TestABody:
    @pytest.mark.parametrize(
        ("body", "says"),
        [
            (b"{", "line 1, column 2"),
            (b'{"event": "chat.reply", "event": "chat.reply"}', "'event' is there more than once"),
            (b'{"metadata": {"a": 1, "a": 2}}', "'a' is there more than once"),
            (b'{"quantity": NaN}', "NaN is not a JSON number"),
            (b'{"quantity": -Infinity}', "-Infinity is not a JSON number"),
            (b'{"quantity": ' + b"9" * 5000 + b"}", "too many digits"),
            (b"\xff\xfe{\x00}\x00", "not UTF-8"),
            ("{}".encode("utf-16"), "not UTF-8"),
            (b'{"event": "\xc3"}', "not UTF-8"),
            (b"[" * 100_000, "nested too deeply"),
            (b"\xef\xbb\xbf{}", "BOM"),
        ],
    )
    def test_that_is_not_json(self, api: Api, body: bytes, says: str) -> None:
        answer = api.post("/events", body)
        assert refused(answer, 400, "malformed_body")
        assert says in answer["detail"]

    @pytest.mark.parametrize("body", [b"null", b"[]", b'"text"', b"7", b"true", b""])
    def test_that_is_no_object(self, api: Api, body: bytes) -> None:
        for path in ("/events", "/events/batch", "/holds", "/wallets/user_42/deposit"):
            assert refused(api.post(path, body), 422, "invalid_request")

    def test_that_is_too_large(self, api: Api) -> None:
        assert refused(api.post("/events/batch", b" " * 2_000_001), 413, "too_large")
        answer = call("POST", "/api/v1/events", b"{}", {"Authorization": f"Bearer {api.token}"}, length=10**30)
        assert refused(answer, 413, "too_large")

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "multipart/form-data; boundary=x"]
    )
    def test_of_another_kind(self, api: Api, kind: str) -> None:
        assert refused(api.post("/events", an_event("k1"), Content_Type=kind), 415, "unsupported_media_type")

    @pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8", ""])
    def test_of_the_right_kind(self, api: Api, kind: str) -> None:
        assert api.post("/events", an_event("k1"), Content_Type=kind).status == 201

    def test_that_is_cut_off(self, api: Api) -> None:
        headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"}
        assert refused(call("POST", "/api/v1/events", b'{"event": "chat', headers, length=500), 400, "malformed_body")

    def test_in_chunks_without_a_length(self, api: Api) -> None:
        assert refused(api.post("/events", an_event("k1"), Content_Length="", Transfer_Encoding="chunked"), 411, "length_required")


class TestEveryAnswer:
    def test_carries_the_request_id(self, api: Api) -> None:
        for path, given in (("/wallets/user_42", 200), ("/nothing", 404), ("/wallets/nobody", 404), ("/healthz", 200)):
            answer = api.get(path, X_Request_ID="mine-1")
            assert (answer.status, answer.headers["X-Request-ID"]) == (given, "mine-1")
        for junk in ("x" * 65, "two words", "é", "a\x00b", ""):
            assert api.get("/wallets/user_42", X_Request_ID=junk).headers["X-Request-ID"].startswith("req_")

    def test_may_not_be_stored_framed_or_run(self, api: Api) -> None:
        for path in ("/wallets/user_42", "/nothing", "/healthz", "/api/v1/docs", "/api/v1/openapi.json"):
            headers = api.get(path).headers
            assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
            assert headers["Content-Security-Policy"].startswith("default-src 'none'; frame-ancestors 'none'")

    def test_writes_its_length(self, api: Api) -> None:
        answer = api.get("/wallets/user_42")
        assert int(answer.headers["Content-Length"]) == len(answer.body)


@pytest.fixture
def no_database(committed_db: None) -> Iterator[None]:
    """Point this process's connection at a place where no PostgreSQL is."""
    connection = connections["default"]
    options = connection.settings_dict
    original = dict(options)
    connection.close()
    options["HOST"], options["PORT"] = "/nowhere", "1"
    yield
    options.update(original)
    connection.close()


class TestWithoutTheDatabase:
    def test_every_call_says_when_to_come_back(self, api: Api, no_database: None) -> None:
        for answer in self._calls(api):
            assert refused(answer, 503, "unavailable")
            assert answer.headers["Retry-After"] == "1"

    def test_the_process_lives_and_is_not_ready(self, api: Api, no_database: None) -> None:
        assert api.get("/healthz").status == 200
        answer = api.get("/readyz")
        assert (answer.status, answer["checks"]["database"]) == (503, "away")

    def _calls(self, api: Api) -> list[Answer]:
        return [
            api.post("/events", an_event("k1")),
            api.post("/events/batch", {"events": [an_event("k1")]}),
            api.post("/estimate", an_event("k1")),
            place(api),
            api.get("/customers"),
            api.get("/wallets/user_42"),
            api.put("/runs/run_1", {}),
        ]
