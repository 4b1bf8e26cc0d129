"""Top-ups as tests need them: ordered, and paid with what Stripe would tell."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from billing.models import PaymentSource, TopUp, TopUpChannel, TopUpStatus, Wallet
from billing.services import sales
from billing.services.journal import Journal, lock_wallet
from tests.stripe_objects import number

NOW = datetime(2026, 5, 4, 10, tzinfo=UTC)


def an_order(wallet: Wallet, *, credits: str = "500", amount_minor: int = 500, book_value: str = "5", **fields: Any) -> TopUp:
    """An order that waits for payment: 500 credits for 5 USD unless told otherwise."""
    customer = wallet.customer
    facts: dict[str, Any] = {
        "project": customer.project,
        "environment": customer.environment,
        "channel": TopUpChannel.API,
        "status": TopUpStatus.OPEN,
        "currency": "USD",
        "actor": "system:tests",
        "created_at": NOW,
        "changed_at": NOW,
    }
    sold = {"credits": Decimal(credits), "amount_minor": amount_minor, "book_value": Decimal(book_value)}
    return TopUp.objects.create(wallet=wallet, **(facts | sold | fields))


def a_paid_topup(wallet: Wallet, *, now: datetime = NOW, ends: datetime | None = None, **fields: Any) -> TopUp:
    """An order with its deposit; what was bought lasts until it `ends`."""
    topup = an_order(wallet, **({"payment_intent": f"pi_{number()}", "charge": f"ch_{number()}"} | fields))
    with transaction.atomic():
        journal = Journal(lock_wallet(wallet.pk, now=now), "system:tests", now)
        sale = sales.Sale(
            topup.credits,
            topup.book_value,
            "USD",
            PaymentSource.STRIPE,
            topup.payment_intent,
            expires_at=ends,
            bonus_credits=topup.bonus_credits,
        )
        posted = sales.credit_sale(journal, sale)
        topup.payment = next(entry.payment for entry in posted.entries if entry.payment)
        topup.status, topup.paid_at = TopUpStatus.PAID, now
        topup.save()
    return topup
