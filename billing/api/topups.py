"""`/topups`: a page of Stripe's where a customer buys a credit pack, or credits for an amount."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Router

from billing.api import answers
from billing.api.auth import KeyAuth, caller_of
from billing.api.common import answers as declared
from billing.api.common import call_of, read_id, respond, respond_once
from billing.api.topup_schemas import TopUpIn, TopUpOut
from billing.errors import UnknownTopUp
from billing.models import Operation, Scope, TopUpChannel, TopUpStatus
from billing.services import customers, topup_orders, topups
from billing.services.topup_orders import Order, Wanted

router = Router(tags=["Top-ups"])


@router.post(
    "/topups",
    auth=KeyAuth(Scope.TOPUPS),
    response=declared(
        {200: TopUpOut, 201: TopUpOut},
        "unknown_customer",
        "unknown_pack",
        "pack_not_on_sale",
        "idempotency_mismatch",
        "stripe_refused",
        "stripe_not_set_up",
        "stripe_unavailable",
    ),
    summary="Sell credits through Stripe",
)
def order(request: HttpRequest, body: TopUpIn) -> HttpResponse:
    """Answers with the page where the buyer pays. The credits arrive when Stripe says that they were paid.

    A repeated call gets the same page, with the status that it had then; `GET /topups/{id}` tells how it is now. After a 503
    the same call goes on with the same order. For payments that were taken elsewhere there is `POST /wallets/{customer}/deposit`.
    """
    caller = caller_of(request)
    ordered = topup_orders.order(
        Order(
            customer=customers.get(caller=caller, external_id=body.customer),
            wanted=Wanted(body.pack or "", body.amount, body.currency or ""),
            channel=TopUpChannel.API,
            actor=caller.actor,
            success_url=body.success_url,
            cancel_url=body.cancel_url or "",
            request_id=request.META["REQUEST_ID"],
        ),
        now=timezone.now(),
        call=call_of(request, Operation.TOPUP, caller.project_id, body, caller.environment),
    )
    return respond_once(answers.topup(ordered.topup, status=TopUpStatus.OPEN), is_replayed=ordered.replayed)


@router.get("/topups/{topup_id}", auth=KeyAuth(Scope.TOPUPS), response=declared({200: TopUpOut}, "unknown_topup"), summary="A top-up")
def get(request: HttpRequest, topup_id: str) -> HttpResponse:
    """How an order stands now. When the buyer comes back from Stripe, ask here before promising credits."""
    return respond(answers.topup(topups.get(caller=caller_of(request), topup_id=read_id("topup", topup_id, UnknownTopUp))))
