"""How the stories are told: a wallet's account as a table that a bookkeeper can check by hand.

    kind     lot  credits  value  balance
    deposit  A        100   1.00      100
    charge   A         -4  -0.04       96

Lots are named A, B, C … in the order in which the wallet got them; what it owes is the lot `debt`.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from billing.accounts import Account
from billing.events import Caller, Charged, Refused
from billing.models import LedgerEntry, Lot, LotKind, Wallet
from billing.queries import trial_balance as books
from billing.services import charging
from tests.billing.factories import NOW, an_event

DAY = timedelta(days=1)


class Row(NamedTuple):
    """One line of a wallet's account."""

    kind: str
    lot: str
    credits: Decimal
    value: Decimal
    balance: Decimal


def lots(wallet: Wallet) -> dict[str, Lot]:
    """Return the wallet's lots by the letters that the stories give them."""
    own = Lot.objects.filter(wallet=wallet).exclude(kind=LotKind.OVERDRAFT).order_by("id")
    named = {chr(ord("A") + position): lot for position, lot in enumerate(own)}
    debt = Lot.objects.filter(wallet=wallet, kind=LotKind.OVERDRAFT).first()
    return named | {"debt": debt} if debt else named


def account(wallet: Wallet) -> list[Row]:
    """Return all entries of the wallet in the order in which they were written."""
    names = {lot.pk: name for name, lot in lots(wallet).items()}
    entries = LedgerEntry.objects.filter(wallet=wallet).order_by("id")
    return [Row(entry.kind, names[entry.lot_id], entry.credits, entry.value, entry.balance_after) for entry in entries]


def table(text: str) -> list[Row]:
    """Read an account as it is written in a story; the first line names the columns."""
    heading, *lines = text.strip().splitlines()
    assert tuple(heading.split()) == Row._fields
    rows = []
    for line in lines:
        kind, lot, *figures = line.split()
        rows.append(Row(kind, lot, *map(Decimal, figures)))
    return rows


def balance(wallet: Wallet) -> Decimal:
    """Return the balance that the wallet shows."""
    shown: Decimal = Wallet.objects.get(pk=wallet.pk).balance
    return shown


def charged(caller: Caller, *, at: datetime = NOW, **fields: Any) -> Charged:
    """Report one action and expect it to be charged."""
    [result] = charging.charge([an_event(caller, **fields)], now=at)
    assert isinstance(result, Charged), result
    return result


def refused(caller: Caller, *, at: datetime = NOW, **fields: Any) -> Refused:
    """Report one action and expect it to be refused."""
    [result] = charging.charge([an_event(caller, **fields)], now=at)
    assert isinstance(result, Refused), result
    return result


def trial_balance() -> dict[Account, Decimal]:
    """Return what each account stands at, debits positive, over all that was recorded."""
    told = books.trial_balance(until=datetime.max.replace(tzinfo=UTC))
    assert told.debits == told.credits
    return told.balances
