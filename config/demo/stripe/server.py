"""The simulation over HTTP: Stripe's API under /v1, the buyers' pages under /pay, the control page and actions beside them."""

import base64
import json
import os
import socket
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from config.demo.stripe import api, control, pages
from config.demo.stripe.account import Account
from config.demo.stripe.errors import Refusal
from config.demo.stripe.webhooks import Webhooks

_MOST_BYTES = 1_000_000
_SLOW_SECONDS = 30


@dataclass(slots=True)
class Desk:
    """What all requests share: the account, its webhooks, the faults that were asked for, and the calls that came."""

    account: Account
    webhooks: Webhooks
    faults: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)


class Server(ThreadingHTTPServer):
    """Serves one account."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], desk: Desk) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, Handler)
        self.desk = desk


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = 60
    server: Server

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        """Say nothing: what was asked for is in `calls`."""

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        try:
            body = self._body()
            if parts.path.startswith("/v1/"):
                self._api(parts.path, parts.query if self.command == "GET" else body)
            elif parts.path.startswith("/simulation/do/"):
                self._control(parts.path.removeprefix("/simulation/do/"), json.loads(body or "{}"))
            else:
                self._page(parts.path, body)
        except Refusal as refusal:
            self._json(refusal.status, refusal.body)
        except ValueError as error:
            self._json(400, {"error": {"type": "invalid_request_error", "message": f"Unreadable request: {error}"}})

    def _body(self) -> str:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= _MOST_BYTES:
            raise Refusal("The request is too large.", status=413)
        return self.rfile.read(length).decode()

    def _api(self, path: str, body: str) -> None:
        desk, account = self.server.desk, self.server.desk.account
        call = api.Call(self.command, path, body, *self._access())
        with account.state.lock:
            fault = desk.faults.pop(0) if desk.faults else ""
            desk.calls.append({"method": call.method, "path": path, "key": call.idempotency_key, "params": body, "fault": fault})
            if fault in {"429", "500"}:
                error = Refusal(
                    "This fault was asked for.", status=int(fault), kind="api_error", code="rate_limit" if fault == "429" else ""
                )
                return self._json(error.status, error.body)
            answer = api.answer(account, call)
            status, said = answer.status, json.dumps(answer.body)
            if self.command == "POST":
                account.state.save()
        desk.webhooks.woken.set()
        if fault == "lost":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        if fault == "slow":
            time.sleep(_SLOW_SECONDS)
        return self._send(status, "application/json", said.encode(), {"Idempotent-Replayed": "true"} if answer.is_replay else {})

    def _access(self) -> tuple[str, str, str]:
        scheme, _, given = (self.headers.get("Authorization") or "").partition(" ")
        if scheme.lower() == "basic":
            given = base64.b64decode(given).decode().partition(":")[0]
        return given, self.headers.get("Stripe-Version") or "", self.headers.get("Idempotency-Key") or ""

    def _control(self, name: str, asked: dict[str, Any]) -> None:
        desk, state = self.server.desk, self.server.desk.account.state
        if self.headers.get("Content-Type") != "application/json" or self.command != "POST":
            raise Refusal("Actions are POSTed as JSON.", status=415)
        if name == "deliver":
            return self._json(200, desk.webhooks.deliver(is_everything_due=True))
        with state.lock:
            match name:
                case "fail":
                    desk.faults.extend([asked["how"]] * asked.get("times", 1))
                    done: Any = {}
                case "calls":
                    done = list(desk.calls)
                case "webhook":
                    desk.webhooks.url, desk.webhooks.secret, done = asked["url"], asked["secret"], {}
                case _:
                    done = control.do(desk.account, name, asked)
            if name == "forget":
                desk.faults.clear()
                desk.calls.clear()
            said = json.dumps(done)
            state.save()
        desk.webhooks.woken.set()
        return self._send(200, "application/json", said.encode())

    def _page(self, path: str, body: str) -> None:
        account = self.server.desk.account
        if self.command == "POST" and self.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            raise Refusal("Buttons work on this page only.", status=403)
        with account.state.lock:
            shown = pages.press(account, path, body) if self.command == "POST" else pages.show(account, path)
            if self.command == "POST":
                account.state.save()
        self.server.desk.webhooks.woken.set()
        if shown.goes_to:
            return self._send(303, "text/plain", b"", {"Location": shown.goes_to})
        return self._send(shown.status, "text/html; charset=utf-8", shown.html.encode(), pages.HEADERS)

    def _json(self, status: int, body: Any) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Request-Id", f"req_{os.urandom(6).hex()}")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
