"""The budgets of a flush: which ones its events count for, read under the locks that keep what is blocked exact.

A blocking budget's window is locked after the wallets, in the order of budget and window, so that flushes never
deadlock; what others spend there waits until our commit. Open holds are summed up as they are, in a statement that begins
after the lock was granted: a hold that ends, ends its reservation. Where no budget applies nothing is asked at all.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import psycopg
from django.db import connection

from billing.budgeting import (
    NOTHING_SET_ASIDE,
    Budget,
    Counted,
    Measure,
    Meter,
    Place,
    SetAside,
    counts_holds,
    opens_at,
    refusing,
    span_of,
    why_refused,
)
from billing.events import MAX_CLOCK_SKEW_SECONDS, Event, Refused
from billing.queries import budget_book
from billing.queries.budget_book import BudgetBook
from billing.queries.budgets import HELD
from config.base.database import array_literal, sync
from config.base.exact import ZERO

_WindowKey = tuple[int, datetime]  # budget, start

_READ_WINDOWS: Final = """
    SELECT w.budget_id, w.starts_at, w.id, w.spent FROM billing_budgetwindow w
    JOIN unnest($1::bigint[], $2::timestamptz[]) AS named (budget_id, starts_at)
      ON w.budget_id = named.budget_id AND w.starts_at = named.starts_at
    ORDER BY w.budget_id, w.starts_at
"""
_OPEN_WINDOWS: Final = """
    INSERT INTO billing_budgetwindow (budget_id, starts_at, ends_at, spent, late)
    SELECT budget_id, starts_at, ends_at, 0, 0
    FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[]) AS named (budget_id, starts_at, ends_at)
    ON CONFLICT (budget_id, starts_at) DO NOTHING
"""
_MOVE: Final = """
    UPDATE billing_budgetwindow w
    SET spent = w.spent + moved.amount, late = w.late + CASE WHEN w.ends_at <= $3::timestamptz THEN moved.amount ELSE 0 END
    FROM unnest($1::bigint[], $2::numeric[]) AS moved (id, amount) WHERE w.id = moved.id
"""


@dataclass(slots=True)
class Gate:
    """The meters of one flush, in two steps: `ask` before the pipeline's sync, `open` after it."""

    raw: "psycopg.Connection[Any]"
    pipeline: psycopg.Pipeline
    now: datetime
    lock: bool
    book: BudgetBook = field(default_factory=budget_book.cached)
    _applying: list[list[Meter]] = field(default_factory=list)
    _latest: dict[int, Meter] = field(default_factory=dict)  # the meter of each budget that the event before fell in
    _meters: dict[_WindowKey, Meter] = field(default_factory=dict)
    _asked: "list[psycopg.Cursor[Any]]" = field(default_factory=list)
    _held: "psycopg.Cursor[Any] | None" = None

    def ask(self, events: Sequence[Event]) -> None:
        """Send the statements for the windows that `events` fall in, if there are any."""
        self._applying, self._latest, self._meters, self._asked, self._held = [], {}, {}, [], None
        if not self.book.budgets:
            return
        self._applying = list(self._meters_of_each(events))
        blocking = sorted(key for key, meter in self._meters.items() if meter.budget.is_blocking)
        others = sorted(key for key, meter in self._meters.items() if not meter.budget.is_blocking)
        if blocking:
            self._asked.append(self._send(_READ_WINDOWS + (" FOR NO KEY UPDATE OF w" if self.lock else ""), blocking))
        if others:
            self._asked.append(self._send(_READ_WINDOWS, others))
        self._ask_held()

    def open(self, events: Sequence[Event], generation: int) -> Sequence[Sequence[Meter]]:
        """Return the meters of each event, as of `generation`; `ask` has been sent and synchronised."""
        if generation != self.book.generation:
            self._fetch()  # what was asked by the older book
            self.book = budget_book.at_generation(generation)
            self.ask(events)
            sync(self.raw, self.pipeline)
        if not self._meters:
            return [()] * len(events)
        self._fetch()
        missing = [meter for meter in self._meters.values() if meter.budget.is_blocking and not meter.window_id]
        if missing and self.lock:
            missing.sort(key=lambda meter: (meter.budget.id, meter.span.starts_at))
            rows = [(meter.budget.id, *meter.span) for meter in missing]
            psycopg.RawCursor(self.raw).execute(_OPEN_WINDOWS, [array_literal(column) for column in zip(*rows, strict=True)])
            keys = [(meter.budget.id, meter.span.starts_at) for meter in missing]
            self._asked.append(self._send(_READ_WINDOWS + " FOR NO KEY UPDATE OF w", keys))
            self._ask_held()
            sync(self.raw, self.pipeline)
            self._fetch()
        return self._applying

    def _meters_of_each(self, events: Sequence[Event]) -> Iterator[list[Meter]]:
        """Yield the meters of each event. Most events of a flush happen in few places and windows: each is looked up once."""
        applying: dict[tuple[object, ...], list[Budget]] = {}
        latest_possible = self.now + timedelta(seconds=MAX_CLOCK_SKEW_SECONDS)
        for event in events:
            at = event.occurred_at or self.now
            if at > latest_possible:
                yield []  # it will be refused, and must not open a window of the future
                continue
            place = place_of(event)
            told_apart = self.book.told_apart(place)
            budgets = applying.get(told_apart)
            if budgets is None:
                budgets = applying[told_apart] = list(self.book.applying(place))
            yield [meter for budget in budgets if (meter := self._meter_at(budget, at))]

    def _meter_at(self, budget: Budget, at: datetime) -> Meter | None:
        latest = self._latest.get(budget.id)
        if latest and latest.span.starts_at <= at < latest.span.ends_at:
            return latest
        span = span_of(budget.window, at, budget.zone)
        if span.starts_at < budget.counts_from:
            return None
        meter = self._latest[budget.id] = self._meters.setdefault((budget.id, span.starts_at), Meter(budget, span))
        return meter

    def _send(self, statement: str, keys: Sequence[_WindowKey]) -> "psycopg.Cursor[Any]":
        columns = [array_literal(column) for column in zip(*keys, strict=True)]
        return psycopg.RawCursor(self.raw).execute(statement, columns, prepare=True)

    def _ask_held(self) -> None:
        reserving = sorted({meter.budget.id for meter in self._meters.values() if counts_holds(meter.budget)})
        if reserving:
            self._held = psycopg.RawCursor(self.raw).execute(HELD, [array_literal(reserving), self.now], prepare=True)

    def _fetch(self) -> None:
        for cursor in self._asked:
            for budget_id, starts_at, window_id, spent in cursor.fetchall():
                if meter := self._meters.get((budget_id, starts_at)):
                    meter.window_id, meter.spent = window_id, spent
        held = {budget_id: (credits, count) for budget_id, credits, count in self._held.fetchall()} if self._held else {}
        for meter in self._meters.values():
            credits, count = held.get(meter.budget.id, (ZERO, 0))
            meter.held = Decimal(count) if meter.budget.measure is Measure.REQUESTS else credits
        self._asked, self._held = [], None


def of_event(event: Event, *, now: datetime) -> Sequence[Meter]:
    """Lock and return the meters of one event, inside a transaction of Django's; wallets are locked by then."""
    book = budget_book.current()
    raw: psycopg.Connection[Any] = connection.connection
    with connection.wrap_database_errors, raw.pipeline() as pipeline:
        gate = Gate(raw, pipeline, now, lock=True, book=book)
        gate.ask([event])
        sync(raw, pipeline)
        [meters] = gate.open([event], book.generation)
    return meters


def refusal(
    meters: Sequence[Meter], counted: Counted, *, is_dated: bool, now: datetime, set_aside: SetAside = NOTHING_SET_ASIDE
) -> Refused | None:
    """Return the refusal of what does not fit a blocking budget, with all that stand in the way, the strictest first.

    `is_dated`: the event says when it occurred. `retry_after` are the seconds until it fits by itself; None: it never will.
    """
    full = refusing(meters, counted, now=now, set_aside=set_aside)
    if not full:
        return None
    amounts = [counted.by(meter.budget.measure) for meter in full]
    opens = [opens_at(meter, amount, is_dated=is_dated, now=now) for meter, amount in zip(full, amounts, strict=True)]
    known = [at for at in opens if at]
    retry_after = math.ceil((max(known) - now).total_seconds()) if len(known) == len(opens) else None
    figures = {"budgets": [meter.standing(now).as_json() for meter in full], "retry_after": retry_after}
    # Told first is what waiting does not help against.
    first = opens.index(None) if None in opens else 0
    return Refused("budget_exceeded", why_refused(full[first], amounts[first], is_dated=is_dated, now=now), figures)


def place_of(event: Event) -> Place:
    """Return where an event happens, as budgets name it."""
    caller = event.caller
    return Place(
        team_id=caller.team_id,
        project_id=caller.project_id,
        api_key_id=caller.api_key_id,
        environment=caller.environment,
        customer=(caller.project_id, caller.environment, event.customer) if event.customer is not None else None,
        user=event.owner.user,
        event=event.event,
        agent_type=event.owner.agent_type,
        model=event.usage.model if event.usage else "",
    )


def move(raw: "psycopg.Connection[Any]", meters: Sequence[Sequence[Meter]], now: datetime) -> None:
    """Send what a flush adds to the windows of blocking budgets, inside the caller's pipeline."""
    moved = {meter.window_id: meter.added for applying in meters for meter in applying if meter.added and meter.budget.is_blocking}
    if moved:
        psycopg.RawCursor(raw).execute(_MOVE, [array_literal(list(moved)), array_literal(list(moved.values())), now], prepare=True)
