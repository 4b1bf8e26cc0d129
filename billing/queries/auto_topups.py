"""Auto top-up, read: how much of its caps is used, what holds it back or speaks against it, and how it stands on its page."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from django.db.models import Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from billing import auto_charges
from billing.auto_charges import Period
from billing.models import (
    AutoTopUp,
    AutoTopUpState,
    Dispute,
    DisputeState,
    LedgerEntry,
    RefundState,
    StripeCustomer,
    TopUp,
    TopUpChannel,
    TopUpRefund,
    TopUpStatus,
    Wallet,
    WalletStatus,
)
from pricing.queries import workspace

MOST_ATTEMPTS: Final = 5
RUNNING: Final = (AutoTopUpState.ACTIVE, AutoTopUpState.BACKING_OFF)
_OPEN_DISPUTES: Final = (DisputeState.WARNING, DisputeState.OPEN)
_REFUNDS_AWAY: Final = (RefundState.PENDING, RefundState.SUCCEEDED)
_UNPAID: Final = (TopUpStatus.FAILED, TopUpStatus.EXPIRED)


@dataclass(frozen=True, slots=True)
class Used:
    """What was charged for a wallet by itself, today and this month, in the smallest unit of its currency."""

    day_minor: int
    month_minor: int


@dataclass(frozen=True, slots=True)
class AutoTopUpView:
    """An auto top-up as the customer's page shows it; `waits_for` says what else holds it back just now."""

    auto: AutoTopUp | None
    card: str
    used: Used | None
    waits_for: str
    attempts: tuple[TopUp, ...]  # the newest first


def load(wallet: Wallet, *, now: datetime) -> AutoTopUpView:
    """Read how the auto top-up of `wallet` stands."""
    auto = AutoTopUp.objects.select_related("pack", "order").filter(wallet=wallet).first()
    account = StripeCustomer.objects.filter(customer=wallet.customer_id).first()
    attempts = TopUp.objects.filter(wallet=wallet, channel=TopUpChannel.AUTO).order_by("-created_at")[:MOST_ATTEMPTS] if auto else ()
    return AutoTopUpView(
        auto=auto,
        card=account.method_label if account and account.payment_method else "",
        used=used(auto, now=now) if auto else None,
        waits_for=_waits_for(auto, wallet) if auto and auto.is_on else "",
        attempts=tuple(attempts),
    )


def used(auto: AutoTopUp, *, now: datetime) -> Used:
    """Return how much of the caps is used: what was paid, and what may still be."""
    zone = ZoneInfo(workspace.load().time_zone)
    return Used(*(charged(auto, during) for during in (auto_charges.day_of(now, zone), auto_charges.month_of(now, zone))))


def charged(auto: AutoTopUp, during: Period) -> int:
    """Return what was ordered by itself in a period and has not failed, in minor units of its currency."""
    orders = TopUp.objects.filter(wallet=auto.wallet_id, channel=TopUpChannel.AUTO, currency=auto.currency)
    orders = orders.filter(created_at__gte=during.start, created_at__lt=during.end).exclude(status__in=_UNPAID)
    return int(orders.aggregate(sum=Coalesce(Sum("amount_minor"), 0))["sum"])


def free_to_charge() -> "QuerySet[AutoTopUp]":
    """Return those that run and that nothing holds back: a frozen wallet, an open dispute, a refund that is about to be sent.

    A refund that somebody only asks for holds nothing back: it may be rejected, and no money has moved. Nor does one of a payment
    beside the order, which brought no credits.
    """
    disputes = Dispute.objects.filter(topup__wallet=OuterRef("wallet"), state__in=_OPEN_DISPUTES)
    refunds = TopUpRefund.objects.filter(topup__wallet=OuterRef("wallet"), unapplied=None, state=RefundState.APPROVED)
    return AutoTopUp.objects.filter(~Exists(disputes), ~Exists(refunds), state__in=RUNNING, wallet__status=WalletStatus.ACTIVE)


def money_that_left(auto: AutoTopUp) -> str:
    """Say which money went back to the customer since it was started; empty where none did. What failed or was rejected did not.

    What was paid beside an order and sent back, brought no credits and does not count.
    """
    since = auto.started_at
    refunds = TopUpRefund.objects.filter(topup__wallet=auto.wallet_id, unapplied=None, state__in=_REFUNDS_AWAY)
    # It left when its credits did. Where there were none to take, the refund's own times must do.
    taken = Exists(LedgerEntry.objects.filter(transaction_id=OuterRef("withdrawal"), recorded_at__gte=since))
    late = refunds.filter(Q(created_at__gte=since) | Q(withdrawal=None, changed_at__gte=since) | taken)
    if refund := late.select_related("topup").order_by("pk").last():
        return f"{refund.topup} was refunded: charging for the same credits again might not be wanted."
    lost = Dispute.objects.filter(topup__wallet=auto.wallet_id, state=DisputeState.LOST, changed_at__gte=since)
    if dispute := lost.select_related("topup").order_by("pk").last():
        return f"The dispute {dispute.stripe_id} was lost: the bank of the customer took {dispute.topup} back."
    return ""


def _waits_for(auto: AutoTopUp, wallet: Wallet) -> str:
    if auto.order is not None:
        return f"{auto.order} is under way."
    if wallet.status == WalletStatus.FROZEN:
        return "The wallet is frozen: nothing is charged until it is released."
    if Dispute.objects.filter(topup__wallet=wallet, state__in=_OPEN_DISPUTES).exists():
        return "A dispute is open: nothing is charged until the bank has decided."
    if TopUpRefund.objects.filter(topup__wallet=wallet, unapplied=None, state=RefundState.APPROVED).exists():
        return "A refund is about to be sent: nothing is charged until Stripe has answered."
    return ""
