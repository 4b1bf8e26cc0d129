"""Money that came in beside orders: what waits for somebody."""

from django.db.models import QuerySet

from billing.models import UnappliedPayment, UnappliedState


def waiting() -> "QuerySet[UnappliedPayment]":
    """Return the payments that were neither credited nor sent back."""
    return UnappliedPayment.objects.filter(state__in=(UnappliedState.OPEN, UnappliedState.ASKED))
