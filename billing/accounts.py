"""The chart of accounts: how entries become a double-entry journal. Pure; no database.

Each entry debits one account and credits another with its own value, so the journal and every trial balance drawn from
it are in balance by construction.

| kind | debit | credit |
|---|---|---|
| deposit | payments clearing | deferred revenue |
| grant | promotional credits | deferred revenue |
| charge, from a lot | deferred revenue | revenue |
| charge, on overdraft | receivables | revenue |
| refund | reverse of its charge | |
| adjustment | adjustments | deferred revenue |
| withdrawal | deferred revenue | payments clearing |
| expiry | deferred revenue | breakage |
| transfer out of a lot | deferred revenue | lot transfers |
| transfer into a lot | lot transfers | deferred revenue |
| transfer into overdraft | lot transfers | receivables |
| fee of a payment, a refund or a dispute | platform fees | payments clearing |
| payout to our bank | bank | payments clearing |

`lot transfers` is left with a balance only where an overdraft was charged at another unit value than the deposit that
settles it: the gain or loss of that settlement. Fees and payouts are no entries of the ledger but rows of their own; the
trial balance (`billing.queries.trial_balance`) adds them. What is left in `payments clearing` is what Stripe still owes
us, what was paid on other rails, and differences of exchange.
"""

from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple


class Account(StrEnum):
    PAYMENTS_CLEARING = "payments clearing"
    DEFERRED_REVENUE = "deferred revenue"
    RECEIVABLES = "receivables"
    REVENUE = "revenue"
    BREAKAGE = "breakage"
    PROMOTIONAL_CREDITS = "promotional credits"
    ADJUSTMENTS = "adjustments"
    LOT_TRANSFERS = "lot transfers"
    PLATFORM_FEES = "platform fees"
    BANK = "bank"


class Posting(NamedTuple):
    debit: Account
    credit: Account
    amount: Decimal


_COUNTER_ACCOUNT = {
    "deposit": Account.PAYMENTS_CLEARING,
    "grant": Account.PROMOTIONAL_CREDITS,
    "charge": Account.REVENUE,
    "refund": Account.REVENUE,
    "adjustment": Account.ADJUSTMENTS,
    "withdrawal": Account.PAYMENTS_CLEARING,
    "expiry": Account.BREAKAGE,
    "transfer": Account.LOT_TRANSFERS,
}


def posting(kind: str, *, lot_kind: str, credits: Decimal, value: Decimal) -> Posting:
    """Return the journal line of an entry: `value` into the lot is owed to the customer, out of it no longer.

    Promotional credits may be worth nothing; then the credits tell the direction.
    """
    ours = Account.RECEIVABLES if lot_kind == "overdraft" else Account.DEFERRED_REVENUE
    other = _COUNTER_ACCOUNT[kind]
    return Posting(other, ours, value) if (value or credits) > 0 else Posting(ours, other, -value)


def fee_posting(amount: Decimal) -> Posting:
    """Return the journal line of a fee in the book currency; a fee that was given back is negative and turns it round."""
    return _turned(Account.PLATFORM_FEES, Account.PAYMENTS_CLEARING, amount)


def payout_posting(amount: Decimal) -> Posting:
    """Return the journal line of a payout; a negative one took money from our bank."""
    return _turned(Account.BANK, Account.PAYMENTS_CLEARING, amount)


def _turned(debit: Account, credit: Account, amount: Decimal) -> Posting:
    return Posting(debit, credit, amount) if amount >= 0 else Posting(credit, debit, -amount)
