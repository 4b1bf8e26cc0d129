"""What a charge must know, read under the locks that keep it true until the commit.

The statements travel in one pipeline, one round trip unless late events get on, but each is a statement of its own: lots,
holds and keys are read by statements that begin after the wallet locks were granted, and so see what the flush before has
committed. A join in the locking statement would return the lots as they were before the wait.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import psycopg

from billing.allocation import OpenLot
from billing.budgeting import Meter
from billing.events import Event
from billing.metering import HoldState, WalletState
from billing.services import replay
from billing.services.budget_gate import Gate
from config.base.database import array_literal, sync
from pricing import price_book
from pricing.locks import share_prices_lock_sql
from pricing.price_book import PriceBook

CustomerKey: TypeAlias = tuple[int, str, str]  # project id, environment, the app's own id
Boarding: TypeAlias = Callable[[int], Sequence[Event]]  # from how many there is room for to those who came

MAX_LATE = 64


@dataclass(slots=True)
class State:
    """The state of everything that a flush touches."""

    book: PriceBook
    keys_generation: int
    wallets: dict[CustomerKey, WalletState]
    holds: dict[int, HoldState]
    earlier: dict[tuple[int, str], replay.Earlier]
    record_ids: Sequence[int]
    meters: Sequence[Sequence[Meter]]  # of each event


# A customer is named by its natural key, so that locking needs no look-up before it.
_NAMED = """
    FROM billing_wallet w
    JOIN billing_customer c ON c.id = w.customer_id
    JOIN unnest($1::bigint[], $2::text[], $3::text[]) AS named (project_id, environment, external_id)
      ON c.project_id = named.project_id AND c.environment = named.environment AND c.external_id = named.external_id
"""
_READ_WALLETS = f"""
    SELECT c.project_id, c.environment, c.external_id, w.id, w.customer_id, c.plan, w.balance, w.held, w.overdraft_limit, w.status
    {_NAMED} ORDER BY w.id
"""
_READ_LOTS = f"""
    SELECT l.wallet_id, l.id, l.kind, l.remaining, l.value_remaining, l.unit_value, l.priority, l.expires_at
    FROM billing_lot l WHERE l.wallet_id IN (SELECT w.id {_NAMED}) AND (l.is_open OR l.kind = 'overdraft')
"""
_READ_HOLDS = (
    "SELECT id, wallet_id, api_key_id, event_type_id, credits, status, expires_at FROM billing_hold"
    " WHERE id = ANY($1::bigint[]) AND project_id = ANY($2::bigint[])"
)
_TAKE_IDS = f"{share_prices_lock_sql}, ARRAY(SELECT nextval('billing_effect_seq') FROM generate_series(1, $1::int))"
# Beside them the generations of the caches, read after the prices lock was granted; one row at least, for their sake.
_READ_KEYS = f"""
    SELECT g.values, k.* FROM (SELECT coalesce(json_object_agg(name, value), '{{}}') AS values FROM base_generation) g
    LEFT JOIN ({replay.FIND_KEYS}) k ON true
"""
_OVERDUE = "wallet_id = ANY($1::bigint[]) AND status = 'open' AND expires_at <= $2::timestamptz"
_EXPIRE_HOLDS = f"UPDATE billing_hold SET status = 'expired', ended_at = $2::timestamptz WHERE {_OVERDUE} RETURNING wallet_id, credits"
_FIND_OVERDUE_HOLDS = f"SELECT wallet_id, credits FROM billing_hold WHERE {_OVERDUE}"


def read(raw: "psycopg.Connection[Any]", pipeline: psycopg.Pipeline, events: Sequence[Event], now: datetime) -> State:
    """Read what `events` touch, inside the caller's pipeline and transaction, without a lock."""
    return _read(raw, pipeline, list(events), now, lock=False, boarding=None)


def read_locked(
    raw: "psycopg.Connection[Any]", pipeline: psycopg.Pipeline, events: list[Event], now: datetime, boarding: Boarding | None
) -> State:
    """Read as `read` does, with the wallets locked in the order of their ids.

    When all events are of one customer, `boarding` is asked for more of this customer once the wallet is locked, and
    `events` grows by them: those who came while others held a busy wallet need not wait for the next turn.
    """
    return _read(raw, pipeline, events, now, lock=True, boarding=boarding)


def _read(
    raw: "psycopg.Connection[Any]",
    pipeline: psycopg.Pipeline,
    events: list[Event],
    now: datetime,
    *,
    lock: bool,
    boarding: Boarding | None,
) -> State:
    customers = sorted({(e.caller.project_id, e.caller.environment, e.customer) for e in events if e.customer is not None})
    named = [array_literal(column) for column in zip(*customers, strict=True)] or ["{}", "{}", "{}"]
    # A lone event finds a free wallet more often than company.
    late = MAX_LATE if boarding and len(customers) == 1 and len(events) > 1 else 0

    ids = _ask(raw, _TAKE_IDS, [len(events) + late if lock else 0])
    wallets = _ask(raw, _READ_WALLETS + (" FOR UPDATE OF w" if lock else ""), named)
    if boarding and late:
        sync(raw, pipeline)
        events += boarding(late)
    keys = sorted({(e.caller.project_id, e.idempotency_key) for e in events})
    captures = [e.capture.hold_id for e in events if e.capture]
    lots = _ask(raw, _READ_LOTS, named)
    # Planned each time: a plan from when there were few keys would read the whole table, which grows with every event.
    earlier = _ask(raw, _READ_KEYS, [array_literal(column) for column in zip(*keys, strict=True)], prepare=False)
    projects = sorted({project_id for project_id, _ in keys})
    holds = _ask(raw, _READ_HOLDS, [array_literal(captures), array_literal(projects)]) if captures else None
    gate = Gate(raw, pipeline, now, lock)
    gate.ask(events)

    # After a sync the server waits for us as it does between statements: should this process stand still now, the session
    # is ended by idle_in_transaction_session_timeout and the locks are free. Without one it would wait for ever.
    sync(raw, pipeline)

    [(_, record_ids)] = ids.fetchall()
    rows = earlier.fetchall()
    generation, again = rows[0][0], [row[1:] for row in rows if row[1] is not None]
    prices = generation.get("prices", 0)
    by_key = {
        (project, environment, external_id): WalletState(wallet_id, customer_id, plan, balance, held, limit, status == "frozen")
        for project, environment, external_id, wallet_id, customer_id, plan, balance, held, limit, status in wallets.fetchall()
    }
    by_id = {wallet.id: wallet for wallet in by_key.values()}
    for wallet_id, *lot in lots.fetchall():
        # A wallet made between the two statements is not ours.
        if wallet_id in by_id:
            by_id[wallet_id].lots.append(OpenLot(*lot))
    holding = any(wallet.held for wallet in by_id.values())
    asks_more = bool(again) or holding or not price_book.is_loaded(prices)
    if holding:
        _give_back_expired_holds(raw, by_id, now, lock=lock)
    for wallet in by_id.values():
        wallet.settle_view(now)
    state = State(
        book=price_book.at_generation(prices),
        keys_generation=generation.get("keys", 0),
        wallets=by_key,
        holds={row[0]: HoldState(*row) for row in holds.fetchall()} if holds else {},
        earlier=replay.with_answers(again),
        record_ids=record_ids or [0],
        meters=gate.open(events, generation.get("budgets", 0)),
    )
    if asks_more:
        sync(raw, pipeline)
    return state


def _ask(raw: "psycopg.Connection[Any]", statement: str, parameters: Sequence[Any], *, prepare: bool = True) -> "psycopg.Cursor[Any]":
    """Send a statement; its rows are there when they are fetched."""
    return psycopg.RawCursor(raw).execute(statement, parameters, prepare=prepare)


def _give_back_expired_holds(raw: "psycopg.Connection[Any]", wallets: dict[int, WalletState], now: datetime, *, lock: bool) -> None:
    """Let holds past their time go now: nobody is refused because the sweep has not come round yet.

    Without `lock` nothing is written; the wallets are read as if it were.
    """
    holding = array_literal([wallet.id for wallet in wallets.values() if wallet.held])
    overdue = _ask(raw, _EXPIRE_HOLDS, [holding, now]) if lock else _ask(raw, _FIND_OVERDUE_HOLDS, [holding, now])
    for wallet_id, credits in overdue.fetchall():
        wallets[wallet_id].held -= credits
