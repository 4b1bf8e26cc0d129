"""A mail server of our own on the loopback: it speaks as much SMTP as a sender needs, and can be hurt."""

import socketserver
import threading
from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from types import TracebackType
from typing import Self


class _Talk(socketserver.StreamRequestHandler):
    """One connection of a sender."""

    timeout = 20
    server: "_Server"

    def handle(self) -> None:
        self._say("220 tests")
        while line := self.rfile.readline():
            word = line[:4].upper().strip()
            self.server.desk.on_word(word.decode())
            if word == b"DATA":
                self._say("354 go on")
                self.server.desk.take(self._body())
                self._say("250 taken")
            else:
                self._say("221 bye" if word == b"QUIT" else "250 fine")
            if word == b"QUIT":
                return

    def _body(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in {b".\r\n", b""}:
            lines.append(line)
        return b"".join(lines)

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    desk: "MailServer"

    def handle_error(self, request: object, client_address: object) -> None:
        """Senders are killed here on purpose."""


class MailServer:
    """Runs while it is entered, each time on the same port; `mails` keeps what it took."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.on_word: Callable[[str], object] = lambda _word: None
        self.on_mail: Callable[[], object] = lambda: None
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
        return f"smtp+plain://127.0.0.1:{self.port}"

    def take(self, body: bytes) -> None:
        """Take a mail, and only then say so."""
        self.mails.append(message_from_bytes(body))
        self.on_mail()
