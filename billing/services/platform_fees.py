"""What Stripe took for a payment: one row per balance transaction, once, however often it is heard of."""

from datetime import UTC, datetime
from typing import Any

from billing.minor_units import to_major
from billing.models import Payment, PlatformFee
from pricing.queries import workspace


def record(*, payment: Payment, transaction: dict[str, Any], kind: str, is_live: bool, now: datetime) -> bool:
    """Keep the fee of a balance transaction as Stripe wrote it; False when it is known, or when there was none.

    A fee in another currency than the books' keeps its own amount and has none in the books: a rate would be a guess.
    """
    fee_minor = int(transaction["fee"])
    if not fee_minor:
        return False
    currency = str(transaction["currency"]).upper()
    in_books = to_major(fee_minor, currency) if currency == workspace.load().currency else None
    _, is_new = PlatformFee.objects.get_or_create(
        balance_transaction=transaction["id"],
        defaults={
            "payment": payment,
            "amount_minor": fee_minor,
            "currency": currency,
            "amount": in_books,
            "is_live": is_live,
            "kind": kind,
            "happened_at": datetime.fromtimestamp(transaction["created"], UTC),
            "recorded_at": now,
        },
    )
    return is_new
