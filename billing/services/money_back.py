"""How much of a top-up's money has gone back, and the credits that follow it: what refunds and disputes share.

Both may be about the same money: a bank takes a payment back while a refund of it is under way. In all no more than the
whole payment counts as gone, and credits return only as far as money does.
"""

from datetime import datetime
from typing import Final

from django.db.models import Q

from billing.models import Dispute, DisputeState, RefundState, TopUp, TopUpRefund, TopUpStatus
from billing.services import withdrawals
from billing.services.stripe_handling import NotOurs, NotYet
from billing.services.withdrawals import Back
from config.base.exact import ZERO
from pricing.models import SpentRefundPolicy
from pricing.queries import workspace

ACTOR: Final = "system:stripe"
REFUNDS_AWAY: Final = (RefundState.PENDING, RefundState.SUCCEEDED)
DISPUTES_AWAY: Final = (DisputeState.OPEN, DisputeState.LOST)
_REFUNDS_OVER: Final = (RefundState.FAILED,)
_DISPUTES_OVER: Final = (DisputeState.WON, DisputeState.CLOSED)

Row = TopUpRefund | Dispute


def locked_topup(*, payment_intent: str | None, charge: str | None) -> TopUp:
    """Lock and return the top-up that was paid by this. Raises NotOurs, NotYet (it is ours and not credited so far)."""
    found = Q(payment_intent=payment_intent) if payment_intent else Q(pk=None)
    if charge:
        found |= Q(charge=charge)
    topup = TopUp.objects.select_for_update(of=("self",)).select_related("payment").filter(found).first()
    if topup is None:
        raise NotOurs(f"no top-up was paid by {payment_intent or charge}")
    if topup.payment is None and topup.status not in {TopUpStatus.MISMATCH, TopUpStatus.RETURNED}:
        raise NotYet(f"{topup} has not been credited so far")
    return topup


def amount_of(row: Row, topup: TopUp) -> int:
    """Return how much of the top-up's money a row is about, in its minor units.

    A dispute may come in another currency, or for more than was paid; then it is about all of it, the careful reading.
    """
    amount, whole = int(row.amount_minor), int(topup.amount_minor)
    if isinstance(row, Dispute) and row.currency != topup.currency:
        return whole
    return min(amount, whole)


def went_back_minor(topup: TopUp, *, but: Row | None = None) -> int:
    """Return how much refunds and disputes have taken in all, `but` one not counted; above the whole where they overlap."""
    away: list[Row] = [*topup.refunds.filter(state__in=REFUNDS_AWAY, unapplied=None), *topup.disputes.filter(state__in=DISPUTES_AWAY)]
    return sum(amount_of(row, topup) for row in away if row != but)


def take(row: Row, topup: TopUp, *, reason: str, actor: str, now: datetime) -> None:
    """Withdraw the credits of the money that a row takes back, which it does not so far. The row is the caller's to save."""
    if topup.payment is None or (isinstance(row, TopUpRefund) and row.unapplied_id is not None):
        return
    back = min(went_back_minor(topup, but=row) + amount_of(row, topup), topup.amount_minor)
    kept = sum((withdrawals.still_out(one) for one in row.withdrawals), ZERO)
    taken = withdrawals.withdraw(
        payment=topup.payment,
        back=Back(back, topup.amount_minor),
        policy=SpentRefundPolicy(workspace.load().spent_refund_policy),
        reason=reason[:500],
        actor=actor,
        now=now,
    )
    if taken.transaction_id is not None:
        row.took(taken.transaction_id)
    row.credits, row.given_back = kept + taken.credits, None


def give_back(row: Row, topup: TopUp, *, reason: str, actor: str, now: datetime) -> None:
    """Put back what a row took, now that its money returned, as far as no other row stands for the same money.

    What an earlier one had to leave out for the sake of this one goes back with it. The row is the caller's to save.
    """
    others = went_back_minor(topup, but=row)
    still = Back(min(others, topup.amount_minor), topup.amount_minor)
    overlaps = others + amount_of(row, topup) > topup.amount_minor
    _give(row, still if overlaps else None, reason=reason, actor=actor, now=now)
    over: list[Row] = [*topup.refunds.filter(state__in=_REFUNDS_OVER), *topup.disputes.filter(state__in=_DISPUTES_OVER)]
    for ended in over:
        if ended != row and any(withdrawals.still_out(one) for one in ended.withdrawals):
            _give(ended, still, reason=reason, actor=actor, now=now)
            ended.save(update_fields=["given_back"])


def _give(row: Row, still: Back | None, *, reason: str, actor: str, now: datetime) -> None:
    for withdrawal in reversed(row.withdrawals):
        posted = withdrawals.give_back(transaction_id=withdrawal, reason=reason[:500], actor=actor, now=now, still=still)
        if posted is not None and row.given_back is None:
            row.given_back = posted.transaction_id
