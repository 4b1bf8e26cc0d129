"""An app's HTTP client that talks to the WSGI application in this process: the whole road of a call, without a socket."""

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote_to_bytes

from django.core.handlers.wsgi import WSGIHandler

from config.express import Application, with_express


@cache
def application() -> Application:
    """The application as the server runs it."""
    return with_express(long_road())


@cache
def long_road() -> WSGIHandler:
    """Django alone."""
    return WSGIHandler()


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def __getitem__(self, name: str) -> Any:
        return self.json()[name]

    @property
    def is_problem(self) -> bool:
        """Whether it refuses as every refusal must."""
        if self.headers.get("Content-Type") != "application/problem+json":
            return False
        problem = self.json()
        texts = ("type", "title", "detail", "code", "request_id")
        return (
            problem["status"] == self.status
            and all(isinstance(problem[name], str) and problem[name] for name in texts)
            and self.headers["X-Request-ID"] == problem["request_id"]
            and problem["code"] != "internal_error"
        )


@dataclass
class Api:
    """One key's view of the API. `get("/wallets/user_42")`, `post("/events", {...})`."""

    token: str
    address: str = "127.0.0.1"
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.send("POST", path, body=body, headers=headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.send("PUT", path, body=body, headers=headers)

    def send(self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send `body`: bytes as they are, anything else as JSON. Header names as in `Idempotency_Key`."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None:
            given["Content-Type"] = "application/json"
        given |= self.headers | {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        root = "" if path in {"/healthz", "/readyz", "/metrics"} or path.startswith("/api") else "/api/v1"
        return call(method, root + path, content, given, address=self.address)


def call(
    method: str, path: str, content: bytes, headers: Mapping[str, str], *, address: str = "127.0.0.1", length: int | None = None
) -> Answer:
    """Make one call as a server would: bytes as Latin-1, the path decoded."""
    route, _, query = path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(route).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": address,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(content),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(content) if length is None else length),
    }
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = value
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, response_headers: list[tuple[str, str]], _: Any = None) -> Any:
        started.append((status, response_headers))

    response: Iterable[bytes] = application()(environ, start_response)
    try:
        body = b"".join(response)
    finally:
        if hasattr(response, "close"):
            response.close()
    status, response_headers = started[0]
    return Answer(int(status.split()[0]), dict(response_headers), body)
