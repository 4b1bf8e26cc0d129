"""Replaying wallets: who could not have paid for what they did, had some of their charges been larger."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db import connection

from config.base.exact import ZERO

MOST: Final = 50
_CHUNK: Final = 2_000


@dataclass(frozen=True, slots=True)
class DryWallet:
    """A wallet that would have run dry `at` a moment when in fact it held `balance` after paying."""

    customer_id: int
    balance: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class RunDry:
    """How many wallets, and the first `MOST` of them by time."""

    count: int
    first: tuple[DryWallet, ...]


# The lowest balance says which wallets can run dry at all; only those are gone through entry by entry.
_LOWEST = """
    SELECT w.customer_id, w.id, w.overdraft_limit, min(e.balance_after)
    FROM billing_wallet w JOIN billing_ledgerentry e ON e.wallet_id = w.id
    WHERE w.customer_id = ANY(%(customers)s) AND e.recorded_at >= %(start)s AND e.recorded_at < %(end)s
    GROUP BY w.id
"""
_ENTRIES = """
    SELECT e.wallet_id, e.transaction_id, e.balance_after, e.recorded_at FROM billing_ledgerentry e
    WHERE e.wallet_id = ANY(%(wallets)s) AND e.kind = 'charge' AND e.recorded_at >= %(start)s AND e.recorded_at < %(end)s
    ORDER BY e.wallet_id, e.id
"""


def run_dry(extra: Mapping[int, Decimal], *, customers: Mapping[int, Decimal], start: datetime, end: datetime) -> RunDry:
    """Return the wallets that some charge in `[start, end)` would have taken below their overdraft limit.

    `extra` are the credits that a charge would have cost more (negative: less), by usage record. `customers` are the
    only ones that are looked at, each with the most that their wallet could have held less at any moment.
    """
    period = {"start": start, "end": end}
    limits = {}
    with connection.cursor() as cursor:
        cursor.execute(_LOWEST, {"customers": list(customers), **period})
        for customer_id, wallet_id, limit, lowest in cursor.fetchall():
            if lowest - customers[customer_id] < -limit:
                limits[wallet_id] = (customer_id, limit)
    dry: dict[int, DryWallet] = {}
    spent: dict[int, Decimal] = dict.fromkeys(limits, ZERO)
    seen = 0
    with connection.chunked_cursor() as cursor:
        cursor.execute(_ENTRIES, {"wallets": list(limits), **period})
        while rows := cursor.fetchmany(_CHUNK):
            for wallet_id, transaction_id, balance, at in rows:
                if transaction_id != seen:  # a charge may have several entries, one after the other
                    spent[wallet_id] += extra.get(transaction_id, ZERO)
                    seen = transaction_id
                customer_id, limit = limits[wallet_id]
                if wallet_id not in dry and balance - spent[wallet_id] < -limit <= balance:
                    dry[wallet_id] = DryWallet(customer_id, balance, at)
    first = sorted(dry.values(), key=lambda row: (row.at, row.customer_id))[:MOST]
    return RunDry(len(dry), tuple(first))
