"""A customer at a glance: the wallet as it stands, the lots it consists of, what happened last. Read as of one moment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from billing.models import Customer, Dispute, Hold, HoldStatus, LedgerEntry, Lot, LotKind, MovementRequest, TopUp, TopUpRefund
from billing.queries import auto_topups, money_back, movement_requests, wallets
from billing.queries.auto_topups import AutoTopUpView
from billing.queries.wallets import WalletView
from config.base.database import snapshot

MOST: Final = 20
MOST_TOPUPS: Final = 5


@dataclass(frozen=True, slots=True)
class CustomerPage:
    """Each list holds at most `MOST` rows; the full ones are a link away."""

    wallet: WalletView
    lots: tuple[Lot, ...]  # with credits in them, in burn order, what is owed last
    holds: tuple[Hold, ...]  # open, the next to expire first
    entries: tuple[LedgerEntry, ...]  # the newest first
    topups: tuple[TopUp, ...]  # the newest first, at most `MOST_TOPUPS`
    refunds: tuple[TopUpRefund, ...]  # of top-ups that are under way, the newest first
    disputes: tuple[Dispute, ...]  # that are not decided, the newest first
    auto_topup: AutoTopUpView
    requests: tuple[MovementRequest, ...]  # movements that wait for a second person, the newest first


def load(customer: Customer, *, now: datetime) -> CustomerPage:
    """Read the page of `customer`."""
    with snapshot():
        wallet = customer.wallet
        wallet.refresh_from_db()
        wallet.customer = customer
        lots = Lot.objects.filter(wallet=wallet, is_open=True).exclude(kind=LotKind.OVERDRAFT, remaining=0)
        holds = Hold.objects.filter(wallet=wallet, status=HoldStatus.OPEN).select_related("event_type")
        entries = LedgerEntry.objects.filter(wallet=wallet).select_related("event_type")
        return CustomerPage(
            wallet=wallets.view_of(wallet, now=now),
            lots=tuple(sorted(lots, key=lambda lot: wallets.open_lot(lot).burn_key())[:MOST]),
            holds=tuple(holds.order_by("expires_at")[:MOST]),
            entries=tuple(entries.order_by("-id")[:MOST]),
            topups=tuple(TopUp.objects.filter(wallet=wallet).select_related("pack").order_by("-id")[:MOST_TOPUPS]),
            refunds=tuple(money_back.refunds_of(wallet)[:MOST]),
            disputes=tuple(money_back.disputes_of(wallet)[:MOST]),
            auto_topup=auto_topups.load(wallet, now=now),
            requests=tuple(movement_requests.waiting_of(wallet)[:MOST]),
        )
