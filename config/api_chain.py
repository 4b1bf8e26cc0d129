"""The API's own short road through Django.

A metering call needs no session, no CSRF cookie, no message framework and no template; the middleware that the admin
needs would halve its speed. So calls below `/api/`, and the probes, leave the chain at its first link, which also sees to
what the rest would have done: the request id, a limit on bodies, security headers, and problem responses where Django has
its HTML pages. Probes come this way because they call the machine by its address, which `ALLOWED_HOSTS` need not name, and
Stripe's events because a signature vouches for them, not a cookie.
"""

from collections.abc import Callable
from contextlib import suppress

from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.urls import resolve

from config.base import problem

_CHUNK_BYTES = 65_536
_DRAINED_CHUNKS = 256
_BESIDE_THE_API = frozenset({"/healthz", "/readyz", "/metrics", "/stripe/webhook"})
# Nothing in an answer may run or be framed. The docs page loads scripts and styles of our own static files and talks to
# this API only; its script writes style attributes and has images inside its style sheet.
_CSP = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": _CSP,
}
_DOCS_CSP = f"{_CSP}; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"


def short_road(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: answer API calls, probes and Stripe here, hand everything else on."""

    def middleware(request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if not (path.startswith("/api/") or path in _BESIDE_THE_API or path == "/api"):
            return get_response(request)
        return with_headers(_answer(request))

    return middleware


def with_headers(response: HttpResponse) -> HttpResponse:
    """Say what every answer of the API says."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    if response.headers["Content-Type"].startswith("text/html"):
        response.headers["Content-Security-Policy"] = _DOCS_CSP
    response.headers["Content-Length"] = str(len(response.content))
    return response


def _answer(request: HttpRequest) -> HttpResponse:
    from config import api

    if refused := refuse_body(request):
        return refused
    try:
        match = resolve(request.path_info)
        response: HttpResponse = match.func(request, *match.args, **match.kwargs)
    except Http404:
        return api.not_found(request)
    except Exception as error:  # noqa: BLE001 - Django's own page for it is HTML
        handled: HttpResponse = api.api.on_exception(request, error)
        return handled
    if response.status_code == 405:
        allowed = response.headers.get("Allow", "")
        return problem.respond(
            request,
            code="method_not_allowed",
            status=405,
            detail=f"{request.method} is not a method of {request.path}. Use {allowed}.",
            headers={"Allow": allowed},
        )
    return response


def refuse_body(request: HttpRequest) -> HttpResponse | None:
    """Look at what the headers say of the body before anything reads it."""
    from config import api

    length = request.META.get("CONTENT_LENGTH") or ""
    if length.isdecimal() and int(length[:20]) > api.MAX_BODY_BYTES:
        _drain(request)
        return api.refuse_too_large(request)
    if request.method in {"GET", "HEAD"}:
        return None
    if not length and request.META.get("HTTP_TRANSFER_ENCODING"):
        detail = "The body came without Content-Length. Send it in one piece, not chunked."
        return problem.respond(request, code="length_required", status=411, detail=detail)
    given = request.META.get("CONTENT_TYPE") or ""
    if given and length not in {"", "0"} and not _is_json(given):
        detail = "The body must be JSON in UTF-8: send it with Content-Type: application/json."
        return problem.respond(request, code="unsupported_media_type", status=415, detail=detail)
    return None


def _drain(request: HttpRequest) -> None:
    """Read past a body that is refused, up to a point: a caller that is still sending would see a broken pipe, not the answer."""
    with suppress(UnreadablePostError):
        for _ in range(_DRAINED_CHUNKS):
            if not request.read(_CHUNK_BYTES):
                return


def _is_json(content_type: str) -> bool:
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    return kind == "application/json" and all(p in {"", "charset=utf-8", 'charset="utf-8"'} for p in parameters)
