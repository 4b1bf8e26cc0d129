"""Two weeks of usage, so many records at a time, for what compares them."""

import itertools
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.models import Environment, Project, UsageRecord
from billing.services import partitions
from pricing.models import EventType

_numbers = itertools.count(10_000_000)


def usage(project: Project, count: int, at: datetime, *, event: str = "chat.reply", **fields: Any) -> None:
    """Record `count` actions, one a second from `at` on, that cost 0.02 USD each unless told otherwise."""
    partitions.ensure(first=at, last=at + timedelta(seconds=count))
    event_type, _ = EventType.objects.get_or_create(name=event, defaults={"label": event})
    facts: dict[str, Any] = {
        "environment": Environment.PRODUCTION,
        "provider": "acme",
        "model": "m-1",
        "cost_status": "priced",
        "cost_amount": Decimal("0.02"),
        "cost_currency": "USD",
    }
    moments = [at + timedelta(seconds=number) for number in range(count)]
    UsageRecord.objects.bulk_create(
        UsageRecord(id=next(_numbers), occurred_at=moment, recorded_at=moment, project=project, event_type=event_type, **(facts | fields))
        for moment in moments
    )
