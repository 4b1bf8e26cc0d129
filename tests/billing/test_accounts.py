"""The chart of accounts, as its table says it."""

from decimal import Decimal

import pytest

from billing.accounts import Account, fee_posting, payout_posting, posting
from billing.models import EntryKind

OWED, DUE = Account.DEFERRED_REVENUE, Account.RECEIVABLES
ONE = Decimal(1)


@pytest.mark.parametrize(
    ("kind", "lot", "value", "debit", "credit"),
    [
        ("deposit", "paid", ONE, Account.PAYMENTS_CLEARING, OWED),
        ("grant", "promotional", ONE, Account.PROMOTIONAL_CREDITS, OWED),
        ("charge", "paid", -ONE, OWED, Account.REVENUE),
        ("charge", "overdraft", -ONE, DUE, Account.REVENUE),
        ("refund", "paid", ONE, Account.REVENUE, OWED),
        ("refund", "overdraft", ONE, Account.REVENUE, DUE),
        ("adjustment", "paid", -ONE, OWED, Account.ADJUSTMENTS),
        ("withdrawal", "paid", -ONE, OWED, Account.PAYMENTS_CLEARING),
        ("expiry", "paid", -ONE, OWED, Account.BREAKAGE),
        ("transfer", "paid", -ONE, OWED, Account.LOT_TRANSFERS),
        ("transfer", "paid", ONE, Account.LOT_TRANSFERS, OWED),
        ("transfer", "overdraft", ONE, Account.LOT_TRANSFERS, DUE),
    ],
)
def test_posting(kind: str, lot: str, value: Decimal, debit: Account, credit: Account) -> None:
    assert posting(kind, lot_kind=lot, credits=4 * value, value=value) == (debit, credit, 1)
    assert posting(kind, lot_kind=lot, credits=4 * value, value=Decimal(0)) == (debit, credit, 0)


def test_every_kind_of_entry_has_an_account() -> None:
    for kind in EntryKind:
        assert posting(kind, lot_kind="paid", credits=ONE, value=ONE).amount == 1


def test_fees_and_payouts_leave_the_clearing_account_and_come_back_when_they_are_reversed() -> None:
    clearing = Account.PAYMENTS_CLEARING
    assert fee_posting(Decimal("0.45")) == (Account.PLATFORM_FEES, clearing, Decimal("0.45"))
    assert fee_posting(Decimal(-15)) == (clearing, Account.PLATFORM_FEES, Decimal(15))
    assert payout_posting(Decimal(100)) == (Account.BANK, clearing, Decimal(100))
    assert payout_posting(Decimal(-100)) == (clearing, Account.BANK, Decimal(100))
