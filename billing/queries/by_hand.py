"""What people moved by hand, and what may be moved without a second person."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db.models import Sum
from django.db.models.functions import Abs

from billing.models import LedgerEntry
from billing.models.ledger import BY_HAND
from config.base.exact import ZERO
from pricing.queries import workspace

WINDOW: Final = timedelta(hours=24)


def actor_of(username: str) -> str:
    """Return how ledger entries name a person."""
    return f"user:{username}"[:80]


def moved(*, wallet_id: int, actor: str, now: datetime) -> Decimal:
    """Return the credits that `actor` alone has moved on a wallet in the last 24 hours, whichever way."""
    entries = LedgerEntry.objects.filter(BY_HAND, wallet_id=wallet_id, actor=actor, approved_by=None, recorded_at__gt=now - WINDOW)
    changes = entries.values("transaction_id").annotate(change=Abs(Sum("credits")))
    return sum((row["change"] for row in changes), ZERO)


def left(*, wallet_id: int, username: str, now: datetime) -> Decimal:
    """Return how many credits that person may still move on the wallet without a second one."""
    limit: Decimal = workspace.load().approval_limit_credits
    return max(limit - moved(wallet_id=wallet_id, actor=actor_of(username), now=now), ZERO)
