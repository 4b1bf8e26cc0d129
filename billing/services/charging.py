"""Where a charge is made: the one door through which usage becomes ledger entries.

`charge(events)` takes any number of events, a single call being a batch of one, and answers each of them. A flush is one
transaction with a fixed number of statements:

1. share the prices lock, so that no price changes under the charge, and read the generations of the caches;
2. lock the wallets in the order of their ids, so that flushes never deadlock, then the windows of blocking budgets
   (`budget_gate`);
3. read lots, holds and idempotency keys in statements of their own: only those begin after the locks were granted and
   see what the flush before has committed (a join in the locking statement would return the lots as they were before
   the wait);
4. decide, in Python (`billing.metering`), event by event;
5. in one statement (`rows`), claim the idempotency keys and write usage records and entries. The trigger on entries moves
   lots and wallets by the sums. If another transaction has just claimed one of the keys, this fails: start again, and
   find it as a duplicate.

The statements of 1 to 3 (`locked_read`) travel together, as do 5 and the commit: two round trips, three where late events
get on. The answer is given after the commit. Balance = lots = entries holds by construction (`post_entries`), overspending is refused
by `lot_is_neither_overspent_nor_overfull`, both proven again by the ledger check.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zlib import crc32

import psycopg
from django.db import connection

from billing.budgeting import NOTHING_SET_ASIDE, Counted, Meter, SetAside, own_part
from billing.errors import UnknownCustomer
from billing.events import MAX_CLOCK_SKEW_SECONDS, Charged, Event, LotPart, Refused, Result
from billing.metering import HoldState, Payment, WalletState, capture, most_that_is_charged, pay
from billing.models import IdempotencyKey
from billing.services import budget_gate, replay
from billing.services.locked_read import MAX_LATE, Boarding, State, read, read_locked
from billing.services.rows import Rows, entry_row, record_row, write
from config.base.database import retrying, sync
from config.base.exact import MAX_CREDITS, ZERO
from pricing.cost import Cost
from pricing.price import Price, Rated
from pricing.price_book import EventTypeRow
from pricing.rating import rate

# Larger flushes gain nothing more and hold their wallet locks longer.
MAX_EVENTS = 1_000
PART_EVENTS = 250


class KeyTaken(Exception):
    """Another transaction claimed one of our idempotency keys after we looked: look again."""


STALE_KEY = Refused("in_progress", "The API key was changed while the call was under way. Send it again.")


def charge(events: Sequence[Event], *, now: datetime, boarding: Boarding | None = None) -> list[Result]:
    """Price, charge and record `events` (at most 1,000), each by itself; return one result per event, in their order.

    `boarding`, if given, is asked for late ones (`locked_read`), whose results follow.

    A refused event leaves nothing behind. Same key and same body again: the original result with `replayed` set.
    Refusals (`Refused.code`): insufficient_credits, wallet_frozen, unknown_customer, unknown_event_type, no_price,
    idempotency_mismatch, invalid_request, unknown_hold, hold_ended, budget_exceeded, in_progress.
    Raises OperationalError when the database is away or too busy. Send the events again: should the connection have gone
    while it committed, they are found by their keys.
    """
    assert len(events) <= MAX_EVENTS - (MAX_LATE if boarding else 0), "split before charging"
    aboard = list(events)
    return retrying(lambda: _flush(aboard, now, boarding), also=(KeyTaken,)) if aboard else []


def charge_batch(events: Sequence[Event], *, now: datetime) -> list[Result]:
    """Charge as `charge` does, in parts of about 250 events, dealt by customer; events under one key stay together.

    Two batches with wallets in common so take turns part by part, one on each core, and not whole.
    Raises OperationalError when the database is away: what was recorded by then is found again by its key.
    """
    parts = _parts(events)
    results = {
        position: result for part in parts for position, result in zip(part, charge([events[i] for i in part], now=now), strict=True)
    }
    return [results[position] for position in range(len(events))]


def _parts(events: Sequence[Event]) -> list[list[int]]:
    """Deal the positions of `events` into parts, the same ones in every process; one key and one customer stay together."""
    count = -(-len(events) // PART_EVENTS)
    parts: list[list[int]] = [[] for _ in range(count)]
    by_key: dict[str, int] = {}
    for position, event in enumerate(events):
        part = by_key.setdefault(event.idempotency_key, crc32((event.customer or "").encode()) % count)
        parts[part].append(position)
    return [part for part in parts if part]


def estimate(event: Event, *, now: datetime) -> Result:
    """Answer as `charge` would, and write nothing."""
    raw = _raw_connection()
    with connection.wrap_database_errors, raw.pipeline() as pipeline, raw.transaction(force_rollback=True):
        flush = _Flush(read(raw, pipeline, [event], now), now)
        return flush.decide(event, flush.state.meters[0])


def _flush(events: list[Event], now: datetime, boarding: Boarding | None) -> list[Result]:
    raw = _raw_connection()
    # What goes wrong below Django must look as from Django: callers tell "away" from "wrong" by it, and a connection
    # that broke is noticed and replaced.
    with connection.wrap_database_errors, _commit_at_once(raw), raw.pipeline() as pipeline, raw.transaction():
        flush = _Flush(read_locked(raw, pipeline, events, now, boarding), now)
        results = [flush.decide(event, meters) for event, meters in zip(events, flush.state.meters, strict=True)]
        if flush.rows.keys:
            budget_gate.move(raw, flush.state.meters, now)
            write(raw, flush.rows, now)
            if connection.in_atomic_block:
                sync(raw, pipeline)  # so that an error shows here, where only our part of the transaction is undone
        return results


@contextmanager
def _commit_at_once(raw: "psycopg.Connection[Any]") -> Iterator[None]:
    """Let the commit travel with the last statement. If that fails, the commit is skipped: roll back."""
    try:
        yield
    except psycopg.Error as error:
        if not (raw.closed or connection.in_atomic_block):
            raw.rollback()
        if isinstance(error, psycopg.errors.UniqueViolation) and error.diag.table_name == IdempotencyKey._meta.db_table:
            raise KeyTaken from error
        raise


def _raw_connection() -> "psycopg.Connection[Any]":
    """Return this thread's connection under Django's, whose cursor has neither pipelines nor prepared statements."""
    connection.ensure_connection()
    raw: psycopg.Connection[Any] = connection.connection
    return raw


@dataclass(slots=True)
class _Flush:
    """The decisions of one transaction, and the rows that they come to."""

    state: State
    now: datetime
    rows: Rows = field(default_factory=Rows)
    done: dict[tuple[int, str], tuple[bytes, Charged]] = field(default_factory=dict)

    def decide(self, event: Event, meters: Sequence[Meter]) -> Result:
        result = self._decide(event, meters)
        if meters and isinstance(result, Charged):
            return result._replace(budgets=tuple(meter.standing(self.now) for meter in meters))
        return result

    def _decide(self, event: Event, meters: Sequence[Meter]) -> Result:
        generation = event.caller.generation
        if generation is not None and generation != self.state.keys_generation:
            return STALE_KEY
        if (again := self._seen_before(event)) is not None:
            return again
        kind = self.state.book.event_types.get(event.event)
        if kind is None or not kind.is_active:
            unknown = f"There is no active event type {event.event!r}. Create it in the admin under Event types."
            return Refused("unknown_event_type", unknown)
        occurred_at = event.occurred_at or self.now
        if occurred_at > self.now + timedelta(seconds=MAX_CLOCK_SKEW_SECONDS):
            return _invalid("occurred_at", "lies in the future; report actions after they happened")
        cost = self.state.book.cost_of(
            event.usage, service_tier=event.route.service_tier, is_batch=event.route.batch, at=occurred_at, reported=event.provider_cost
        )
        if event.customer is None:
            return self._take_in(event, kind, occurred_at, cost, meters)
        return self._charge(event, kind, occurred_at, cost, meters)

    def _seen_before(self, event: Event) -> Result | None:
        key = (event.caller.project_id, event.idempotency_key)
        if key in self.done:
            body_hash, charged = self.done[key]
            return replay.again(charged) if body_hash == event.body_hash else replay.MISMATCH
        earlier = self.state.earlier.get(key)
        if earlier is None:
            return None
        return earlier.answer(event.body_hash)

    def _take_in(self, event: Event, kind: EventTypeRow, occurred_at: datetime, cost: Cost, meters: Sequence[Meter]) -> Result:
        """Record internal usage: no wallet pays, and budgets count it."""
        counted = Counted(ZERO, self._in_book_currency(cost), event.usage)
        if refused := budget_gate.refusal(meters, counted, is_dated=event.occurred_at is not None, now=self.now):
            return refused
        for meter in meters:
            meter.count(counted.by(meter.budget.measure))
        return self._record(event, kind, occurred_at, cost, None, None, None)

    def _charge(self, event: Event, kind: EventTypeRow, occurred_at: datetime, cost: Cost, meters: Sequence[Meter]) -> Result:
        caller, customer = event.caller, event.customer
        assert customer is not None, "internal usage is recorded without a charge"
        wallet = self.state.wallets.get((caller.project_id, caller.environment, customer))
        if wallet is None:
            unknown = UnknownCustomer(customer, caller.environment)
            return Refused(unknown.code, unknown.detail)
        price = self.state.book.price_for(event_type_id=kind.id, customer_key=_price_key(event), plan=wallet.plan, at=occurred_at)
        if price is None:
            return Refused(
                "no_price",
                f"No price of {event.event!r} was in force at {occurred_at.isoformat()}. Publish one in the admin under Price rules.",
            )
        rated = rate(price, quantity=event.quantity, usage=event.usage)
        if rated.credits > MAX_CREDITS:
            return _invalid("quantity", "makes the action cost more credits than can be recorded; report it in parts")
        hold = self.state.holds.get(event.capture.hold_id) if event.capture else None
        set_aside = _set_aside(hold, event, kind) if hold and hold.is_open(self.now) else NOTHING_SET_ASIDE
        most = most_that_is_charged(wallet, event, rated.credits, set_aside.credits)
        counted = Counted(most, self._in_book_currency(cost), event.usage)
        if refused := budget_gate.refusal(meters, counted, is_dated=event.occurred_at is not None, now=self.now, set_aside=set_aside):
            return refused
        credits, now = rated.credits, self.now
        payment = capture(wallet, hold, event, credits, now=now) if event.capture else pay(wallet, credits, now=now)
        if isinstance(payment, Refused):
            return payment
        if payment.waived:
            rated = Rated(payment.credits, (*rated.lines, payment.waived))
        for meter in meters:
            meter.count(counted.by(meter.budget.measure), own_part(meter.budget, set_aside))
        return self._record(event, kind, occurred_at, cost, wallet, (price, rated), payment)

    def _in_book_currency(self, cost: Cost) -> Decimal | None:
        return cost.amount if cost.currency == self.state.book.workspace.currency else None

    def _record(
        self,
        event: Event,
        kind: EventTypeRow,
        occurred_at: datetime,
        cost: Cost,
        wallet: WalletState | None,
        priced: tuple[Price, Rated] | None,
        payment: Payment | None,
    ) -> Charged:
        price, rated = priced or (None, None)
        charged = Charged(
            record_id=self.state.record_ids[len(self.rows.keys)],
            event=event.event,
            customer=event.customer,
            credits=rated.credits if rated else ZERO,
            balance=wallet.balance if wallet else None,
            available=wallet.available if wallet else None,
            rule=price.rule if price else None,
            version=price.version if price else None,
            price_lines=rated.lines_as_json if rated else [],
            lots=tuple(LotPart(m.lot_id, -m.credits) for m in payment.movements) if payment else (),
            cost=cost,
            occurred_at=occurred_at,
            recorded_at=self.now,
            request_id=event.request_id,
            hold_id=event.capture.hold_id if event.capture else None,
        )
        key = (event.caller.project_id, event.idempotency_key)
        self.done[key] = (event.body_hash, charged)
        self.rows.keys.append((*key, "event", event.body_hash, charged.record_id, occurred_at))
        self.rows.records.append(record_row(event, charged, kind.id, wallet, price))
        if wallet and price and payment:
            self._enter(event, charged, kind.id, wallet, price, payment)
        return charged

    def _enter(self, event: Event, charged: Charged, event_type_id: int, wallet: WalletState, price: Price, payment: Payment) -> None:
        balance = wallet.balance + payment.credits
        for position, movement in enumerate(payment.movements):
            balance += movement.credits
            provider_cost = charged.cost.amount if position == 0 else None
            self.rows.entries.append(entry_row(event, charged, event_type_id, wallet.id, price, movement, provider_cost, balance))
        if event.capture:
            self.rows.captures.append((event.capture.hold_id, payment.credits, charged.record_id))
        if payment.credit_limit is not None:
            overdraft = wallet.overdraft
            assert overdraft is not None
            self.rows.credit_limits[overdraft.id] = payment.credit_limit


def _invalid(field: str, message: str) -> Refused:
    return Refused("invalid_request", f"{field} {message}.", {"errors": [{"field": field, "message": message}]})


def _set_aside(hold: HoldState, event: Event, kind: EventTypeRow) -> SetAside:
    """Return what `hold` holds for its capture `event`, which another key may report, and as another action."""
    differs = {"api_key_id": hold.api_key_id != event.caller.api_key_id, "event": hold.event_type_id != kind.id}
    return SetAside(hold.credits, frozenset(name for name, is_other in differs.items() if is_other))


def _price_key(event: Event) -> str:
    caller = event.caller
    suffix = "" if caller.environment == "production" else f"@{caller.environment}"
    return f"{caller.project_key}/{event.customer}{suffix}"
