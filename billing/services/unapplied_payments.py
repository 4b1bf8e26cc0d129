"""Money that came in for an order and was not credited: kept as a fact, and followed until it is sent back.

`topups` brings what it cannot deposit, `topup_refunds` sends back, `topup_credits` credits. Whoever writes here has locked
the top-up first, so that of all that may become of such a payment one thing does.
"""

from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db.models import Q, Sum
from django.db.models.functions import Coalesce

from billing import minor_units
from billing.models import RefundState, TopUp, TopUpStatus, UnappliedKind, UnappliedPayment, UnappliedState
from config.base.exact import CONTEXT
from pricing.queries import workspace

_NOT_BACK: Final = (RefundState.FAILED, RefundState.REJECTED)
_AWAY: Final = (RefundState.PENDING, RefundState.SUCCEEDED)


def keep(
    topup: TopUp, *, kind: UnappliedKind, payment_intent: str, charge: str, amount_minor: int, currency: str, now: datetime
) -> tuple[UnappliedPayment, bool]:
    """Keep a payment of a locked order that is not deposited, once; say whether it is new."""
    known = UnappliedPayment.objects.filter(topup=topup)
    found = known.filter(payment_intent=payment_intent) if payment_intent else known.filter(kind=kind)
    if (row := found.first()) is not None:
        if charge and not row.charge:
            row.charge = charge
            row.save(update_fields=["charge"])
        return row, False
    row = UnappliedPayment.objects.create(
        topup=topup,
        kind=kind,
        payment_intent=payment_intent,
        charge=charge,
        amount_minor=amount_minor,
        currency=currency,
        arrived_at=now,
        ordered_minor=topup.amount_minor,
        ordered_credits=topup.credits,
        ordered_bonus_credits=topup.bonus_credits,
        ordered_value=topup.book_value,
        changed_at=now,
    )
    return row, True


def of_payment(*, payment_intent: str | None, charge: str | None) -> UnappliedPayment | None:
    """Return what was not credited of this payment of Stripe's; None for a payment that was, or that nobody here knows."""
    found = Q(payment_intent=payment_intent) if payment_intent else Q(pk=None)
    if charge:
        found |= Q(charge=charge)
    return UnappliedPayment.objects.filter(found).exclude(state=UnappliedState.CREDITED).first()


def left_minor(row: UnappliedPayment) -> int:
    """Return how many minor units of it nobody has sent back or asked to."""
    if row.state in {UnappliedState.CREDITED, UnappliedState.CLOSED} or not row.payment_intent:
        return 0
    asked = row.refunds.exclude(state__in=_NOT_BACK).aggregate(sum=Coalesce(Sum("amount_minor"), 0))["sum"]
    return max(int(row.amount_minor) - int(asked), 0)


def worth(topup: TopUp, *, amount_minor: int, currency: str) -> Decimal | None:
    """Return what so much of a top-up's money is worth in the book currency; None where that would be a guess."""
    if currency == topup.currency:
        return CONTEXT.divide(CONTEXT.multiply(topup.book_value, amount_minor), topup.amount_minor)
    return minor_units.to_major(amount_minor, currency) if currency == workspace.load().currency else None


def follow_refunds(row: UnappliedPayment, topup: TopUp, *, now: datetime) -> None:
    """Bring a payment, and the locked order that it was to pay, to what its refunds have come to."""
    back = row.refunds.filter(state__in=_AWAY).aggregate(sum=Coalesce(Sum("amount_minor"), 0))["sum"]
    is_back = back >= row.amount_minor
    if is_back == (row.state == UnappliedState.RETURNED) or row.state in {UnappliedState.CREDITED, UnappliedState.CLOSED}:
        return
    row.state, row.changed_at = (UnappliedState.RETURNED if is_back else UnappliedState.OPEN), now
    row.save(update_fields=["state", "changed_at"])
    if row.kind == UnappliedKind.OTHERWISE and topup.status in {TopUpStatus.MISMATCH, TopUpStatus.RETURNED}:
        topup.status, topup.changed_at = (TopUpStatus.RETURNED if is_back else TopUpStatus.MISMATCH), now
        topup.save(update_fields=["status", "changed_at"])
