"""Refunds of top-ups and disputes: which wait for somebody, and what each moved in the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Case, F, Q, QuerySet, Sum, When

from billing.models import Dispute, DisputeState, LedgerEntry, RefundState, TopUp, TopUpRefund, Wallet

OVER = (DisputeState.WON, DisputeState.LOST, DisputeState.CLOSED)


@dataclass(frozen=True, slots=True)
class Left:
    """What left of a top-up's money again, in the smallest unit of its currency. Both may be about the same money."""

    refunded_minor: int
    disputed_minor: int


def left_of(topup: TopUp) -> Left:
    """Return what was refunded of a top-up, or is on its way back, and what banks hold or have taken in disputes."""
    refunds = topup.refunds.filter(state__in=(RefundState.PENDING, RefundState.SUCCEEDED), unapplied=None)
    # A dispute in another currency than the order's is one of the whole order: a rate would be a guess.
    own = Case(When(currency=topup.currency, then=F("amount_minor")), default=topup.amount_minor)
    disputes = topup.disputes.filter(state__in=(DisputeState.OPEN, DisputeState.LOST))
    return Left(
        refunds.aggregate(sum=Sum("amount_minor"))["sum"] or 0,
        disputes.aggregate(sum=Sum(own))["sum"] or 0,
    )


def waiting() -> "QuerySet[TopUpRefund]":
    """Return the refunds that wait for a second person."""
    return TopUpRefund.objects.filter(state=RefundState.REQUESTED)


def under_way() -> "QuerySet[Dispute]":
    """Return the disputes and inquiries that are not decided."""
    return Dispute.objects.filter(state__in=[DisputeState.WARNING, DisputeState.OPEN])


def refunds_of(wallet: Wallet) -> "QuerySet[TopUpRefund]":
    """Return the refunds of a wallet that somebody must still do something about, the newest first."""
    ended = (RefundState.SUCCEEDED, RefundState.FAILED, RefundState.REJECTED)
    return TopUpRefund.objects.filter(topup__wallet=wallet).exclude(state__in=ended).select_related("topup").order_by("-id")


def disputes_of(wallet: Wallet) -> "QuerySet[Dispute]":
    """Return the disputes of a wallet that are not decided, the newest first."""
    return under_way().filter(topup__wallet=wallet).select_related("topup").order_by("-id")


def entries(withdrawals: Sequence[int]) -> Sequence[LedgerEntry]:
    """Return the entries that took credits, and all that reversed one of them since, in the order in which they were written."""
    taken = LedgerEntry.objects.filter(transaction_id__in=withdrawals)
    both = Q(pk__in=taken.values("pk")) | Q(reverses__in=taken.values("pk"))
    return tuple(LedgerEntry.objects.filter(both).select_related("lot").order_by("pk"))
