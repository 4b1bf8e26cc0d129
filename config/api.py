"""The API: its routers, its documentation, and how every failure becomes a problem response."""

import logging
from functools import cached_property
from typing import Any

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.db import DataError, InterfaceError, InternalError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import HttpError
from ninja.errors import ValidationError as NinjaValidationError
from pydantic import ValidationError

from billing.api import budgets, customers, events, holds, problems, runs, topups, wallets
from billing.api.media import StrictParser, UnreadableBodyError
from billing.api.validation import field_errors
from billing.services.metrics import REFUSALS
from config.base import problem
from config.base.errors import DomainError
from config.openapi import Document

log = logging.getLogger(__name__)
MAX_BODY_BYTES = 2_000_000


class MeteringAPI(NinjaAPI):
    """Ninja's API with our document, which is made once."""

    @cached_property
    def document(self) -> Document:
        """The document; its paths are the same wherever the API is mounted."""
        return Document(self, self.get_root_path({}))

    def get_openapi_schema(self, **_: Any) -> Document:
        """Return the document."""
        return self.document


api = MeteringAPI(
    title="Meterdesk metering API",
    version="1",
    description="One call prices, charges and answers with the new balance. Decimals travel as strings, times as ISO 8601 with "
    "offset, refusals as RFC 9457 problems with a stable `code`. Every call that changes something may be sent again: the same "
    "idempotency key with the same body gets the original answer.",
    urls_namespace="api",
    openapi_url="/openapi.json",
    docs_url="/docs",
    parser=StrictParser(),
)
for router in (events.router, holds.router, customers.router, wallets.router, topups.router, runs.router, budgets.router):
    api.add_router("", router)


@api.exception_handler(DomainError)
def refuse(request: HttpRequest, error: DomainError) -> HttpResponse:
    """Answer a refusal of the domain with the status that its code stands for."""
    REFUSALS.labels(error.code).inc()
    status = problems.STATUS[error.code]
    figures = dict(error.figures)
    wait = figures.pop("retry_after", 60)
    later = {"Retry-After": str(wait)} if wait else {}  # a budget that waiting does not help against
    headers = {401: {"WWW-Authenticate": "Bearer"}, 429: later, 503: later}.get(status)
    return problem.respond(request, code=error.code, status=status, detail=error.detail, figures=figures, headers=headers)


@api.exception_handler(NinjaValidationError)
def refuse_invalid(request: HttpRequest, error: NinjaValidationError) -> HttpResponse:
    """Name every field that is wrong."""
    errors = field_errors(error.errors)
    detail = f"{errors[0]['field']} {errors[0]['message']}."
    return problem.respond(request, code="invalid_request", status=422, detail=detail, figures={"errors": errors})


@api.exception_handler(ValidationError)
def refuse_invalid_body(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """The same of a body that was validated without Ninja."""
    return refuse_invalid(request, NinjaValidationError(list(error.errors())))  # type: ignore[arg-type]


@api.exception_handler(HttpError)
@api.exception_handler(UnreadableBodyError)
def refuse_unreadable(request: HttpRequest, error: Exception) -> HttpResponse:
    """A body that is not JSON; Ninja's only refusal of its own."""
    why = (isinstance(error, HttpError) and error.__cause__) or error
    if isinstance(why, UnreadablePostError):
        return refuse_broken(request, why)
    return problem.respond(request, code="malformed_body", status=400, detail=f"The body cannot be read: {why}. Send a JSON object.")


@api.exception_handler(UnreadablePostError)
def refuse_broken(request: HttpRequest, _: UnreadablePostError) -> HttpResponse:
    """The connection ended within the body."""
    return problem.respond(request, code="malformed_body", status=400, detail="The body did not arrive whole. Send the call again.")


@api.exception_handler(RequestDataTooBig)
def refuse_too_large(request: HttpRequest, _: RequestDataTooBig | None = None) -> HttpResponse:
    """Say what the limit is."""
    detail = (
        f"The body is larger than {MAX_BODY_BYTES:,} bytes. Send events in batches of at most 1,000, in smaller ones if they are large."
    )
    return problem.respond(request, code="too_large", status=413, detail=detail)


@api.exception_handler(TooManyFieldsSent)
def refuse_too_many_parameters(request: HttpRequest, _: TooManyFieldsSent) -> HttpResponse:
    """A query string of a thousand parameters, which Django does not read."""
    return problem.respond(request, code="invalid_request", status=422, detail="There are too many query parameters.")


@api.exception_handler(Http404)
def refuse_unknown(request: HttpRequest, _: Http404) -> HttpResponse:
    """Say where the addresses are listed."""
    return not_found(request)


@api.exception_handler(DataError)
def refuse_overflow(request: HttpRequest, _: DataError) -> HttpResponse:
    """Fields are bounded one by one; a sum or a product of them can still leave the books' range."""
    detail = "The result would be larger than the books can hold, 14 digits before the point. Nothing was recorded."
    return problem.respond(request, code="invalid_request", status=422, detail=detail)


@api.exception_handler(OperationalError)
@api.exception_handler(InterfaceError)
@api.exception_handler(InternalError)  # a transaction that cannot be: a primary that has become a replica
def refuse_unavailable(request: HttpRequest, error: Exception) -> HttpResponse:
    """Fail closed while the database is away or too busy: the same call may be sent again."""
    log.warning("the database did not answer: %s", error)
    return unavailable(request)


@api.exception_handler(Exception)
def refuse_unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    """Keep what went wrong in our log and out of the answer."""
    log.error("an unexpected error in %s %s", request.method, request.path, exc_info=error)
    return problem.respond(request, code="internal_error", status=500, detail="Something went wrong on our side. Send the same call again.")


def not_found(request: HttpRequest, **_: Any) -> HttpResponse:
    """Answer an address that does not exist."""
    return problem.respond(
        request, code="not_found", status=404, detail=f"There is nothing at {request.path}. See /api/v1/docs for all calls."
    )


def unavailable(request: HttpRequest) -> HttpResponse:
    """Answer while the database is away. A commit whose answer was lost is found by its idempotency key."""
    return problem.respond(
        request,
        code="unavailable",
        status=503,
        detail="The database is away or too busy. Send the same call again, with the same idempotency key: it takes effect once.",
        headers={"Retry-After": "1"},
    )
