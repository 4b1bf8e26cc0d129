"""Saved cards: whom Stripe knows a customer as, and with what may be charged without asking.

A card is saved by its owner, on a page of Stripe's: one that a person of this desk makes a link to, or the Checkout of a
top-up while auto top-up waits for a card. What Stripe tells may be old: news from before the last change changes nothing.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from billing.errors import InvalidRequest, StripeRefused
from billing.models import AutoTopUp, AutoTopUpState, Customer, Environment, StripeCustomer, StripeEvent
from billing.models.fields import save_with_reason
from billing.services import auto_topup_terms, stripe_gateway
from billing.services.stripe_gateway import Answer, Gateway
from billing.services.stripe_handling import Handler, NotOurs, desk
from pricing.queries import workspace

_METHOD: Final = ("payment_method", "method_label", "method_changed_at")


def link(*, customer: Customer, return_url: str, now: datetime) -> str:
    """Return the address of a page where the customer saves a card; it ends after a day.

    Raises InvalidRequest, StripeNotSetUp, StripeUnavailable, StripeRefused.
    """
    stripe = stripe_gateway.gateway()
    if stripe.is_live and customer.environment != Environment.PRODUCTION:
        raise InvalidRequest("customer", f"is of {customer.environment}: with Stripe's live key only customers of production buy")
    account = account_of(customer, stripe, now=now)
    auto = AutoTopUp.objects.filter(wallet__customer=customer).first()
    params = {
        "mode": "setup",
        "customer": account.stripe_id,
        "currency": (auto.currency if auto else workspace.load().currency).lower(),
        "success_url": return_url,
    }
    page = stripe.create_checkout_session(params, key=f"card-{customer.pk}-{now:%Y%m%dT%H%M%S%f}")
    return str(page["url"])


def account_of(customer: Customer, stripe: Gateway, *, now: datetime) -> StripeCustomer:
    """Return the customer's account at Stripe, in the mode of the key; made once, however often this is cut off.

    Not inside a transaction. Raises StripeUnavailable, StripeRefused.
    """
    account = StripeCustomer.objects.filter(customer=customer, is_live=stripe.is_live).first()
    if account is not None:
        return account
    # Only what never changes: a repeated call must be the same call. One that Stripe deleted is followed by another.
    named = {"customer": customer.external_id, "project": customer.project.key, "environment": str(customer.environment)}
    deleted = StripeCustomer.history.filter(customer_id=customer.pk, history_type="-").count()
    key = f"customer-{customer.pk}-{customer.created_at:%Y%m%dT%H%M%S%f}-{deleted}"
    made = stripe.create_customer({"description": customer.external_id, "metadata": named}, key=key)
    facts = {"stripe_id": made["id"], "is_live": stripe.is_live, "payment_method": "", "method_label": "", "method_changed_at": None}
    account, _ = StripeCustomer.objects.update_or_create(customer=customer, defaults=facts, create_defaults={**facts, "created_at": now})
    return account


def prepare(*, customer: Customer, now: datetime) -> None:
    """See to it that a card can be kept at the customer's next Checkout, where auto top-up waits for one.

    Not inside a transaction. Raises StripeNotSetUp, StripeUnavailable, StripeRefused.
    """
    if _waits_for_card(customer):
        account_of(customer, stripe_gateway.gateway(), now=now)


def wanted_for(customer: Customer, *, is_live: bool) -> str:
    """Return for whom, by Stripe's id, Checkout shall keep the card that it is paid with; empty where none is wanted."""
    if not _waits_for_card(customer):
        return ""
    return StripeCustomer.objects.filter(customer=customer, is_live=is_live).values_list("stripe_id", flat=True).first() or ""


def keep(*, stripe_id: str, method: str, at: datetime, gateway: Callable[[], Gateway]) -> str:
    """Charge this payment method from now on. Raises NotOurs, StripeUnavailable, and what `gateway` does."""
    if not method or not stripe_id:
        raise NotOurs("It saved no payment method of a customer.")
    stripe = gateway()
    label = _label(_told(lambda: stripe.retrieve_payment_method(method)))
    with transaction.atomic():
        account = StripeCustomer.objects.select_for_update().filter(stripe_id=stripe_id).first()
        if account is None:
            raise NotOurs(f"{stripe_id} is no customer of this desk.")
        if account.method_changed_at and at < account.method_changed_at:
            return f"{label} was saved before what is saved now."
        account.payment_method, account.method_label, account.method_changed_at = method, label, at
        save_with_reason(account, *_METHOD, reason="Saved by its owner")
        auto_topup_terms.has_card(wallet_id=account.customer.wallet.pk)
    return f"{label} is saved for {account.customer}."


def of_setup_session(event: StripeEvent) -> str:
    """Take over the card of a Checkout session of mode `setup` that was completed. Raises NotOurs, AsksStripe, StripeUnavailable."""
    session = event.object
    intent = _id(session.get("setup_intent"))
    if not intent or not StripeCustomer.objects.filter(stripe_id=_id(session.get("customer"))).exists():
        raise NotOurs("It saves a payment method for nobody here.")
    stripe = desk(event)
    told = _told(lambda: stripe.retrieve_setup_intent(intent))
    method = _id(told.get("payment_method"))
    return keep(stripe_id=_id(session.get("customer")), method=method, at=event.happened_at, gateway=lambda: stripe)


def _detached(event: StripeEvent, now: datetime) -> str:
    method = event.object["id"]
    with transaction.atomic():
        account = StripeCustomer.objects.select_for_update().filter(payment_method=method).first()
        if account is None:
            raise NotOurs(f"{method} is not saved here.")
        label, account.payment_method, account.method_label = account.method_label, "", ""
        account.method_changed_at = event.happened_at
        save_with_reason(account, *_METHOD, reason="Removed at Stripe")
        why = f"The saved card ({label}) was removed at Stripe. Have another one saved."
        auto_topup_terms.stop_wallet(wallet_id=account.customer.wallet.pk, why=why, now=now)
    return f"{label} of {account.customer} is not charged any more."


def _deleted(event: StripeEvent, now: datetime) -> str:
    with transaction.atomic():
        account = StripeCustomer.objects.select_for_update().filter(stripe_id=event.object["id"]).first()
        if account is None:
            raise NotOurs(f"{event.object['id']} is no customer of this desk.")
        customer = account.customer
        setattr(account, "_change_reason", "Deleted at Stripe")  # noqa: B010 - simple-history reads the reason from here
        account.delete()
        why = "The customer was deleted at Stripe, and the saved card with it. Have a card saved anew."
        auto_topup_terms.stop_wallet(wallet_id=customer.wallet.pk, why=why, now=now)
    return f"{customer} has no account at Stripe any more."


def _waits_for_card(customer: Customer) -> bool:
    return AutoTopUp.objects.filter(wallet__customer=customer, state=AutoTopUpState.WAITING).exists()


def _told(question: Callable[[], Answer]) -> Answer:
    """Ask Stripe while an event is worked off; what it does not know is not ours."""
    try:
        return question()
    except StripeRefused as error:
        raise NotOurs(f"Stripe does not know what was saved: {error.detail}") from error


def _label(method: dict[str, Any]) -> str:
    """Say what a person knows a payment method by: "Visa 4242, 12/2034"."""
    kind = str(method.get("type") or "card")
    facts = method.get(kind) or {}
    name = str(facts.get("brand") or facts.get("bank_name") or kind.replace("_", " "))
    words = f"{name[:1].upper()}{name[1:]} {facts.get('last4') or ''}".strip()
    expiry = f", {facts['exp_month']:02d}/{facts['exp_year']}" if facts.get("exp_month") and facts.get("exp_year") else ""
    return f"{words}{expiry}"[:100]


def _id(value: Any) -> str:
    return str(value["id"]) if isinstance(value, dict) else value or ""


HANDLERS: Final[dict[str, Handler]] = {"payment_method.detached": _detached, "customer.deleted": _deleted}
