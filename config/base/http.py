"""Requests: the id that each one carries, and the address that it came from."""

import re
import uuid
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

_SAFE_ID = re.compile(r"[!-~]{1,64}")


def request_id(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: take the caller's `X-Request-ID` when it is printable ASCII of at most 64 characters, else make one."""

    def middleware(request: HttpRequest) -> HttpResponse:
        identity = identify(request)
        response = get_response(request)
        response.headers["X-Request-ID"] = identity
        return response

    return middleware


def identify(request: HttpRequest) -> str:
    """Give the request its id and return it."""
    given = request.META.get("HTTP_X_REQUEST_ID", "")
    identity = given if _SAFE_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"
    request.META["REQUEST_ID"] = identity
    return identity


def client_address(request: HttpRequest) -> str:
    """Return the caller's IP address; `X-Forwarded-For` is believed only behind `TRUSTED_PROXIES` proxies, from the right."""
    proxies: int = settings.TRUSTED_PROXIES
    hops = [hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    if proxies and len(hops) >= proxies:
        return str(hops[-proxies])
    return str(request.META.get("REMOTE_ADDR", ""))
