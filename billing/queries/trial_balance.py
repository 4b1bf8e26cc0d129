"""The trial balance: what each account stood at, as the books knew it at a moment.

Three kinds of rows make the journal: entries of the ledger, fees, and payouts. Each is a debit and a credit of the same
amount (`billing.accounts`), so that the balances add up to zero. What counts is when it was recorded here: asked again for a
moment in the past, the answer is the same, unless a bank sent a payout back since, which then never reached ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db.models import Q, QuerySet, Sum

from billing import accounts
from billing.accounts import Account, Posting
from billing.minor_units import to_major
from billing.models import EntryKind, LedgerEntry, PaymentSource, Payout, PlatformFee
from config.base.database import snapshot
from config.base.exact import ZERO
from pricing.queries import workspace

_CAME_BACK: Final = ("failed", "canceled")
_MONEY: Final = (EntryKind.DEPOSIT, EntryKind.WITHDRAWAL)


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """All in the book currency: `balances` per account, debits positive, zero in all.

    `at_stripe` is the part of payments clearing that went through Stripe: what Stripe still owes us, zero when all is paid
    out; the rest came on rails of the customers' own. Fees and payouts in other currencies are in no account, since a
    rate of exchange would be a guess: `foreign` counts them.
    """

    until: datetime
    currency: str
    balances: dict[Account, Decimal]
    at_stripe: Decimal
    foreign: int

    @property
    def debits(self) -> Decimal:
        return sum((one for one in self.balances.values() if one > 0), ZERO)

    @property
    def credits(self) -> Decimal:
        return -sum((one for one in self.balances.values() if one < 0), ZERO)


def trial_balance(*, until: datetime) -> TrialBalance:
    """Return what each account stood at, of all that was recorded before `until`."""
    with snapshot():
        currency = workspace.load().currency
        fees = PlatformFee.objects.filter(recorded_at__lt=until)
        payouts = Payout.objects.filter(received_at__lt=until).exclude(status__in=_CAME_BACK)
        paid_out = payouts.filter(currency=currency).aggregate(sum=Sum("amount_minor"))["sum"] or 0
        settled = [
            accounts.fee_posting(fees.aggregate(sum=Sum("amount"))["sum"] or ZERO),
            accounts.payout_posting(to_major(paid_out, currency)),
        ]
        entries = LedgerEntry.objects.filter(recorded_at__lt=until)
        balances = _balances([*_of_entries(entries), *settled])
        through_stripe = entries.filter(kind__in=_MONEY, payment__source=PaymentSource.STRIPE)
        return TrialBalance(
            until=until,
            currency=currency,
            balances=balances,
            at_stripe=_balances([*_of_entries(through_stripe), *settled])[Account.PAYMENTS_CLEARING],
            foreign=fees.filter(amount=None).count() + payouts.filter(~Q(currency=currency)).count(),
        )


def _of_entries(entries: QuerySet[LedgerEntry]) -> Iterator[Posting]:
    """Post sums instead of entries: opposite entries of a kind are opposite lines, and leave the same."""
    for kind, lot_kind, value in entries.values_list("kind", "lot__kind").annotate(sum=Sum("value")).order_by():
        yield accounts.posting(kind, lot_kind=lot_kind, credits=ZERO, value=value)


def _balances(postings: list[Posting]) -> dict[Account, Decimal]:
    balances = dict.fromkeys(Account, ZERO)
    for one in postings:
        balances[one.debit] += one.amount
        balances[one.credit] -= one.amount
    return balances
