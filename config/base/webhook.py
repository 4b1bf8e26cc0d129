"""Calling receivers of others: one POST, with an end to every wait, and nothing of ours in what goes wrong.

Redirects are not followed, no proxy and no netrc is asked. Plain http only to this machine, or with DEBUG.
"""

import base64
import hashlib
import hmac
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from config.base.outbox import Away, NotTaken

# Seconds for each wait, and for all of them together: a receiver that sends a byte at a time ends as well.
ANSWER_SECONDS: Final = 5.0
ALTOGETHER_SECONDS: Final = 10.0
MAX_SAID: Final = 200
_PLAIN: Final = re.compile(r"[!-~]{1,500}")


def check_url(url: str) -> SplitResult:
    """Return the parts of an address that may be called. Raises ValueError, which says what it must be."""
    parts = _parts(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address such as https://hooks.example.com/alerts")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not name a user or password: calls are signed instead")
    if parts.scheme == "http" and not (settings.DEBUG or _is_loopback(parts.hostname)):
        raise ValueError("must begin with https://, unless it is on this machine")
    return parts


def _parts(url: str) -> SplitResult | None:
    if not _PLAIN.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        has_port = parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return None
    return parts if has_port else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def signature(*, secret: str, identity: str, timestamp: str, body: bytes) -> str:
    """Sign a call as Standard Webhooks say: HMAC-SHA256 over `id.timestamp.body`, under a secret of the form `whsec_<base64>`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.new(key, f"{identity}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def post(url: str, *, body: bytes, headers: Mapping[str, str]) -> None:
    """Send JSON; a status of 2xx means that it was taken, whatever follows it. Raises NotTaken (4xx), Away (all else that goes wrong)."""
    try:
        parts = check_url(url)
    except ValueError as error:
        raise NotTaken(f"its address {error}") from error
    connection = _connection(parts)
    cut = threading.Timer(ALTOGETHER_SECONDS, _cut, [connection])
    cut.daemon = True
    cut.start()
    try:
        path = parts.path or "/"
        connection.request("POST", f"{path}?{parts.query}" if parts.query else path, body, {"Content-Type": "application/json", **headers})
        _judge(connection.getresponse())
    except TimeoutError as error:
        raise Away(f"no answer within {ANSWER_SECONDS:.0f} seconds") from error
    except (OSError, HTTPException, ValueError) as error:
        # The words of HTTP's own errors are the receiver's.
        why = str(error) if isinstance(error, OSError) and not isinstance(error, HTTPException) else type(error).__name__
        raise Away(f"no answer in HTTP: {_printable(why)}") from error
    finally:
        cut.cancel()
        connection.close()


def _connection(parts: SplitResult) -> HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "http":
        return HTTPConnection(host, parts.port, timeout=ANSWER_SECONDS)
    return HTTPSConnection(host, parts.port, timeout=ANSWER_SECONDS, context=ssl.create_default_context())


def _cut(connection: HTTPConnection) -> None:
    with suppress(OSError, AttributeError):  # it ended just now
        connection.sock.shutdown(socket.SHUT_RDWR)


def _judge(response: HTTPResponse) -> None:
    if 200 <= response.status < 300:
        return
    said = ""
    with suppress(OSError, HTTPException, ValueError):
        said = _printable(response.read(4 * MAX_SAID).decode(errors="replace"))
    if 300 <= response.status < 400:
        raise NotTaken(f"answered {response.status}: redirects are not followed", said)
    kind = NotTaken if 400 <= response.status < 500 and response.status != 429 else Away
    raise kind(f"answered {response.status}", said)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()[:MAX_SAID]
