"""`/holds`: authorise an action that is still running, settle it when its stream ends."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Router

from billing.api import answers
from billing.api.auth import KeyAuth, caller_of
from billing.api.common import answers as declared
from billing.api.common import call_of, idempotency_key, read_id, respond, respond_once
from billing.api.event_schemas import CaptureIn
from billing.api.events import count_answer, to_event
from billing.api.wallet_schemas import CapturedOut, ExtendIn, HoldIn, HoldOut
from billing.errors import InvalidRequest, RefusedEvent, UnknownHold
from billing.events import Capture, Refused
from billing.models import Operation, Scope
from billing.services import charging, customers, holds

router = Router(tags=["Holds"])


@router.post(
    "/holds",
    auth=KeyAuth(Scope.METER),
    response=declared(
        {200: HoldOut, 201: HoldOut},
        "insufficient_credits",
        "wallet_frozen",
        "unknown_customer",
        "unknown_event_type",
        "no_price",
        "idempotency_mismatch",
        "budget_exceeded",
    ),
    summary="Set credits aside",
)
def place(request: HttpRequest, body: HoldIn) -> HttpResponse:
    """The credits count as held until the hold is captured, released, or its time is over."""
    if body.quantity is not None and body.credits is not None:
        raise InvalidRequest("credits", "and quantity cannot be given together")
    caller = caller_of(request)
    placed = holds.place(
        caller=caller,
        customer=customers.get(caller=caller, external_id=body.customer),
        event=body.event,
        quantity=body.quantity,
        credits=body.credits,
        expires_in=body.expires_in,
        now=timezone.now(),
        call=call_of(request, Operation.HOLD, caller.project_id, body, caller.environment),
        request_id=request.META["REQUEST_ID"],
    )
    hold = holds.get(caller=caller, hold_id=placed.hold.pk)
    answer = answers.hold(hold, available=placed.available, expires_at=hold.first_expires_at, status="open")
    return respond_once(answer, is_replayed=placed.replayed)


@router.post(
    "/holds/{hold_id}/capture",
    auth=KeyAuth(Scope.METER),
    response=declared(
        {200: CapturedOut, 201: CapturedOut},
        "insufficient_credits",
        "wallet_frozen",
        "unknown_hold",
        "hold_ended",
        "no_price",
        "idempotency_mismatch",
        "budget_exceeded",
    ),
    summary="Settle a hold with the event that it was placed for",
)
def capture(request: HttpRequest, hold_id: str, body: CaptureIn) -> HttpResponse:
    """Charges what the action cost, gives the rest of the hold back, and answers as `POST /events`, with the hold."""
    caller = caller_of(request)
    key = idempotency_key(request, body.idempotency_key)
    hold = holds.get(caller=caller, hold_id=read_id("hold", hold_id, UnknownHold))
    claim = Capture(hold.pk, body.overage)
    event = to_event(request, caller, body, key, capture=claim)
    result = holds.capture(event=event, customer=hold.wallet.customer.external_id, now=timezone.now())
    count_answer(result)
    if result is charging.STALE_KEY:
        raise RefusedEvent(Refused("in_progress", "The API key is being changed. Send the same call again."))
    if isinstance(result, Refused):
        raise RefusedEvent(result)
    captured = holds.get(caller=caller, hold_id=hold.pk)
    return respond_once(answers.event(result) | {"hold": answers.hold(captured)}, is_replayed=result.replayed)


@router.post(
    "/holds/{hold_id}/release",
    auth=KeyAuth(Scope.METER),
    response=declared({200: HoldOut}, "unknown_hold", "hold_ended"),
    summary="Give a hold's credits back",
)
def release(request: HttpRequest, hold_id: str) -> HttpResponse:
    """Releasing again changes nothing."""
    number = read_id("hold", hold_id, UnknownHold)
    return respond(answers.hold(holds.release(caller=caller_of(request), hold_id=number, now=timezone.now())))


@router.post(
    "/holds/{hold_id}/extend",
    auth=KeyAuth(Scope.METER),
    response=declared({200: HoldOut}, "unknown_hold", "hold_ended"),
    summary="Let a hold last longer",
)
def extend(request: HttpRequest, hold_id: str, body: ExtendIn) -> HttpResponse:
    """Until `expires_in` seconds from now; a hold is never shortened."""
    number = read_id("hold", hold_id, UnknownHold)
    hold = holds.extend(caller=caller_of(request), hold_id=number, expires_in=body.expires_in, now=timezone.now())
    return respond(answers.hold(hold))
