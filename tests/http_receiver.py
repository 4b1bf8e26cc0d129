"""A receiver of webhooks on the loopback: it speaks as much HTTP as a sender needs, and can be hurt."""

import socketserver
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import NamedTuple, Self

TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Call(NamedTuple):
    """What arrived. Names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


def answering(status: int, body: str = "", *headers: str) -> bytes:
    """Write an answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body.encode())}", *headers]
    return "\r\n".join([*lines, "", body]).encode()


class _Talk(socketserver.StreamRequestHandler):
    timeout = 20
    server: "_Server"

    def handle(self) -> None:
        self.server.desk.on_connection()
        path = self.rfile.readline().decode().split()[1]
        headers = {}
        while (line := self.rfile.readline().decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        call = Call(path, headers, self.rfile.read(int(headers.get("content-length", 0))))
        self.server.desk.calls.append(call)
        for part in self.server.desk.answer(call):
            self.wfile.write(part)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    desk: "Receiver"

    def handle_error(self, request: object, client_address: object) -> None:
        """Senders are killed here on purpose."""


class Receiver:
    """Runs while it is entered, each time on the same port; `calls` keeps what arrived, `answer` says what goes back, in parts."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answer: Callable[[Call], Iterable[bytes]] = lambda _call: [TAKEN]
        self.on_connection: Callable[[], object] = lambda: None
        self.port = 0

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", self.port), _Talk)
        self._server.desk = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alerts?secret=T0P"
