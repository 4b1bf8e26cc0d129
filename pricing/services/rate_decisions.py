"""Deciding about the lines of an import: only here do rates enter the catalogue.

A rate that was used is a fact: accepting a change ends the rate in force, once, and adds the next one. Where a change is dated in
the past, what was charged since keeps the cost that was recorded; pricing it anew is another act, and writes adjustments. A rate
that begins no earlier than the change would is not rewritten: the change then holds from its acceptance.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Final

from django.contrib.auth.models import User
from django.db import connection, transaction
from simple_history.utils import bulk_create_with_history, bulk_update_with_history

from pricing.feeds.diff import Kind
from pricing.feeds.statement import Figure, ModelName, SeriesKey
from pricing.locks import take_rates_lock_sql
from pricing.models import ChangeState, ProviderModel, ProviderRate, RateChange, RateImport, RateSeries
from pricing.queries import rate_imports
from pricing.services.rate_imports import BATCH, batched, supersede
from pricing.services.refusals import GuardedLineError, LineDecidedError, RateRefusedError, StaleLineError
from pricing.units import UnitKind

# Rows by one statement each: a line or a rate gets a value of its own.
_END_RATES: Final = """
    UPDATE pricing_providerrate SET effective_to = given.effective_to
    FROM unnest(%s::bigint[], %s::timestamptz[]) AS given (id, effective_to) WHERE pricing_providerrate.id = given.id
"""
_ACCEPT_LINES: Final = """
    UPDATE pricing_ratechange SET state = 'accepted', rate_id = given.rate_id, decided_by_id = %s, decided_at = %s, decision_reason = %s
    FROM unnest(%s::bigint[], %s::bigint[]) AS given (id, rate_id) WHERE pricing_ratechange.id = given.id
"""
_AGAIN: Final = "Compare the feed again, with the button on the page of its import."


@dataclass(frozen=True, slots=True)
class Accepted:
    """How many lines were accepted, how many of them hold for a time that is past, and which could not be, and why."""

    count: int
    past: int
    refused: tuple[tuple[RateChange, str], ...]


@transaction.atomic
def accept(*, change: RateChange, reason: str, actor: User, now: datetime) -> ProviderRate | None:
    """Take one line over into the catalogue, a guarded one too; return the rate that it added or ended.

    Raises:
        LineDecidedError: it is decided already.
        GuardedLineError: a guard holds it back and no reason is given.
        StaleLineError: the catalogue has changed since the feed was compared.
    """
    [line] = _locked([change.pk])
    if line.guards and not reason.strip():
        raise GuardedLineError("A guard holds this line back: say why it is right all the same.")
    done = _take_over([line], reason=reason.strip(), actor=actor, now=now)
    for _, why in done.refused:
        raise StaleLineError(why)
    change.refresh_from_db()
    return change.rate


@transaction.atomic
def accept_unguarded(*, rate_import: RateImport, reason: str = "", actor: User | None, now: datetime) -> Accepted:
    """Take over every waiting line of an import that no guard holds back. What the catalogue contradicts by now keeps waiting."""
    _take_lock()
    lines = rate_imports.pending().filter(rate_import=rate_import, guards=[]).order_by("id").select_for_update()
    accepted = _take_over(list(lines), reason=reason.strip(), actor=actor, now=now)
    _count_anew()
    return accepted


def _count_anew() -> None:
    """Tell the planner of thousands of new rates at once: charges read the whole catalogue next, and time out by an old plan."""
    tables = ", ".join(model._meta.db_table for model in (ProviderModel, RateSeries, ProviderRate))
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {tables}")


@transaction.atomic
def reject(*, changes: Sequence[int], reason: str, actor: User, now: datetime) -> int:
    """Decide against lines, by their ids; the same difference is not proposed again.

    Raises:
        LineDecidedError: one of them is decided already.
        RateRefusedError: no reason is given.
    """
    if not reason.strip():
        raise RateRefusedError("Say why the feed is not followed: whoever looks next will ask.")
    lines = _locked(changes)
    for some in batched([line.pk for line in lines], BATCH):
        RateChange.objects.filter(pk__in=some).update(
            state=ChangeState.REJECTED, decided_by=actor, decided_at=now, decision_reason=reason.strip()
        )
    return len(lines)


def _take_lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute(take_rates_lock_sql)


def _locked(ids: Sequence[int]) -> list[RateChange]:
    _take_lock()
    lines = list(RateChange.objects.filter(pk__in=ids).order_by("id").select_for_update())
    if decided := [line for line in lines if line.state != ChangeState.PENDING]:
        what_next = _AGAIN if decided[0].state == ChangeState.SUPERSEDED else "Load the page again."
        raise LineDecidedError(f"{decided[0]} is {decided[0].get_state_display().lower()} already. {what_next}")
    return lines


@dataclass(slots=True)
class _Plan:
    """What is to be written."""

    added: list[ProviderRate] = field(default_factory=list)
    ended: list[ProviderRate] = field(default_factory=list)
    of_line: list[tuple[RateChange, ProviderRate | None]] = field(default_factory=list)
    refused: list[tuple[RateChange, str]] = field(default_factory=list)


def _take_over(lines: list[RateChange], *, reason: str, actor: User | None, now: datetime) -> Accepted:
    models = _models(lines, now)
    series = _series([line for line in lines if line.unit_kind], models)
    rates: dict[int, list[ProviderRate]] = defaultdict(list)
    for rate in ProviderRate.objects.filter(series__in=series.values(), voided_at=None).order_by("effective_from"):
        rates[rate.series_id].append(rate)
    plan = _Plan()
    # A series' periods in the order of time: each ends the one before.
    for line in sorted(lines, key=lambda line: line.effective_from or now):
        key = rate_imports.series_key(line)
        if key is None:
            plan.of_line.append((line, None))
        elif why := _place(plan, line, series[key], rates[series[key].pk], now=now, by=actor):
            plan.refused.append((line, why))
    _write(plan, reason=reason, actor=actor, now=now)
    _supersede_settled(plan, now)
    past = sum(
        1 for line, _ in plan.of_line if line.kind in {Kind.CHANGED, Kind.ENDED} and line.effective_from and line.effective_from < now
    )
    return Accepted(len(plan.of_line), past, tuple(plan.refused))


def _place(plan: _Plan, line: RateChange, series: RateSeries, rates: list[ProviderRate], *, now: datetime, by: User | None) -> str:
    """Plan what the line does to its series; return why it cannot be done, if so."""
    start = line.effective_from or now
    present = _in_force(rates, start)
    if present is not None and line.kind != Kind.NEW and start <= present.effective_from:
        start = now  # the same moment twice: what began then stays, and ends now
    following = next((rate for rate in rates if rate.effective_from >= start and rate is not present), None)
    if why := _obstacle(line, start, present, following, now):
        return why
    if present is not None:
        present.effective_to = start
        if present.pk:
            plan.ended.append(present)
    if line.kind == Kind.ENDED:
        plan.of_line.append((line, present))
        return ""
    stated = line.theirs
    assert stated is not None, "the database asks a price of every line that adds a rate"
    ends = [end for end in (line.effective_to, following and following.effective_from) if end]
    rate = ProviderRate(
        series=series,
        price=stated.price,
        per=stated.per,
        currency=stated.currency,
        effective_from=start,
        effective_to=min(ends, default=None),
        source=line.source,
        source_detail=line.detail,
        verified_by=by if line.guards else None,
        created_at=now,
    )
    rates.append(rate)
    rates.sort(key=lambda rate: rate.effective_from)
    plan.added.append(rate)
    plan.of_line.append((line, rate))
    return ""


def _in_force(rates: list[ProviderRate], at: datetime) -> ProviderRate | None:
    return next((r for r in rates if r.effective_from <= at and (r.effective_to is None or at < r.effective_to)), None)


def _obstacle(line: RateChange, start: datetime, present: ProviderRate | None, following: ProviderRate | None, now: datetime) -> str:
    """Say why the line cannot be taken over, with what can be done; empty where it can."""
    then = None if present is None else Figure(present.price, present.per, present.currency)
    if line.kind in {Kind.CHANGED, Kind.ENDED} and then != line.ours:
        return f"The catalogue has changed since this was compared: {line} no longer costs what the line says. {_AGAIN}"
    if (line.kind == Kind.NEW and present is not None) or (following is not None and following.effective_from == start):
        return f"The catalogue has a price of {line} by now. {_AGAIN}"
    if present is not None and present.effective_to is not None and present.effective_to <= now:
        return f"The price of {line} has ended on {present.effective_to:%Y-%m-%d}, after the line would begin. {_AGAIN}"
    if present is not None and present.effective_to is not None:
        return f"The price of {line} ends on {present.effective_to:%Y-%m-%d} as announced, and that stays. The next one can start then."
    if present is not None and start <= present.effective_from:
        return f"The price of {line} starts only on {present.effective_from:%Y-%m-%d}. Accept this line after that."
    return ""


def _write(plan: _Plan, *, reason: str, actor: User | None, now: datetime) -> None:
    with connection.cursor() as cursor:
        for ended in batched(plan.ended, BATCH):  # first, so that no moment has two rates
            cursor.execute(_END_RATES, [[rate.pk for rate in ended], [rate.effective_to for rate in ended]])
        ProviderRate.objects.bulk_create(plan.added, batch_size=BATCH)
        for some in batched(plan.of_line, BATCH):
            ids, rates = [line.pk for line, _ in some], [rate and rate.pk for _, rate in some]
            cursor.execute(_ACCEPT_LINES, [actor.pk if actor else None, now, reason, ids, rates])


def _supersede_settled(plan: _Plan, now: datetime) -> None:
    """Close what other feeds wait with for the same series: it was compared with a price that is over."""
    keys = {rate_imports.series_key(line) for line, _ in plan.of_line if line.kind in {Kind.CHANGED, Kind.ENDED}}
    if not keys:
        return
    models = {line.model for line, _ in plan.of_line}
    waiting = [row for row in rate_imports.pending().filter(model__in=models) if rate_imports.series_key(row) in keys]
    settled = [row.pk for row in waiting if row.kind in {Kind.CHANGED, Kind.ENDED}]
    supersede(settled, now=now)


def _models(lines: Iterable[RateChange], now: datetime) -> dict[ModelName, ProviderModel]:
    """Return the models of the lines: those that are missing are made, names that are missing are added."""
    by_model = {ModelName(*key): list(rows) for key, rows in groupby(sorted(lines, key=_owner), key=_owner)}
    known = {
        ModelName(row.provider, row.name): row
        for row in ProviderModel.objects.filter(provider__in={model.provider for model in by_model})
        if (row.provider, row.name) in by_model
    }
    missing = [
        ProviderModel(provider=model.provider, name=model.name, aliases=max((row.aliases for row in rows), key=len))
        for model, rows in by_model.items()
        if model not in known
    ]
    renamed = []
    for model, row in known.items():
        names = [name for line in by_model[model] if line.kind == Kind.ALIAS for name in line.aliases if name not in row.aliases]
        if names:
            row.aliases = [*row.aliases, *dict.fromkeys(names)]
            renamed.append(row)
    why = f"import from {next((line.source for rows in by_model.values() for line in rows), '')}"
    made = (
        bulk_create_with_history(missing, ProviderModel, batch_size=BATCH, default_change_reason=why, default_date=now) if missing else []
    )
    if renamed:
        bulk_update_with_history(renamed, ProviderModel, ["aliases"], batch_size=BATCH, default_change_reason=why, default_date=now)
    return known | {ModelName(row.provider, row.name): row for row in made}


def _owner(line: RateChange) -> tuple[str, str]:
    return line.provider, line.model


def _series(lines: Iterable[RateChange], models: dict[ModelName, ProviderModel]) -> dict[SeriesKey, RateSeries]:
    """Return the series of the lines; those that are missing are made."""
    keys = {key for line in lines if (key := rate_imports.series_key(line))}
    owners = {row.pk: name for name, row in models.items()}
    known = {_key(owners[row.provider_model_id], row): row for row in RateSeries.objects.filter(provider_model__in=owners)}
    made = RateSeries.objects.bulk_create(
        [
            RateSeries(
                provider_model=models[key.owner],
                unit_kind=key.unit.value,
                service_tier=key.service_tier,
                is_batch=key.is_batch,
                context_threshold=key.context_threshold,
            )
            for key in sorted(keys - known.keys())
        ],
        batch_size=BATCH,
    )
    return known | {_key(owners[row.provider_model_id], row): row for row in made}


def _key(model: ModelName, row: RateSeries) -> SeriesKey:
    return SeriesKey(model.provider, model.name, UnitKind(row.unit_kind), row.service_tier, row.is_batch, row.context_threshold)
