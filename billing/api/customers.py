"""`/customers`: the people that spend credits, by the app's own pseudonymous ids."""

from typing import Annotated

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Path, Query, Router

from billing.api import answers
from billing.api.auth import KeyAuth, caller_of
from billing.api.common import PageQuery, page, respond
from billing.api.common import answers as declared
from billing.api.fields import CustomerId
from billing.api.wallet_schemas import CustomerIn, CustomerOut, CustomerPage
from billing.models import Customer, Scope
from billing.queries import wallets
from billing.services import customers
from config.base.database import snapshot

router = Router(tags=["Customers"])


@router.put(
    "/customers/{customer}",
    auth=KeyAuth(Scope.WALLETS),
    response=declared({200: CustomerOut, 201: CustomerOut}),
    summary="Create a customer with its wallet, or change it",
)
def put_customer(request: HttpRequest, customer: Annotated[CustomerId, Path()], body: CustomerIn) -> HttpResponse:
    """Answers 201 when the customer is new, else 200."""
    changes = {name: value for name, value in body.__dict__.items() if value is not None}
    now = timezone.now()
    upserted = customers.upsert(caller=caller_of(request), external_id=customer, changes=changes, now=now)
    return respond(_show(upserted.customer), status=201 if upserted.is_new else 200)


@router.get("/customers", auth=KeyAuth(Scope.WALLETS), response=declared({200: CustomerPage}), summary="List customers, newest first")
def list_customers(request: HttpRequest, query: Annotated[PageQuery, Query()]) -> HttpResponse:
    """Of the key's project and environment."""
    caller = caller_of(request)
    rows = Customer.objects.filter(project_id=caller.project_id, environment=caller.environment)
    with snapshot():
        return page(wallets.with_lots(rows), query, _show)


@router.get(
    "/customers/{customer}", auth=KeyAuth(Scope.WALLETS), response=declared({200: CustomerOut}, "unknown_customer"), summary="One customer"
)
def get_customer(request: HttpRequest, customer: Annotated[CustomerId, Path()]) -> HttpResponse:
    """With its wallet."""
    view = wallets.view(caller=caller_of(request), external_id=customer, now=timezone.now())
    return respond(answers.customer(view.customer, answers.wallet(view)))


def _show(customer: Customer) -> dict[str, object]:
    return answers.customer(customer, answers.wallet(wallets.view_of(customer.wallet, now=timezone.now())))
