"""A whole month of a small company, and its books at the end: every posting, and a trial balance that adds up."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing.accounts import Account
from billing.models import Lot, LotKind
from billing.services import customers, ledger, refunds
from tests.billing.factories import a_caller, a_deposit, a_price, a_wallet
from tests.worked_examples.books import account, charged, table, trial_balance

pytestmark = pytest.mark.django_db

FIRST = datetime(2026, 10, 1, 9, tzinfo=UTC)


def day(number: int) -> datetime:
    """Nine o'clock on a day of the month."""
    return FIRST + timedelta(days=number - 1)


def test_october() -> None:
    """Ann buys 1,000 credits for 10.00, Ben 100 for 2.00 which end on the 20th; replies cost 4.

    |              | Ann                          | Ben                                      |
    |--------------|------------------------------|------------------------------------------|
    | 1st          | pays 10.00 for 1,000         | pays 2.00 for 100 until the 20th          |
    | 2nd          |                              | is given 10 as a welcome                 |
    | 5th          | 50 replies: 200 credits      | 10 replies: 40, his own before the gift, |
    |              |                              | because they end sooner                  |
    | 8th          | 1 reply refunded             |                                          |
    | 10th         | passes 100 on to Ben, at 1 cent each, without an end                    |
    | 20th         |                              | 60 credits, 1.20, are written off        |
    | 25th         |                              | may owe 8, spends the gift 10, the 100   |
    |              |                              | from Ann, and owes 6: 116 credits        |
    | 31st         | 4 taken back, booked twice   | pays 1.00 for 50: 6 of them settle        |

    Revenue: Ann 2.00 - 0.04 = 1.96; Ben 0.80 + 1.00 + 0.06 = 1.86; together 3.82. Breakage 1.20.
    Deferred: Ann 1,000 - 200 + 4 - 100 - 4 = 700 credits, 7.00. Ben 44 credits at 2 cents, 0.88. Together 7.88.
    The 6 owed credits were a receivable of 0.06 and cost Ben 0.12: 0.06 stay on lot transfers.
    """
    caller = a_caller()
    a_price("4", now=FIRST)
    ann, ben = a_wallet(caller, "ann", now=FIRST), a_wallet(caller, "ben", now=FIRST)
    a_deposit(ann, "1000", amount="10.00", now=day(1))
    a_deposit(ben, "100", amount="2.00", now=day(1), expires_at=day(20))
    ledger.grant(wallet_id=ben.pk, credits=Decimal(10), reason="Welcome", actor="user:vera", now=day(2))
    for _ in range(50):
        reply = charged(caller, at=day(5), customer="ann")
    for _ in range(10):
        charged(caller, at=day(5), customer="ben")
    refunds.refund_event(caller=caller, record_id=reply.record_id, credits=None, reason="Wrong answer", now=day(8))
    ledger.transfer(from_wallet_id=ann.pk, to_wallet_id=ben.pk, credits=Decimal(100), reason="Same firm", actor="user:vera", now=day(10))
    ledger.expire(wallet_id=ben.pk, now=day(20))
    customers.set_overdraft_limit(wallet_id=ben.pk, limit=Decimal(8), reason="Known customer", now=day(25))
    charged(caller, at=day(25), customer="ben", quantity=Decimal(29))
    ledger.adjust(wallet_id=ann.pk, credits=Decimal(-4), reason="Booked twice", actor="user:vera", now=day(31))
    a_deposit(ben, "50", amount="1.00", now=day(31))

    assert account(ann)[-3:] == table("""
        kind        lot  credits  value  balance
        refund      A          4   0.04      804
        transfer    A       -100  -1.00      704
        adjustment  A         -4  -0.04      700
    """)
    assert account(ben)[-8:] == table("""
        kind      lot   credits  value  balance
        transfer  C         100   1.00      170
        expiry    A         -60  -1.20      110
        charge    B         -10   0.00      100
        charge    C        -100  -1.00        0
        charge    debt       -6  -0.06       -6
        deposit   D          50   1.00       44
        transfer  D          -6  -0.12       38
        transfer  debt        6   0.06       44
    """)
    balances = trial_balance()
    assert balances == {
        Account.PAYMENTS_CLEARING: Decimal("13.00"),
        Account.DEFERRED_REVENUE: Decimal("-7.88"),
        Account.RECEIVABLES: 0,
        Account.REVENUE: Decimal("-3.82"),
        Account.BREAKAGE: Decimal("-1.20"),
        Account.PROMOTIONAL_CREDITS: 0,
        Account.ADJUSTMENTS: Decimal("-0.04"),
        Account.LOT_TRANSFERS: Decimal("-0.06"),
        Account.BANK: 0,
        Account.PLATFORM_FEES: 0,
    }
    assert sum(balances.values()) == 0
    left = Lot.objects.exclude(kind=LotKind.OVERDRAFT).aggregate(value=Sum("value_remaining"))["value"]
    assert left == -balances[Account.DEFERRED_REVENUE]
