"""Over real sockets, against the web server that `up` starts: what an app and its attackers meet."""

import http.client
import shutil
import socket
import subprocess
from typing import Any

import pytest
from django.utils import timezone

from billing.models import Project
from billing.services import keys
from tests.api.bad_requests import Bad, corpus
from tests.api.client import Api
from tests.api.conftest import an_event, charges, counts
from tests.web_server import WebServer


class TestAnotherProcess:
    def test_refuses_a_key_in_the_call_after_it_was_revoked(self, api: Api, web: WebServer, project: Project) -> None:
        def send(key: str) -> tuple[int, Any]:
            return web.request("POST", "/api/v1/events", an_event(key), token=api.token)

        assert send("k1")[0] == 201
        assert send("k1")[1]["replayed"] is True
        keys.revoke(key_id=project.api_keys.get().pk, reason="leaked", now=timezone.now())
        status, problem = send("k2")
        assert (status, problem["code"]) == (401, "unauthorized")
        assert web.request("GET", "/api/v1/wallets/user_42", token=api.token)[0] == 401
        assert charges(project) == 1

    def test_answers_what_was_charged_here(self, api: Api, web: WebServer) -> None:
        first = api.post("/events", an_event("k1"))
        assert web.request("POST", "/api/v1/events", an_event("k1"), token=api.token) == (200, first.json() | {"replayed": True})


class TestCurl:
    def test_as_the_documentation_shows_it(self, api: Api, web: WebServer) -> None:
        curl = shutil.which("curl")
        if curl is None:
            pytest.skip("no curl on this machine")
        command = [
            *(curl, "-sS", f"{web.url}/api/v1/events", "-H", f"Authorization: Bearer {api.token}", "-H", "Content-Type: application/json"),
            *("-d", '{"event": "chat.reply", "customer": "user_42", "idempotency_key": "req_9f2"}', "-w", " %{http_code}"),
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert '"balance":"96"' in said
        assert said.endswith(" 201")
        chunked = [*command[:-2], "-H", "Transfer-Encoding: chunked", *command[-2:]]
        said = subprocess.run(chunked, capture_output=True, text=True, check=True).stdout
        assert said.endswith((" 200", " 411")), said
        bare = [part for part in command if part != "Content-Type: application/json"]
        del bare[bare.index("-d") - 1]
        said = subprocess.run(bare, capture_output=True, text=True, check=True).stdout
        assert said.endswith(" 415")
        assert "Content-Type: application/json" in said


class TestBadInput:
    def test_is_refused_and_leaves_no_trace(self, api: Api, web: WebServer) -> None:
        before = counts()
        answers = [(number, _send(web, bad)) for number, bad in enumerate(corpus(api.token, count=300)) if _can_be_sent(bad)]
        assert len(answers) > 200
        wrong = [(number, answer) for number, answer in answers if not (400 <= answer[0] < 500)]
        assert not wrong
        of_ours = [kind for _, (status, kind) in answers if kind == "application/problem+json"]
        assert len(of_ours) > 190
        assert {kind for _, (_, kind) in answers} <= {"application/problem+json", ""}  # '': refused by the server itself
        assert counts() == before
        web.wait_ready(5)

    def test_that_is_not_even_http_does_not_hurt(self, api: Api, web: WebServer) -> None:
        for junk in (b"\x00" * 100, b"GET\r\n\r\n", b"POST /api/v1/events HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"\x16\x03\x01\x02\x00"):
            with socket.create_connection(("127.0.0.1", web.port), timeout=5) as raw:
                raw.sendall(junk)
                raw.settimeout(1)
                try:
                    said = raw.recv(1000)
                except TimeoutError:
                    said = b""
                assert b" 5" not in said[:12]
        assert web.request("POST", "/api/v1/events", an_event("k1"), token=api.token)[0] == 201

    def test_that_ends_half_way_is_not_charged(self, api: Api, web: WebServer, project: Project) -> None:
        head = f"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token}\r\nContent-Type: application/json\r\n"
        body = b'{"event": "chat.reply", "customer": "user_42", "idempotency_key": "k1"}'
        with socket.create_connection(("127.0.0.1", web.port), timeout=5) as raw:
            raw.sendall(f"{head}Content-Length: {len(body) + 50}\r\n\r\n".encode() + body)
            raw.shutdown(socket.SHUT_WR)
            raw.settimeout(5)
            said = raw.recv(1000)
        assert not said.startswith(b"HTTP/1.1 2")
        assert charges(project) == 0


def _can_be_sent(bad: Bad) -> bool:
    """Whether Python's client lets it out, and the server need not wait for a body that never ends."""
    plain = all(value.isprintable() and value.isascii() for value in bad.headers.values())
    return plain and bad.length is None and bad.path.isascii() and bad.path.isprintable() and " " not in bad.path


def _send(web: WebServer, bad: Bad) -> tuple[int, str]:
    site = http.client.HTTPConnection("127.0.0.1", web.port, timeout=10)
    try:
        site.request(bad.method, f"/api/v1{bad.path}", bad.body or None, bad.headers)
        answer = site.getresponse()
        answer.read()
        return answer.status, answer.headers.get("Content-Type", "")
    finally:
        site.close()
