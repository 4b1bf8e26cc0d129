"""`/events`, `/estimate`: report product actions and have them charged.

The road of a call: `KeyAuth` finds the caller, the body is validated into an `Event`, `coalescing.charge_one` waits for
the commit that carries it, `answers.event` writes what was decided. A batch takes the same road without the queue.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Router
from pydantic import Field, ValidationError
from pydantic_core import to_json

from billing.api import answers, problems
from billing.api.auth import KeyAuth, bearer, caller_of
from billing.api.common import answers as declared
from billing.api.common import call_of, idempotency_key, read_id, respond, respond_once
from billing.api.event_schemas import ActionIn, BatchIn, BatchOut, Body, EstimateOut, EventIn, EventOut, example
from billing.api.fields import Credits, Id, Text500
from billing.api.validation import field_errors
from billing.api.wallet_schemas import RefundOut
from billing.errors import RefusedEvent, UnknownEvent
from billing.events import Caller, Capture, Charged, Event, Outcome, Owner, Refused, Result, Route, body_hash, facts
from billing.models import Operation, Scope
from billing.services import charging, coalescing, keys, refunds
from billing.services.metrics import EVENTS
from config.base.http import client_address

router = Router(tags=["Metering"])

_CHARGE_CODES = (
    "insufficient_credits",
    "wallet_frozen",
    "unknown_customer",
    "unknown_event_type",
    "no_price",
    "idempotency_mismatch",
    "invalid_request",
    "in_progress",
    "budget_exceeded",
    "rate_limited",
)


@router.post(
    "/events",
    auth=KeyAuth(Scope.METER, is_checked_later=True),
    response=declared({200: EventOut, 201: EventOut}, *_CHARGE_CODES),
    summary="Meter one event: price, charge, record, answer",
)
def meter(request: HttpRequest, body: EventIn) -> HttpResponse:
    """Safe to send again for ever: the same key with the same body answers 200 with the original answer."""
    charged = meter_one(request, body)
    return respond_once(answers.event(charged), is_replayed=charged.replayed)


def meter_one(request: HttpRequest, body: EventIn) -> Charged:
    """Charge the event. Raises RefusedEvent."""
    key = idempotency_key(request, body.idempotency_key)
    result = charge_as(request, lambda caller: to_event(request, caller, body, key))
    if isinstance(result, Refused):
        raise RefusedEvent(result)
    return result


@router.post(
    "/events/batch",
    auth=KeyAuth(Scope.METER),
    response=declared({200: BatchOut}, "rate_limited"),
    summary="Meter up to 1,000 events",
)
def meter_batch(request: HttpRequest, body: BatchIn) -> HttpResponse:
    """Results come in input order. Sending a whole batch again is always safe: what was charged comes back as duplicate."""
    request_id = request.META["REQUEST_ID"]
    results: list[Result | None] = [None] * len(body.events)
    bodies: list[tuple[int, EventIn]] = []
    for position, item in enumerate(body.events):
        parsed = _parse(item)
        if isinstance(parsed, Refused):
            results[position] = parsed
        else:
            bodies.append((position, parsed))

    # The key was asked for afresh: a part that stands could not be told if a later one asked again and were refused.
    caller = replace(caller_of(request), generation=None)
    events = [to_event(request, caller, item, item.idempotency_key or "") for _, item in bodies]
    for (position, _), result in zip(bodies, charging.charge_batch(events, now=timezone.now()), strict=True):
        results[position] = result
    for code, count in Counter(_outcome(result) for result in results).items():
        EVENTS.labels(code).inc(count)
    return respond({"results": [_result(result, request_id) for result in results if result is not None]})


@router.post(
    "/estimate",
    auth=KeyAuth(Scope.METER),
    response=declared({200: EstimateOut}, *_CHARGE_CODES),
    summary="The same answer, nothing written",
)
def estimate(request: HttpRequest, body: EventIn) -> HttpResponse:
    """What `POST /events` would answer now; `id` is null and no idempotency key is needed."""
    result = charging.estimate(to_event(request, caller_of(request), body, ""), now=timezone.now())
    if isinstance(result, Refused):
        raise RefusedEvent(result)
    return respond(answers.event(result) | {"id": None})


class RefundIn(Body):
    """How much to give back, and why."""

    model_config = example(idempotency_key="refund_9f2", credits="1.5", reason="The answer was cut off")

    idempotency_key: Id | None = Field(None, description="Required here or as header `Idempotency-Key`.")
    credits: Credits | None = Field(None, description="Default: what is left of the charge.")
    reason: Text500 = ""


@router.post(
    "/events/{event_id}/refund",
    auth=KeyAuth(Scope.METER),
    response=declared({200: RefundOut, 201: RefundOut}, "unknown_event", "refund_exceeds_charge", "idempotency_mismatch"),
    summary="Refund an event, whole or in part",
)
def refund(request: HttpRequest, event_id: str, body: RefundIn) -> HttpResponse:
    """Credits go back to the lots that they came from."""
    caller = caller_of(request)
    posted = refunds.refund_event(
        caller=caller,
        record_id=read_id("evt", event_id, UnknownEvent),
        credits=body.credits,
        reason=body.reason,
        now=timezone.now(),
        call=call_of(request, Operation.REFUND, caller.project_id, body, event_id),
        request_id=request.META["REQUEST_ID"],
    )
    return respond_once(answers.posted(posted), is_replayed=posted.replayed)


def to_event(request: HttpRequest, caller: Caller, body: ActionIn, key: str, *, capture: Capture | None = None) -> Event:
    """Return the event that a validated body reports."""
    said: dict[str, Any] = {
        "event": body.event,
        "customer": getattr(body, "customer", None),
        "quantity": body.quantity,
        "occurred_at": body.occurred_at,
        "usage": body.usage.as_usage() if body.usage else None,
        "route": Route(**body.route.__dict__),
        "outcome": Outcome(**body.outcome.__dict__),
        "owner": Owner(**body.owner.__dict__),
        "provider_cost": body.provider_cost,
        "trace_id": body.trace_id,
        "metadata": body.metadata,
        "capture": capture,
    }
    # Keys are unique per project: the same one from another environment is another call, not a retry of this one.
    hashed = body_hash(f"event {caller.environment}", to_json(facts(said)))
    return Event(caller=caller, idempotency_key=key, body_hash=hashed, request_id=request.META["REQUEST_ID"], **said)


def charge_as(request: HttpRequest, event: Callable[[Caller], Event]) -> Result:
    """Charge what `event` makes of the caller; a key that changed under way is asked for again, once."""
    result = coalescing.charge_one(event(caller_of(request)))
    if result is charging.STALE_KEY:
        result = coalescing.charge_one(event(_authenticate_again(request)))
    count_answer(result)
    return result


def count_answer(result: Result) -> None:
    """Let `/metrics` tell of an event that was answered by itself."""
    EVENTS.labels(_outcome(result)).inc()


def _authenticate_again(request: HttpRequest) -> Caller:
    caller = keys.authenticate_afresh(token=bearer(request), address=client_address(request), now=timezone.now())
    if Scope.METER not in caller.scopes:
        raise keys.Forbidden("This key no longer has the scope meter.")
    return caller


def _parse(item: Any) -> EventIn | Refused:
    try:
        body = EventIn.model_validate(item)
    except ValidationError as error:
        errors = field_errors(error.errors())
        return Refused("invalid_request", errors[0]["field"] + " " + errors[0]["message"] + ".", {"errors": errors})
    if not body.idempotency_key:
        message = "is required for each event of a batch"
        return Refused("invalid_request", f"idempotency_key {message}.", {"errors": [{"field": "idempotency_key", "message": message}]})
    return body


def _outcome(result: Result | None) -> str:
    return result.code if isinstance(result, Refused) else "charged"


def _result(result: Result, request_id: str) -> dict[str, Any]:
    if isinstance(result, Charged):
        return {"status": "duplicate" if result.replayed else "created", "event": answers.event(result)}
    return {"status": "rejected", "problem": problems.of(result, request_id=request_id)}
