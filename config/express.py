"""The short cut of the one call that must be fast: `POST /api/v1/events`.

It takes the steps that every call takes, with the same code: limits of the body, the key, the strict reader, the schema, the
view, the refusals, the headers. What it leaves out is what this call does not need and what costs more than the charge
itself: resolving the address, Django's middleware and signals, Ninja's parameters. A test holds both roads to the same
answers; the documentation and every other call know only the long one.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from django.core.handlers.wsgi import WSGIRequest
from django.db import connection
from django.http import HttpResponse
from pydantic_core import to_json

from billing.api import answers, events
from billing.api.auth import KeyAuth
from billing.api.event_schemas import EventIn
from billing.events import Charged
from billing.models import Scope
from config.api import api
from config.api_chain import HEADERS, refuse_body, with_headers
from config.base.http import identify

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

PATH: Final = "/api/v1/events"
_may_meter = KeyAuth(Scope.METER, is_checked_later=True)


def with_express(django: Application) -> Application:
    """Send the one call the short way and everything else to Django."""

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH or environ["REQUEST_METHOD"] != "POST":
            return django(environ, start_response)
        request = WSGIRequest(environ)
        identity = identify(request)
        answer = _answer(request)
        if isinstance(answer, Charged):
            content = to_json(answers.event(answer))
            start_response(*_head(answer, content, identity))
            return [content]
        response = with_headers(answer)
        response.headers["X-Request-ID"] = identity
        start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
        return [response.content]

    return application


def _head(charged: Charged, content: bytes, identity: str) -> tuple[str, list[tuple[str, str]]]:
    """What `respond_once` and `with_headers` say, without a response object in between."""
    status, replayed = ("200 OK", [("Idempotent-Replayed", "true")]) if charged.replayed else ("201 Created", [])
    length = ("Content-Length", str(len(content)))
    return status, [("Content-Type", "application/json"), *HEADERS.items(), length, ("X-Request-ID", identity), *replayed]


def _answer(request: WSGIRequest) -> Charged | HttpResponse:
    # What Django's signals do between requests: a connection of this thread that broke is replaced.
    connection.close_if_unusable_or_obsolete()
    if refused := refuse_body(request):
        return refused
    try:
        request.auth = _may_meter(request)  # type: ignore[attr-defined]  # where Ninja puts it
        body = EventIn.model_validate(api.parser.parse_body(request) if request.body else {})
        return events.meter_one(request, body)
    except Exception as error:  # noqa: BLE001 - the one table of failures knows each of them
        handled: HttpResponse = api.on_exception(request, error)
        return handled
