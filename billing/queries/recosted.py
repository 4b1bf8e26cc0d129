"""Which prices a re-rating is about: what the Pricing Advisor has counted of the records that were costed again."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db.models import Max, Q, QuerySet

from billing.models import CostAdjustment, Environment, UsageRecord
from pricing.models import Segment


def charged(adjustments: Sequence[CostAdjustment]) -> set[tuple[int, datetime]]:
    """Return by which price version, and when, their records were charged, as far as evidence counts them."""
    if not adjustments:
        return set()
    moments = [adjustment.occurred_at for adjustment in adjustments]
    records = _counted().filter(
        pk__in=[adjustment.usage_record_id for adjustment in adjustments], occurred_at__gte=min(moments), occurred_at__lte=max(moments)
    )
    return set(records.values_list("price_version_id", "occurred_at"))


def newest() -> int:
    """Return the number of the newest adjustment. Re-ratings write one after the other, so what comes later has a higher one."""
    number: int | None = CostAdjustment.objects.aggregate(number=Max("pk"))["number"]
    return number or 0


def charged_since(
    number: int, *, known_at: datetime, version_ids: Iterable[int], start: datetime, end: datetime
) -> set[tuple[int, datetime]]:
    """Return one record of `[start, end)` that these versions charged and that somebody who read as of `known_at` saw at another cost.

    Adjustments up to `number` were there, unless they were recorded from `known_at` on. Empty where there is none.
    """
    unseen = CostAdjustment.objects.filter(Q(pk__gt=number) | Q(recorded_at__gte=known_at), occurred_at__gte=start, occurred_at__lt=end)
    found = _counted().filter(
        pk__in=unseen.values("usage_record_id"), price_version_id__in=list(version_ids), occurred_at__gte=start, occurred_at__lt=end
    )
    return set(found.values_list("price_version_id", "occurred_at")[:1])


def _counted() -> "QuerySet[UsageRecord]":
    """Customers pay in production; a customer with a price of their own has only one environment."""
    return UsageRecord.objects.filter(Q(environment=Environment.PRODUCTION) | Q(price_version__rule__segment=Segment.CUSTOMER))
