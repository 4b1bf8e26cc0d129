"""Re-rating: cost a scope of usage again and write down what changed, as adjustments.

A run is a row that remembers how far it is. Each chunk is one transaction: it locks the run, reads the next records in
the order of time, costs them by the catalogue of that moment, writes the adjustments and moves the run on. Whoever is
killed in between leaves a run that the next worker goes on with, and nothing is written twice. Chunks of different runs
wait for each other, so that each begins where the adjustments before it have ended.

All locks live as long as the transaction of a chunk and no longer: a session may be another one for the next, where a
pooler hands them out.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import CharField, Exists, F, Min, OuterRef, Q, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan

from billing.models import Basis, CostAdjustment, CostStatus, Rerating, UsageRecord
from billing.queries import costs, recosted
from billing.services import recosting
from billing.services.partitions import month_start, next_month
from billing.services.recosting import Verdict
from config.base.database import EARLIEST
from config.base.errors import DomainError
from config.base.exact import CONTEXT, ZERO, plain
from pricing import price_book
from pricing.models import ProviderRate
from pricing.services import advising

log = logging.getLogger(__name__)

CHUNK: Final = 2_000
# Shared by nobody: the chunks of all runs take it in turn.
RERATING_LOCK: Final = 7_300_004
# One worker at a time does chunks: who finds another one at it leaves the rest to that one.
_WORKER_LOCK: Final = 7_300_009
_FIRST_SPAN, _LEAST_SPAN, _LONGEST_SPAN = timedelta(hours=1), timedelta(seconds=1), timedelta(days=1)
_MOST_MODELS: Final = 500  # names come from outside; what a run keeps about them must stay a page
OTHER_MODELS: Final = "other models"
_EXACT: Final = 2_000
_SLICES: Final = 25
_COUNTED: Final = 100_000
_LARGEST_ID: Final = 2**63 - 1
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


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


class _ElsewhereError(Exception):
    """Another worker is at it."""


def check(*, scope: Scope, now: datetime) -> None:
    """Refuse a scope that makes no sense, for a preview as for a run.

    Raises:
        RerateRefusedError: the period is empty, reaches ahead or begins before any usage could, a name is longer than apps may
            report, or rates are not named where asked for, or do not exist.
    """
    if scope.until <= scope.since:
        raise RerateRefusedError("The period ends before it begins.")
    if scope.since < EARLIEST:
        raise RerateRefusedError(f"The period begins before {EARLIEST.year}, when nobody could have reported usage.")
    if scope.until > now:
        raise RerateRefusedError("The period ends in the future. What is charged from now on is costed by the catalogue as it is.")
    for column, text in (("provider", scope.provider), ("model", scope.model)):
        if text is not None and not _fits(column, text):
            raise RerateRefusedError(f"No app could report such a {column}: write it as the records have it.")
    if (scope.basis is Basis.RATES) != bool(scope.rate_ids):
        raise RerateRefusedError("Name the rates whose records are to be costed again, and only then.")
    named = {rate_id for rate_id in scope.rate_ids if 0 < rate_id <= _LARGEST_ID}
    if unknown := set(scope.rate_ids) - set(ProviderRate.objects.filter(pk__in=named).values_list("pk", flat=True)):
        raise RerateRefusedError(f"There is no rate {min(unknown)}.")


def _fits(column: str, text: str) -> bool:
    field = Rerating._meta.get_field(column)
    assert isinstance(field, CharField)
    return len(text) <= (field.max_length or 0) and not _UNSTORABLE.search(text)


def request(*, scope: Scope, reason: str, actor: str, now: datetime) -> Rerating:
    """Write down what is to be costed again; a worker, or `run`, does it.

    Raises:
        RerateRefusedError: the scope makes no sense (`check`), or there is no reason that can be kept.
    """
    check(scope=scope, now=now)
    if not reason.strip():
        raise RerateRefusedError("Say why.")
    if not _fits("reason", reason.strip()):
        raise RerateRefusedError("Say why in at most 500 characters.")
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
        position_at=_begin(scope),
    )


def since_of(rate_ids: Iterable[int]) -> datetime | None:
    """Return since when the first of some rates holds, and with it the records that it costed."""
    first: datetime | None = ProviderRate.objects.filter(pk__in=rate_ids).aggregate(first=Min("effective_from"))["first"]
    return first


def _begin(scope: Scope) -> datetime:
    """Return a moment before which no record is concerned: none was costed by a rate before it held, and months may be empty."""
    start = max(scope.since, since_of(_with_corrected(scope.rate_ids)) or scope.since)
    while (month := next_month(month_start(start))) < scope.until:
        if UsageRecord.objects.filter(occurred_at__gte=start, occurred_at__lt=month).exists():
            break
        start = month
    return min(start, scope.until)


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
    """Finish every run that was requested, the oldest first; return how many. Ends where another worker is at it: one does."""
    finished = 0
    for rerating_id in list(Rerating.objects.filter(finished_at=None).order_by("pk").values_list("pk", flat=True)):
        try:
            finished += _finished(rerating_id, clock)
        except _ElsewhereError:
            break
        except Exception:  # it is tried again next time, and holds up no other
            log.exception("re-rating %s has stopped", rerating_id)
    return finished


def _finished(rerating_id: int, clock: Callable[[], datetime]) -> bool:
    """Go on with a run as the one worker; say whether it was this one that finished it."""
    span = _FIRST_SPAN
    while Rerating.objects.filter(pk=rerating_id, finished_at=None).exists():
        now = clock()
        with transaction.atomic():
            _be_the_worker()
            is_open = Rerating.objects.filter(pk=rerating_id, finished_at=None).exists()
            row, span = _step(rerating_id, now, span)
        if row.finished_at is not None:
            return is_open
    return False


def _be_the_worker() -> None:
    """Be the one worker until the transaction ends. Raises _ElsewhereError."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_WORKER_LOCK])
        if not cursor.fetchone()[0]:
            raise _ElsewhereError


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
    adjusted = CostAdjustment.objects.bulk_create([_adjustment(row, verdict, now) for verdict in verdicts if verdict.is_adjusted])
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
    if charged := recosted.charged(adjusted):
        # Last, since it keeps others from deciding about these prices until this chunk is committed.
        advising.note_recosted(charged=charged, now=now)
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


def preview(*, scope: Scope, counts_all: bool = False) -> Preview:
    """Say what a run over `scope` would find, without writing: exactly where it is small, else from a sample over its period.

    Where there are many records only some are counted, unless `counts_all`, which takes its time.
    """
    wanted = costs.unpriced(records(scope)) if scope.basis is Basis.UNPRICED else records(scope)
    most = None if counts_all else _COUNTED
    number = wanted.order_by().count() if most is None else wanted.order_by()[: most + 1].count()
    rows = wanted.order_by() if number <= _EXACT else None
    sample = (
        list(recosting.read(rows)) if rows is not None else [record for part in _slices(wanted, scope) for record in recosting.read(part)]
    )
    verdicts = list(recosting.judge(sample, recosting.newest_adjustments([record.id for record in sample]), price_book.current()))
    records_, looked_at = number if most is None else min(number, most), len(sample)
    differences: dict[str, Decimal] = {}
    for verdict in verdicts:
        if verdict.is_adjusted:
            differences[verdict.currency] = CONTEXT.add(differences.get(verdict.currency, ZERO), verdict.difference)
    share = Decimal(records_) / looked_at if looked_at else ZERO
    return Preview(
        records=records_,
        is_capped=most is not None and number > most,
        looked_at=looked_at,
        newly_priced=round(sum(v.is_newly_priced for v in verdicts) * share),
        adjusted=round(sum(v.is_adjusted for v in verdicts) * share),
        unpriced=round(sum(v.after is None for v in verdicts) * share),
        differences={currency: CONTEXT.multiply(amount, share) for currency, amount in differences.items()},
    )


def _slices(wanted: "QuerySet[UsageRecord]", scope: Scope) -> "Iterator[QuerySet[UsageRecord]]":
    """Yield the first records of equal parts of the period, as far as it has any."""
    begin = _begin(scope)
    length = (scope.until - begin) / _SLICES
    for number in range(_SLICES):
        start = begin + length * number
        yield wanted.filter(occurred_at__gte=start, occurred_at__lt=start + length).order_by()[: _EXACT // _SLICES]
