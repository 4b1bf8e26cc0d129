"""What must hold after every step, asked of the database alone: no service and no model of Django is trusted here."""

from decimal import Decimal
from typing import Any

from django.db import connection

from billing.accounts import Account, posting
from tests.properties.paper import Line, PaperWallet, micro, pico

_WALLETS = """
    SELECT w.id, w.balance, w.held, w.status = 'frozen',
           coalesce((SELECT sum(remaining) FROM billing_lot WHERE wallet_id = w.id), 0),
           coalesce((SELECT sum(credits) FROM billing_ledgerentry WHERE wallet_id = w.id), 0),
           coalesce((SELECT sum(credits) FROM billing_hold WHERE wallet_id = w.id AND status = 'open'), 0),
           coalesce((SELECT sum(credits) FROM billing_hold WHERE wallet_id = w.id AND status = 'open' AND expires_at <= %s), 0)
    FROM billing_wallet w ORDER BY w.id
"""
_LOTS = """
    SELECT l.wallet_id, l.id, l.kind, l.granted, l.remaining, l.value, l.value_remaining, l.credit_limit,
           coalesce(sum(e.credits), 0), coalesce(sum(e.value), 0)
    FROM billing_lot l LEFT JOIN billing_ledgerentry e ON e.lot_id = l.id GROUP BY l.id ORDER BY l.id
"""
_ENTRIES = "SELECT id, wallet_id, kind, lot_id, credits, value, balance_after FROM billing_ledgerentry WHERE id > %s ORDER BY id"
_BROKEN = {
    "a charge by a version that was not active": """
        SELECT e.id FROM billing_ledgerentry e LEFT JOIN pricing_priceversion v ON v.id = e.price_version_id
        WHERE e.kind = 'charge' AND (v.id IS NULL OR e.occurred_at < v.effective_from OR e.occurred_at >= v.effective_to)
    """,
    "a record whose entries do not add up to it": """
        SELECT u.id FROM billing_usagerecord u LEFT JOIN billing_ledgerentry e ON e.transaction_id = u.id AND e.kind = 'charge'
        GROUP BY u.id, u.credits HAVING u.credits <> -coalesce(sum(e.credits), 0)
    """,
    "a reversal above its original": """
        SELECT o.id FROM billing_ledgerentry o JOIN billing_ledgerentry r ON r.reverses_id = o.id GROUP BY o.id
        HAVING abs(sum(r.credits)) > abs(o.credits) OR abs(sum(r.value)) > abs(o.value)
            OR bool_or(sign(r.credits) = sign(o.credits)) OR bool_or(r.lot_id <> o.lot_id)
    """,
    "a charge without a record": """
        SELECT e.id FROM billing_ledgerentry e LEFT JOIN billing_usagerecord u ON u.id = e.usage_record_id
        WHERE e.kind IN ('charge', 'refund') AND u.id IS NULL
    """,
    "a record without its key": """
        SELECT u.id FROM billing_usagerecord u LEFT JOIN billing_idempotencykey k ON k.effect_id = u.id
        GROUP BY u.id HAVING count(k.key) <> 1
    """,
}
_JOURNAL = """
    SELECT e.kind, l.kind, sum(e.credits), sum(e.value) FROM billing_ledgerentry e JOIN billing_lot l ON l.id = e.lot_id
    GROUP BY e.kind, l.kind, e.credits < 0
"""


def rows(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run one statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


class Books:
    """Compares the database with the wallets on paper, entry by entry; remembers how far it has read."""

    def __init__(self, wallets: dict[int, PaperWallet]) -> None:
        self.wallets = wallets
        self.seen = 0
        self.lines: dict[int, int] = {}
        self.numbers: dict[int, int] = {}

    def agree(self, now: Any) -> None:
        """Assert every invariant."""
        self._lots_agree()
        self._wallets_agree(now)
        self._entries_agree()
        for what, query in _BROKEN.items():
            assert not rows(query), what
        self._journal_balances()

    def _wallets_agree(self, now: Any) -> None:
        for wallet_id, balance, held, is_frozen, in_lots, in_entries, in_holds, overdue in rows(_WALLETS, now):
            paper = self.wallets[wallet_id]
            assert balance == in_lots == in_entries, "balance = lots = entries"
            assert micro(balance) == paper.balance, "balance as on paper"
            assert held == in_holds, "held = open holds"
            assert micro(held - overdue) == paper.held(now), "held as on paper"
            assert is_frozen == paper.is_frozen, "status as on paper"

    def _lots_agree(self) -> None:
        counts: dict[int, int] = {}
        for wallet_id, lot_id, kind, granted, remaining, value, value_left, limit, moved, value_moved in rows(_LOTS):
            paper = self.wallets[wallet_id]
            assert (remaining, value_left) == (moved, value_moved), "a lot is the sum of its entries"
            if kind == "overdraft":
                assert -limit <= remaining <= 0, "an overdraft stays within its limit"
                assert micro(limit) >= paper.limit, "an overdraft may go as far as the wallet may owe"
                self.numbers[lot_id] = 0
                lot = paper.debt
            else:
                assert 0 <= remaining <= granted, "a lot is neither overspent nor overfull"
                assert 0 <= value_left <= value, "nor is its value"
                self.numbers[lot_id] = counts[wallet_id] = counts.get(wallet_id, 0) + 1
                lot = paper.lots[counts[wallet_id] - 1]
            assert (micro(remaining), pico(value_left)) == (lot.left, lot.worth), "a lot as on paper"
        for wallet_id, paper in self.wallets.items():
            assert len(paper.lots) == counts.get(wallet_id, 0), "no lot is missing"

    def _entries_agree(self) -> None:
        for entry_id, wallet_id, kind, lot_id, credits, value, balance in rows(_ENTRIES, self.seen):
            position = self.lines.get(wallet_id, 0)
            line = Line(kind, self.numbers[lot_id], micro(credits), pico(value), micro(balance))
            assert position < len(self.wallets[wallet_id].lines), f"an entry too many: {line}"
            assert line == self.wallets[wallet_id].lines[position], "an entry as on paper"
            self.lines[wallet_id] = position + 1
            self.seen = entry_id
        for wallet_id, paper in self.wallets.items():
            assert len(paper.lines) == self.lines.get(wallet_id, 0), "no entry is missing"

    def _journal_balances(self) -> None:
        totals: dict[Account, Decimal] = dict.fromkeys(Account, Decimal(0))
        for kind, lot_kind, credits, value in rows(_JOURNAL):
            line = posting(kind, lot_kind=lot_kind, credits=credits, value=value)
            totals[line.debit] += line.amount
            totals[line.credit] -= line.amount
        assert sum(totals.values()) == 0, "the journal balances"
        assert -pico(totals[Account.DEFERRED_REVENUE]) == sum(lot.worth for w in self.wallets.values() for lot in w.lots)
        assert pico(totals[Account.RECEIVABLES]) == -sum(wallet.debt.worth for wallet in self.wallets.values())
