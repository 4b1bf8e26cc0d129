"""Refunds of top-ups and disputes: which wait for somebody, and what each moved in the ledger."""

from collections.abc import Sequence

from django.db.models import Q, QuerySet

from billing.models import Dispute, DisputeState, LedgerEntry, RefundState, TopUpRefund, Wallet

OVER = (DisputeState.WON, DisputeState.LOST, DisputeState.CLOSED)


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
