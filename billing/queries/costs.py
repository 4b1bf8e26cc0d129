"""What records cost, as it is known now: what stood in the record when it was charged, and what re-rating found since.

Whoever shows provider costs reads them through here; what reports sum up in SQL has the same rule in one place of theirs
(`reports.queries.recorded_usage.COSTED`). An adjustment carries the cost after it, so the newest
one of a record is the sum of all; a probe of its index per record, nothing where a desk has never re-rated.
"""

from typing import Any

from django.db.models import CharField, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from billing.models import CostAdjustment, CostStatus, LedgerEntry, UsageRecord


def with_known_costs(records: "QuerySet[UsageRecord]") -> "QuerySet[Any]":
    """Annotate `known_cost`, `known_status` and `known_currency`."""
    if not CostAdjustment.objects.exists():
        return records.annotate(known_cost=F("cost_amount"), known_status=F("cost_status"), known_currency=F("cost_currency"))
    newest = _of_record().order_by("-number")
    return records.annotate(
        known_cost=Coalesce(Subquery(newest.values("amount_after")[:1]), F("cost_amount")),
        known_status=Coalesce(Subquery(newest.values("status_after")[:1]), F("cost_status"), output_field=CharField()),
        known_currency=Coalesce(Subquery(newest.values("currency")[:1]), F("cost_currency"), output_field=CharField()),
    )


def with_known_charge_costs(entries: "QuerySet[LedgerEntry]") -> "QuerySet[Any]":
    """Annotate entries of charges with `known_cost`, what their record costs; None while it is unknown."""
    if not CostAdjustment.objects.exists():
        return entries.annotate(known_cost=F("provider_cost"))
    newest = CostAdjustment.objects.filter(usage_record_id=OuterRef("usage_record_id")).order_by("-number")
    return entries.annotate(known_cost=Coalesce(Subquery(newest.values("amount_after")[:1]), F("provider_cost")))


def unpriced(records: "QuerySet[UsageRecord]") -> "QuerySet[UsageRecord]":
    """Return those whose cost is unknown to this day: an adjustment always brings a cost."""
    return records.filter(~Exists(_of_record()), cost_status=CostStatus.UNPRICED)


def of_status(records: "QuerySet[UsageRecord]", status: str) -> "QuerySet[UsageRecord]":
    """Return those whose cost has this status to this day."""
    if status == CostStatus.UNPRICED:
        return unpriced(records)
    if status == CostStatus.PRICED and CostAdjustment.objects.exists():
        return records.filter(Q(cost_status=status) | Exists(_of_record()))
    return records.filter(cost_status=status)


def _of_record() -> "QuerySet[CostAdjustment]":
    return CostAdjustment.objects.filter(usage_record_id=OuterRef("pk"))
