"""What a wallet page needs, read as of one moment."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Prefetch, Q, QuerySet

from billing.allocation import OpenLot
from billing.errors import UnknownCustomer
from billing.events import Caller
from billing.metering import WalletState
from billing.models import Customer, Lot, LotKind, Wallet
from config.base.database import snapshot
from config.base.exact import ZERO


@dataclass(frozen=True, slots=True)
class Expiry:
    """Credits that go at one moment unless they are spent before."""

    credits: Decimal
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class WalletView:
    """A wallet as its owner sees it."""

    customer: Customer
    wallet: Wallet
    available: Decimal
    next_expiry: Expiry | None


def view(*, caller: Caller, external_id: str, now: datetime) -> WalletView:
    """Return the wallet of the caller's customer. Raises UnknownCustomer."""
    with snapshot():
        customer = (
            Customer.objects.select_related("wallet")
            .filter(project_id=caller.project_id, environment=caller.environment, external_id=external_id)
            .first()
        )
        if customer is None:
            raise UnknownCustomer(external_id, caller.environment)
        return view_of(customer.wallet, now=now)


def view_of(wallet: Wallet, *, now: datetime) -> WalletView:
    """Return how `wallet` stands; reads its lots."""
    state = state_of(wallet, now=now)
    soon = sorted(
        (lot.expires_at, lot.remaining)
        for lot in state.lots
        if lot.kind != LotKind.OVERDRAFT and lot.expires_at and lot.expires_at > now and lot.remaining > 0
    )
    expiry = Expiry(sum((credits for at, credits in soon if at == soon[0][0]), ZERO), soon[0][0]) if soon else None
    return WalletView(wallet.customer, wallet, state.available, expiry)


def state_of(wallet: Wallet, *, now: datetime) -> WalletState:
    """Read a wallet's lots and work out what is available; exact only while the wallet is locked."""
    state = WalletState(
        id=wallet.pk,
        customer_id=wallet.customer_id,
        plan=wallet.customer.plan,
        balance=wallet.balance,
        held=wallet.held,
        overdraft_limit=wallet.overdraft_limit,
        is_frozen=wallet.status == "frozen",
    )
    lots: Iterable[Lot] = getattr(wallet, LIVE_LOTS) if hasattr(wallet, LIVE_LOTS) else live_lots().filter(wallet=wallet)
    state.lots = [open_lot(lot) for lot in lots]
    state.settle_view(now)
    return state


# Where `with_lots` leaves what it has read.
LIVE_LOTS = "live_lots"


def live_lots() -> "QuerySet[Lot]":
    """Return the lots that a wallet's figures depend on: those with credits, and what is owed."""
    return Lot.objects.filter(Q(is_open=True) | Q(kind=LotKind.OVERDRAFT))


def with_lots(customers: "QuerySet[Customer]") -> "QuerySet[Customer]":
    """Read the wallets and lots of many customers in two queries more, for `view_of`."""
    return customers.select_related("wallet").prefetch_related(Prefetch("wallet__lots", queryset=live_lots(), to_attr=LIVE_LOTS))


def open_lot(lot: Lot) -> OpenLot:
    """Return a lot as the arithmetic of lots needs it."""
    return OpenLot(lot.pk, lot.kind, lot.remaining, lot.value_remaining, lot.unit_value, lot.priority, lot.expires_at)
