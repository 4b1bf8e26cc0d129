"""`/wallets`: balances, movements and lots in product words, without cost or margin; deposits of custom rails."""

from typing import Annotated, Literal

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Path, Query, Router
from pydantic import Field

from billing.api import answers
from billing.api.auth import KeyAuth, caller_of
from billing.api.common import PageQuery, call_of, page, respond, respond_once
from billing.api.common import answers as declared
from billing.api.fields import CustomerId, Time
from billing.api.wallet_schemas import DepositIn, DepositOut, EntryPage, LotPage, WalletOut
from billing.models import EntryKind, LedgerEntry, Lot, Operation, PaymentSource, Scope
from billing.queries import wallets
from billing.services import customers, sales

router = Router(tags=["Wallets"])
Customer = Annotated[CustomerId, Path()]


@router.get("/wallets/{customer}", auth=KeyAuth(Scope.WALLETS), response=declared({200: WalletOut}, "unknown_customer"), summary="A wallet")
def get_wallet(request: HttpRequest, customer: Customer) -> HttpResponse:
    """Balance, held, available, status, whether it is low, what expires next."""
    return respond(answers.wallet(wallets.view(caller=caller_of(request), external_id=customer, now=timezone.now())))


class EntryQuery(PageQuery):
    kind: Literal["deposit", "grant", "charge", "refund", "adjustment", "withdrawal", "expiry", "transfer"] | None = None
    since: Time | None = Field(None, description="Recorded at or after.")
    until: Time | None = Field(None, description="Recorded before.")


@router.get(
    "/wallets/{customer}/entries",
    auth=KeyAuth(Scope.WALLETS),
    response=declared({200: EntryPage}, "unknown_customer"),
    summary="The wallet's movements, newest first",
)
def list_entries(request: HttpRequest, customer: Customer, query: Annotated[EntryQuery, Query()]) -> HttpResponse:
    """One row per movement in one lot; the rows of one cause share a transaction."""
    wallet = customers.get(caller=caller_of(request), external_id=customer).wallet
    rows = LedgerEntry.objects.filter(wallet=wallet).select_related("event_type")
    if query.kind:
        rows = rows.filter(kind=query.kind)
    if query.since:
        rows = rows.filter(recorded_at__gte=query.since)
    if query.until:
        rows = rows.filter(recorded_at__lt=query.until)
    return page(rows, query, answers.entry)


@router.get(
    "/wallets/{customer}/lots",
    auth=KeyAuth(Scope.WALLETS),
    response=declared({200: LotPage}, "unknown_customer"),
    summary="The wallet's lots",
)
def list_lots(request: HttpRequest, customer: Customer, query: Annotated[PageQuery, Query()]) -> HttpResponse:
    """Newest first, the used ones included."""
    wallet = customers.get(caller=caller_of(request), external_id=customer).wallet
    now = timezone.now()
    return page(Lot.objects.filter(wallet=wallet), query, lambda lot: answers.lot(lot, now=now))


@router.post(
    "/wallets/{customer}/deposit",
    auth=KeyAuth(Scope.WALLETS),
    response=declared({200: DepositOut, 201: DepositOut}, "unknown_customer", "payment_already_credited", "idempotency_mismatch"),
    summary="Deposit credits that were paid elsewhere",
)
def deposit(request: HttpRequest, customer: Customer, body: DepositIn) -> HttpResponse:
    """For payments that you took yourself, on rails of your own; what is to be paid through Stripe is ordered with `POST /topups`,
    which deposits by itself. Credited once per payment id. What the wallet owes is settled first.
    """
    caller = caller_of(request)
    wallet = customers.get(caller=caller, external_id=customer).wallet
    posted = sales.deposit(
        wallet_id=wallet.pk,
        credits=body.credits,
        amount=body.amount,
        currency=body.currency,
        source=PaymentSource.CUSTOM,
        payment_id=body.payment_id,
        actor=caller.actor,
        now=timezone.now(),
        is_promotional=body.promotional,
        expires_at=body.expires_at,
        metadata=body.metadata,
        request_id=request.META["REQUEST_ID"],
        call=call_of(request, Operation.DEPOSIT, caller.project_id, body, caller.environment, customer),
    )
    entry = next(entry for entry in posted.entries if entry.kind == EntryKind.DEPOSIT)
    answer = {
        "entry": answers.entry(entry),
        "balance": answers.number(posted.balance),
        "available": answers.number(posted.available),
        "replayed": posted.replayed,
    }
    return respond_once(answer, is_replayed=posted.replayed)
