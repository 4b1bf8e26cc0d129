"""Disputes: a buyer's bank takes a payment back, and may give it back again.

While the bank decides, the money is gone from our balance and the credits from the wallet, which is frozen. A dispute that
is won puts exactly those credits back; one that is lost leaves things as they are. An inquiry moves nothing.
"""

from datetime import UTC, datetime
from typing import Any, Final

from django.db import transaction

from billing.models import BillingNoticeKind, Dispute, DisputeState, StripeEvent, TopUp, Wallet, WalletStatus
from billing.services import customers, money_back, notices, platform_fees
from billing.services.money_back import ACTOR, locked_topup
from billing.services.stripe_handling import Handler
from config.base.database import retrying
from config.base.exact import plain

_ENDS: Final = {"won": DisputeState.WON, "lost": DisputeState.LOST, "warning_closed": DisputeState.CLOSED}
# A dispute goes on from left to right. A lost one may still be won, on appeal.
_NEXT: Final = {
    DisputeState.WARNING: {DisputeState.WARNING, DisputeState.OPEN, DisputeState.WON, DisputeState.LOST, DisputeState.CLOSED},
    DisputeState.OPEN: {DisputeState.OPEN, DisputeState.WON, DisputeState.LOST, DisputeState.CLOSED},
    DisputeState.CLOSED: {DisputeState.LOST},
    DisputeState.LOST: {DisputeState.WON},
    DisputeState.WON: set(),
}
# Within a state: an answer that was sent in is not unsent by older news.
_ANSWERED: Final = {"warning_under_review", "under_review", "appeal_under_review"}


def state_of(told: dict[str, Any]) -> DisputeState:
    """Return what a status of Stripe's means here; one that is not known is an open dispute, the careful reading.

    A dispute that was `prevented` never becomes a chargeback. It was either stopped, or settled by giving the money back:
    whether money left us says which.
    """
    status: str = told["status"]
    if status == "prevented":
        moved = sum(one["amount"] for one in _moved(told))
        return DisputeState.LOST if moved < 0 else DisputeState.CLOSED
    if status in _ENDS:
        return _ENDS[status]
    return DisputeState.WARNING if status.startswith("warning_") else DisputeState.OPEN


def apply(told: dict[str, Any], now: datetime) -> str:
    """Follow a dispute object of Stripe's; return what that did. An older state than ours changes nothing.

    Raises NotOurs (no such payment here), NotYet (its payment has not been credited).
    """
    state = state_of(told)

    def work() -> str:
        with transaction.atomic():
            topup = locked_topup(payment_intent=told.get("payment_intent"), charge=told.get("charge"))
            # Before the dispute's own row: two disputes of one wallet hand the frozen wallet on to each other.
            Wallet.objects.select_for_update().get(pk=topup.wallet_id)
            dispute, is_new = _row_of(told, topup, now)
            before = DisputeState(dispute.state)
            if not is_new and _is_old(dispute, told, state):
                return f"Dispute {told['id']} was {dispute.get_state_display().lower()} already."
            if state in money_back.DISPUTES_AWAY:
                reason = f"Dispute {dispute.stripe_id}: {dispute.reason}"
                money_back.take(dispute, topup, reason=reason, actor=ACTOR, now=now)
            elif state in {DisputeState.WON, DisputeState.CLOSED}:
                reason = f"Dispute {dispute.stripe_id} was {state.label.lower()}"
                money_back.give_back(dispute, topup, reason=reason, actor=ACTOR, now=now)
            dispute.state, dispute.stripe_status, dispute.changed_at = state, told["status"], now
            if state == DisputeState.OPEN and before != DisputeState.OPEN:
                _freeze(dispute, topup)
                notices.owe(kind=BillingNoticeKind.DISPUTE_OPENED, about=dispute, now=now)
            elif state != DisputeState.OPEN:
                _release(dispute, topup)
            dispute.save()
            return f"Dispute {told['id']} of {topup}: {dispute.get_state_display().lower()}, {plain(dispute.credits)} credits."

    return retrying(work)


def _row_of(told: dict[str, Any], topup: TopUp, now: datetime) -> tuple[Dispute, bool]:
    due_by = (told.get("evidence_details") or {}).get("due_by")
    reason = (told.get("reason") or "")[:100]
    due_at = datetime.fromtimestamp(due_by, UTC) if due_by else None
    dispute, is_new = Dispute.objects.select_for_update(of=("self",)).get_or_create(
        stripe_id=told["id"],
        defaults={
            "topup": topup,
            "amount_minor": told["amount"],
            "currency": told["currency"].upper(),
            "stripe_status": told["status"],
            "state": DisputeState.WARNING,
            "opened_at": datetime.fromtimestamp(told["created"], UTC),
            "changed_at": now,
            "reason": reason,
            "evidence_due_at": due_at,
        },
    )
    if not _is_old(dispute, told, state_of(told)):
        dispute.reason, dispute.evidence_due_at = reason, due_at
    return dispute, is_new


def _is_old(dispute: Dispute, told: dict[str, Any], state: DisputeState) -> bool:
    """Say whether this was so before what we know."""
    before = DisputeState(dispute.state)
    if state not in _NEXT[before] or (before == DisputeState.CLOSED and dispute.withdrawal is not None):
        return True
    return state == before and dispute.stripe_status in _ANSWERED and told["status"] not in _ANSWERED


def _freeze(dispute: Dispute, topup: TopUp) -> None:
    """Freeze the wallet unless it is frozen: what a person froze is a person's to release."""
    if Wallet.objects.get(pk=topup.wallet_id).status == WalletStatus.ACTIVE:
        customers.set_status(wallet_id=topup.wallet_id, status=WalletStatus.FROZEN, reason=f"Dispute {dispute.stripe_id} was opened")
        dispute.has_frozen = True


def _release(dispute: Dispute, topup: TopUp) -> None:
    """Release the wallet if this dispute had frozen it."""
    if not dispute.has_frozen:
        return
    dispute.has_frozen = False
    # Another dispute of this customer that is still open keeps the wallet frozen, and releases it in its turn.
    other = Dispute.objects.filter(topup__wallet=topup.wallet_id, state=DisputeState.OPEN).exclude(pk=dispute.pk).order_by("pk").first()
    if other is not None:
        Dispute.objects.filter(pk=other.pk).update(has_frozen=True)
        return
    if Wallet.objects.get(pk=topup.wallet_id).status == WalletStatus.FROZEN:
        customers.set_status(wallet_id=topup.wallet_id, status=WalletStatus.ACTIVE, reason=f"Dispute {dispute.stripe_id} is over")


def _moved(told: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the balance transactions that a dispute object tells of."""
    return [one for one in told.get("balance_transactions") or () if isinstance(one, dict)]


def _on_dispute(event: StripeEvent, now: datetime) -> str:
    return apply(event.object, now)


def _on_funds(event: StripeEvent, now: datetime) -> str:
    """The money moved: what the bank charges for the dispute, or gives back, is a fee of the payment."""
    told = event.object
    done = apply(told, now)
    payment = Dispute.objects.select_related("topup__payment").get(stripe_id=told["id"]).topup.payment
    if payment is None:
        return done
    kept = [platform_fees.record(payment=payment, transaction=one, kind="dispute", now=now) for one in _moved(told)]
    return f"{done} {sum(kept)} fees." if any(kept) else done


HANDLERS: Final[dict[str, Handler]] = {
    "charge.dispute.created": _on_dispute,
    "charge.dispute.updated": _on_dispute,
    "charge.dispute.closed": _on_dispute,
    "charge.dispute.funds_withdrawn": _on_funds,
    "charge.dispute.funds_reinstated": _on_funds,
}
