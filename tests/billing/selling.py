"""Packs, orders and what Stripe tells of them, in a line each."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from billing import minor_units
from billing.models import CreditPack, PackPrice, StripeEvent, TopUp, TopUpChannel, TopUpStatus, Wallet
from billing.services import topup_events, topups
from tests import stripe_objects
from tests.billing.factories import LAST_YEAR, NOW

PRICES = {"USD": ("9.99", "9.99")}


def a_pack(
    key: str = "starter-1000", *, credits: str = "1000", bonus: str = "0", prices: dict[str, tuple[str, str]] | None = None, **fields: Any
) -> CreditPack:
    """Put a pack on sale; `prices` are (price, book value) by currency."""
    terms = {"name": f"{credits} credits", "active_from": LAST_YEAR} | fields
    pack = CreditPack.objects.create(key=key, credits=Decimal(credits), bonus_credits=Decimal(bonus), **terms)
    for currency, (price, book_value) in (PRICES if prices is None else prices).items():
        minor = minor_units.to_minor(Decimal(price), currency)
        PackPrice.objects.create(pack=pack, currency=currency, amount_minor=minor, book_value=Decimal(book_value))
    return pack


def an_order(wallet: Wallet, *, now: datetime = NOW, **fields: Any) -> TopUp:
    """Write an order of 1,000 credits for 9.99 USD whose link waits to be paid."""
    terms = {
        "project_id": wallet.customer.project_id,
        "environment": wallet.customer.environment,
        "channel": TopUpChannel.API,
        "title": "1,000 credits",
        "credits": Decimal(1000),
        "amount_minor": 999,
        "currency": "USD",
        "book_value": Decimal("9.99"),
        "status": TopUpStatus.OPEN,
        "checkout_session": f"cs_test_{stripe_objects.number()}",
        "url": "https://checkout.stripe.com/c/pay/cs_test",
        "actor": "system:tests",
        "created_at": now,
        "changed_at": now,
    }
    return TopUp.objects.create(wallet=wallet, **(terms | fields))


def a_session(topup: TopUp, **overlay: Any) -> dict[str, Any]:
    """Return the order's Checkout session as Stripe has it once it is paid."""
    fields = {
        "id": topup.checkout_session or f"cs_test_{stripe_objects.number()}",
        "client_reference_id": str(topup.pk),
        "metadata": topups.metadata_of(topup),
        "amount_total": topup.amount_minor,
        "currency": topup.currency.lower(),
        "payment_intent": f"pi_of_{topup.pk}",
        "livemode": topup.is_live,
    }
    return stripe_objects.checkout_session(**(fields | overlay))


def an_intent(topup: TopUp, **overlay: Any) -> dict[str, Any]:
    """Return the order's payment intent as Stripe has it once it is paid."""
    fields = {
        "id": f"pi_of_{topup.pk}",
        "metadata": topups.metadata_of(topup),
        "amount": topup.amount_minor,
        "amount_received": topup.amount_minor,
        "currency": topup.currency.lower(),
        "latest_charge": f"ch_of_{topup.pk}",
        "livemode": topup.is_live,
    }
    return stripe_objects.payment_intent(**(fields | overlay))


def told(kind: str, about: dict[str, Any], *, now: datetime = NOW) -> str:
    """Have the handler of `kind` work an event off; returns what it says that it did."""
    event = StripeEvent(type=kind, body=stripe_objects.body_of(stripe_objects.event(kind, about)).decode())
    return topup_events.HANDLERS[kind](event, now)
