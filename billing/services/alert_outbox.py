"""Sending what alerts owe: e-mails, signed webhooks and messages in Slack's format."""

from collections.abc import Iterable
from datetime import datetime

from billing.models import AlertDelivery, DeliveryOutcome


def send_due(*, now: datetime) -> int:
    """Send what is due; return how many messages arrived."""
    raise NotImplementedError(now)


def retry(*, deliveries: Iterable[AlertDelivery], now: datetime) -> int:
    """Have dead letters tried again, anew; return how many those were."""
    dead = AlertDelivery.objects.filter(pk__in=[one.pk for one in deliveries], outcome=DeliveryOutcome.EXPIRED)
    return dead.update(outcome=DeliveryOutcome.DUE, done_at=None, attempts=0, created_at=now, due_at=now)
