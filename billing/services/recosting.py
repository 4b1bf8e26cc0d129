"""Costing recorded usage again, by the catalogue as it is now: the arithmetic of a re-rating, for a run and for a preview."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.db.models import QuerySet

from billing.models import CostAdjustment, CostStatus, UsageRecord
from config.base.exact import CONTEXT, ZERO
from pricing import rate_gaps
from pricing.cost import Cost
from pricing.cost import CostStatus as Costed
from pricing.price_book import PriceBook
from pricing.rate_gaps import GapKind
from pricing.units import Usage, check


class Recorded(NamedTuple):
    """The columns of a usage record that its cost depends on, in the order of `FIELDS`."""

    id: int
    occurred_at: datetime
    service_tier: str
    is_batch: bool
    cost_status: str
    cost_amount: Decimal | None
    cost_currency: str
    usage: Usage


FIELDS: Final = (*Recorded._fields[:-1], *Usage._fields)
_OWN: Final = len(Recorded._fields) - 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the catalogue says of one record now.

    `before` and `after` are known costs or None; `number` is what its next adjustment would be. Where the catalogue has
    no cost, `gap` says why, and `after` stays what it was: a known cost never becomes unknown.
    """

    record: Recorded
    number: int
    before: Decimal | None
    after: Decimal | None
    currency: str
    cost: Cost
    gap: GapKind | None = None

    @property
    def is_adjusted(self) -> bool:
        return self.gap is None and self.before != self.after

    @property
    def is_newly_priced(self) -> bool:
        return self.before is None and self.after is not None

    @property
    def difference(self) -> Decimal:
        return CONTEXT.subtract(self.after or ZERO, self.before or ZERO)


def read(records: "QuerySet[UsageRecord]") -> Iterator[Recorded]:
    """Yield the records of a queryset as `judge` needs them."""
    for row in records.values_list(*FIELDS):
        yield Recorded._make((*row[:_OWN], Usage(*row[_OWN:])))


def newest_adjustments(ids: Sequence[int]) -> dict[int, Any]:
    """Return (number, amount after, currency) of the last adjustment of each record that has one."""
    rows = CostAdjustment.objects.filter(usage_record_id__in=ids).order_by("usage_record_id", "-number").distinct("usage_record_id")
    return {record_id: head for record_id, *head in rows.values_list("usage_record_id", "number", "amount_after", "currency")}


def judge(records: Iterable[Recorded], heads: dict[int, Any], book: PriceBook) -> Iterator[Verdict]:
    """Cost each record anew; `heads` are its newest adjustments."""
    for record in records:
        number, before, currency = heads.get(record.id, (0, record.cost_amount, record.cost_currency))
        cost, gap = _cost(record, book)
        if gap is None and before is not None and cost.currency != currency:
            gap = GapKind.SEVERAL_CURRENCIES  # no difference can be told
        after = before if gap else cost.amount
        yield Verdict(record, number + 1, before, after, currency if gap else cost.currency, cost, gap)


def _cost(record: Recorded, book: PriceBook) -> tuple[Cost, GapKind | None]:
    place = {"service_tier": record.service_tier, "is_batch": record.is_batch, "at": record.occurred_at}
    if check(record.usage):
        return Cost(Costed.UNPRICED, None, ""), GapKind.MISCOUNTED
    found = book.cost_of(record.usage, **place)  # type: ignore[arg-type] # named as the parameters are
    if found.status is Costed.PRICED:
        return found, None
    gap = rate_gaps.find(book.catalogue, record.usage, **place)  # type: ignore[arg-type]
    return found, gap.kind if gap else GapKind.NO_RATE_FOR_UNIT


CATALOGUE_STATUSES: Final = (CostStatus.PRICED, CostStatus.UNPRICED)
