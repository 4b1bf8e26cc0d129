"""Re-rating: cost a scope of usage again and write down what changed, as adjustments.

A run is a row that remembers how far it is. Each chunk is one transaction: it locks the run, reads the next records in
the order of time, costs them by the catalogue of that moment, writes the adjustments and moves the run on. Whoever is
killed in between leaves a run that the next worker goes on with, and nothing is written twice. Chunks of different runs
wait for each other, so that each begins where the adjustments before it have ended.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan

from billing.models import Basis, CostAdjustment, CostStatus, Rerating, UsageRecord
from billing.queries import costs
from billing.services import recosting
from billing.services.recosting import Verdict
from config.base.errors import DomainError
from config.base.exact import CONTEXT, ZERO, plain
from pricing import price_book
from pricing.models import ProviderRate

log = logging.getLogger(__name__)

CHUNK: Final = 2_000
# Shared by nobody: the chunks of all runs take it in turn.
RERATING_LOCK: Final = 7_300_004
_WORKER_LOCK: Final = 7_300_006
_FIRST_SPAN, _LEAST_SPAN, _LONGEST_SPAN = timedelta(hours=1), timedelta(seconds=1), timedelta(days=1)
_MOST_MODELS: Final = 500  # names come from outside; what a run keeps about them must stay a page
OTHER_MODELS: Final = "other models"
_EXACT: Final = 2_000
_SLICES: Final = 25
_COUNTED: Final = 100_000


class RerateRefusedError(DomainError):
    """Nothing was requested: the message says what the scope needs."""

    code = "rerate_refused"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which records to cost again: of a period, by basis; provider and model as apps report them, None for any."""

    since: datetime
    until: datetime
    basis: Basis = Basis.UNPRICED
    provider: str | None = None
    model: str | None = None
    rate_ids: tuple[int, ...] = ()

    @classmethod
    def of(cls, run: Rerating) -> "Scope":
        return cls(run.since, run.until, Basis(run.basis), run.provider, run.model, tuple(run.rate_ids))


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would find; `differences` by currency. Of more records than `looked_at` the rest is estimated."""

    records: int
    is_capped: bool
    looked_at: int
    newly_priced: int
    adjusted: int
    unpriced: int
    differences: dict[str, Decimal]

    @property
    def is_exact(self) -> bool:
        return self.looked_at == self.records and not self.is_capped


def request(*, scope: Scope, reason: str, actor: str, now: datetime) -> Rerating:
    """Write down what is to be costed again; a worker, or `run`, does it.

    Raises:
        RerateRefusedError: the period is empty or reaches ahead, there is no reason, or rates are not named where asked for.
    """
    if scope.until <= scope.since:
        raise RerateRefusedError("The period ends before it begins.")
    if scope.until > now:
        raise RerateRefusedError("The period ends in the future. What is charged from now on is costed by the catalogue as it is.")
    if not reason.strip():
        raise RerateRefusedError("Say why.")
    if (scope.basis is Basis.RATES) != bool(scope.rate_ids):
        raise RerateRefusedError("Name the rates whose records are to be costed again, and only then.")
    return Rerating.objects.create(
        basis=scope.basis,
        since=scope.since,
        until=scope.until,
        provider=scope.provider,
        model=scope.model,
        rate_ids=list(scope.rate_ids),
        reason=reason.strip(),
        actor=actor,
        requested_at=now,
        position_at=scope.since,
    )


def run(*, rerating_id: int, clock: Callable[[], datetime], told: Callable[[Rerating], None] | None = None) -> Rerating:
    """Go on with a run until it has finished; `told` hears of every chunk."""
    span = _FIRST_SPAN
    while True:
        row, span = _step(rerating_id, clock(), span)
        if told:
            told(row)
        if row.finished_at is not None:
            return row


def run_waiting(*, clock: Callable[[], datetime]) -> int:
    """Finish every run that was requested, the oldest first; return how many. At once where somebody else is at it: one does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_WORKER_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        try:
            waiting = list(Rerating.objects.filter(finished_at=None).order_by("pk").values_list("pk", flat=True))
            return sum(_ran(rerating_id, clock) for rerating_id in waiting)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_WORKER_LOCK])


def _ran(rerating_id: int, clock: Callable[[], datetime]) -> bool:
    """Say whether a run has finished; one that fails is tried again next time, and holds up no other."""
    try:
        run(rerating_id=rerating_id, clock=clock)
    except Exception:
        log.exception("re-rating %s has stopped", rerating_id)
        return False
    return True


def _with_corrected(rate_ids: Iterable[int]) -> list[int]:
    """Return the rates and those that they corrected: a record that a correction left as it was still names the first."""
    found, ids = set[int](), set(rate_ids)
    while ids - found:
        found |= ids
        ids = set(ProviderRate.objects.filter(pk__in=ids).exclude(corrects=None).values_list("corrects_id", flat=True))
    return sorted(found)


@transaction.atomic
def _step(rerating_id: int, now: datetime, span: timedelta) -> tuple[Rerating, timedelta]:
    """Do one chunk; return the run and how long a stretch of time to read next."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '10min'; SET LOCAL lock_timeout = '10min'")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [RERATING_LOCK])
    row = Rerating.objects.select_for_update().get(pk=rerating_id)
    if row.finished_at is not None:
        return row, span
    now = max(now, row.requested_at)  # by another machine's clock
    row.started_at = row.started_at or now
    # The unpriced have an index in the order of time; of all others, as long a stretch is read as a chunk comes from.
    end = row.until if row.basis == Basis.UNPRICED else min(row.until, row.position_at + span)
    after = TupleGreaterThan(Tuple(F("occurred_at"), F("id")), (row.position_at, row.position_id))
    wanted = records(Scope.of(row)).filter(after, occurred_at__gte=row.position_at, occurred_at__lt=end)
    chunk = list(recosting.read(wanted.order_by("occurred_at", "id")[:CHUNK]))
    heads = recosting.newest_adjustments([record.id for record in chunk])
    todo = [record for record in chunk if record.id not in heads] if row.basis == Basis.UNPRICED else chunk
    verdicts = list(recosting.judge(todo, heads, price_book.current()))
    CostAdjustment.objects.bulk_create([_adjustment(row, verdict, now) for verdict in verdicts if verdict.is_adjusted])
    _count(row, verdicts)
    if len(chunk) == CHUNK:
        row.position_at, row.position_id = chunk[-1].occurred_at, chunk[-1].id
        span = max(span / 2, _LEAST_SPAN)
    else:
        row.position_at, row.position_id = end, 0
        span = min(span * 2, _LONGEST_SPAN) if len(chunk) < CHUNK // 4 else span
    if row.position_at >= row.until:
        row.finished_at = now
    row.save()
    return row, span


def records(scope: Scope) -> "QuerySet[UsageRecord]":
    """Return the records of a scope. Among the unpriced are those that were priced since."""
    found = UsageRecord.objects.filter(occurred_at__gte=scope.since, occurred_at__lt=scope.until)
    if scope.basis is Basis.UNPRICED:
        found = found.filter(cost_status=CostStatus.UNPRICED)
    else:
        found = found.filter(cost_status__in=recosting.CATALOGUE_STATUSES)
    if scope.rate_ids:
        used = [[{"rate_id": str(rate_id)}] for rate_id in _with_corrected(scope.rate_ids)]
        since = CostAdjustment.objects.filter(_any_of("lines", used), usage_record_id=OuterRef("pk"))
        found = found.filter(_any_of("cost_lines", used) | Exists(since))
    if scope.provider is not None:
        found = found.filter(provider=scope.provider)
    return found.filter(model=scope.model) if scope.model is not None else found


def _any_of(column: str, lines: list[list[dict[str, str]]]) -> Q:
    return reduce(or_, (Q(**{f"{column}__contains": line}) for line in lines))


def _adjustment(row: Rerating, verdict: Verdict, now: datetime) -> CostAdjustment:
    record = verdict.record
    return CostAdjustment(
        rerating=row,
        usage_record_id=record.id,
        occurred_at=record.occurred_at,
        provider=record.usage.provider,
        model=record.usage.model,
        number=verdict.number,
        status_before=CostStatus.UNPRICED if verdict.before is None else CostStatus.PRICED,
        status_after=CostStatus.PRICED,
        amount_before=verdict.before,
        amount_after=verdict.after,
        amount=verdict.difference,
        currency=verdict.currency,
        lines=[line.as_json() for line in verdict.cost.lines],
        recorded_at=now,
    )


def _count(row: Rerating, verdicts: list[Verdict]) -> None:
    """Add a chunk to the figures of its run."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {(m["provider"], m["model"], m["currency"]): m for m in row.by_model}
    for verdict in verdicts:
        usage = verdict.record.usage
        key = (usage.provider, usage.model, verdict.currency)
        if key not in found and len(found) >= _MOST_MODELS:
            key = ("", OTHER_MODELS, verdict.currency)
        sums = found.setdefault(key, _no_figures(*key))
        sums["records"] += 1
        sums["adjusted"] += verdict.is_adjusted
        sums["newly_priced"] += verdict.is_newly_priced
        sums["unpriced"] += verdict.after is None
        for side, amount in (("before", verdict.before), ("after", verdict.after)):
            sums[side] = plain(CONTEXT.add(Decimal(sums[side]), amount or ZERO))
        if verdict.gap:
            why = sums["why"] if verdict.after is None else sums["why_kept"]
            why[verdict.gap] = why.get(verdict.gap, 0) + 1
    row.by_model = list(found.values())
    row.examined += len(verdicts)
    row.adjusted += sum(verdict.is_adjusted for verdict in verdicts)
    row.newly_priced += sum(verdict.is_newly_priced for verdict in verdicts)
    row.still_unpriced += sum(verdict.after is None for verdict in verdicts)
    row.kept += sum(verdict.gap is not None and verdict.after is not None for verdict in verdicts)


def _no_figures(provider: str, model: str, currency: str) -> dict[str, Any]:
    named = {"provider": provider, "model": model, "currency": currency}
    return {**named, "records": 0, "adjusted": 0, "newly_priced": 0, "unpriced": 0, "before": "0", "after": "0", "why": {}, "why_kept": {}}


def preview(*, scope: Scope) -> Preview:
    """Say what a run over `scope` would find, without writing: exactly where it is small, else from a sample over its period."""
    wanted = costs.unpriced(records(scope)) if scope.basis is Basis.UNPRICED else records(scope)
    number = wanted.order_by()[: _COUNTED + 1].count()
    rows = wanted.order_by() if number <= _EXACT else None
    sample = (
        list(recosting.read(rows)) if rows is not None else [record for part in _slices(wanted, scope) for record in recosting.read(part)]
    )
    verdicts = list(recosting.judge(sample, recosting.newest_adjustments([record.id for record in sample]), price_book.current()))
    records_, looked_at = min(number, _COUNTED), len(sample)
    differences: dict[str, Decimal] = {}
    for verdict in verdicts:
        if verdict.is_adjusted:
            differences[verdict.currency] = CONTEXT.add(differences.get(verdict.currency, ZERO), verdict.difference)
    share = Decimal(records_) / looked_at if looked_at else ZERO
    return Preview(
        records=records_,
        is_capped=number > _COUNTED,
        looked_at=looked_at,
        newly_priced=round(sum(v.is_newly_priced for v in verdicts) * share),
        adjusted=round(sum(v.is_adjusted for v in verdicts) * share),
        unpriced=round(sum(v.after is None for v in verdicts) * share),
        differences={currency: CONTEXT.multiply(amount, share) for currency, amount in differences.items()},
    )


def _slices(wanted: "QuerySet[UsageRecord]", scope: Scope) -> "Iterator[QuerySet[UsageRecord]]":
    """Yield the first records of equal parts of the period."""
    length = (scope.until - scope.since) / _SLICES
    for number in range(_SLICES):
        start = scope.since + length * number
        yield wanted.filter(occurred_at__gte=start, occurred_at__lt=start + length).order_by()[: _EXACT // _SLICES]
