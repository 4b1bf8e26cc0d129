"""Disputes: a buyer's bank takes a payment back, and may give it back again.

While the bank decides, the money is gone from our balance and the credits from the wallet, which is frozen. A dispute that
is won puts exactly those credits back; one that is lost leaves things as they are. An inquiry moves nothing.

No end is the last word: what was lost is won on appeal, what was won or closed is opened again, or lost after all. So what
Stripe said last counts, whatever came here last, and the credits leave and return as often as the money does.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from django.db import transaction

from billing.models import BillingNoticeKind, Dispute, DisputeState, StripeEvent, TopUp, Wallet, WalletStatus
from billing.queries import money_back as queries
from billing.services import customers, money_back, notices, platform_fees
from billing.services.money_back import ACTOR, locked_topup
from billing.services.stripe_handling import Handler
from config.base.database import retrying
from config.base.exact import plain

_ENDS: Final = {"won": DisputeState.WON, "lost": DisputeState.LOST, "warning_closed": DisputeState.CLOSED}
# What news of the same second tells later: an end comes after its dispute, and that after the inquiry.
_RANK: Final = {DisputeState.WARNING: 0, DisputeState.OPEN: 1, DisputeState.CLOSED: 2, DisputeState.WON: 2, DisputeState.LOST: 2}
# Within a state: an answer that was sent in is not unsent by older news.
_ANSWERED: Final = {"warning_under_review", "under_review", "appeal_under_review"}


def state_of(told: dict[str, Any]) -> DisputeState:
    """Return what a status of Stripe's means here; one that is not known is an open dispute, the careful reading.

    One that is appealed has been lost, and stays so unless the appeal is won. A dispute that was `prevented` never becomes a
    chargeback. It was either stopped, or settled by giving the money back: whether money left us says which.
    """
    status: str = told["status"]
    if status == "prevented":
        moved = sum(one["amount"] for one in _moved(told))
        return DisputeState.LOST if moved < 0 else DisputeState.CLOSED
    if status in _ENDS:
        return _ENDS[status]
    if status.startswith("appeal_"):
        return DisputeState.LOST
    return DisputeState.WARNING if status.startswith("warning_") else DisputeState.OPEN


def apply(told: dict[str, Any], now: datetime, *, told_at: datetime | None = None) -> str:
    """Follow a dispute object as Stripe had it at `told_at` (`now` if it was just asked); return what that did.

    What Stripe said before what we know changes nothing. Raises NotOurs (no such payment here), NotYet (its payment has not
    been credited).
    """
    state = state_of(told)
    news = _News(told, state, told_at or now)

    def work() -> str:
        with transaction.atomic():
            topup = locked_topup(payment_intent=told.get("payment_intent"), charge=told.get("charge"))
            # Before the dispute's own row: two disputes of one wallet hand the frozen wallet on to each other.
            Wallet.objects.select_for_update().get(pk=topup.wallet_id)
            dispute, is_new = _row_of(news, topup, now)
            if not is_new and not news.is_later_than(dispute):
                return f"Dispute {told['id']} was {dispute.get_state_display().lower()} already."
            before, was_said = DisputeState(dispute.state), dispute.stripe_status
            _move(dispute, topup, news, now)
            if is_new or (before, was_said) != (state, told["status"]):
                dispute.changed_at = now
            dispute.state, dispute.stripe_status = state, told["status"]
            dispute.told_at, dispute.movement_count = news.told_at, news.movement_count
            dispute.reason, dispute.evidence_due_at = news.reason, news.evidence_due_at
            if state == DisputeState.OPEN and before != DisputeState.OPEN:
                _freeze(dispute, topup)
                notices.owe(kind=BillingNoticeKind.DISPUTE_OPENED, about=dispute, now=now, cause=_cause(dispute, before))
            elif state != DisputeState.OPEN:
                _release(dispute, topup)
            dispute.save()
            return f"Dispute {told['id']} of {topup}: {dispute.get_state_display().lower()}, {plain(dispute.credits)} credits."

    return retrying(work)


@dataclass(frozen=True, slots=True)
class _News:
    """A dispute as Stripe had it at one moment."""

    told: dict[str, Any]
    state: DisputeState
    told_at: datetime

    @property
    def movement_count(self) -> int:
        return len(_moved(self.told))

    @property
    def reason(self) -> str:
        return str(self.told.get("reason") or "")[:100]

    @property
    def evidence_due_at(self) -> datetime | None:
        due_by = (self.told.get("evidence_details") or {}).get("due_by")
        return datetime.fromtimestamp(due_by, UTC) if due_by else None

    def is_later_than(self, dispute: Dispute) -> bool:
        """Say whether this tells more than what we know.

        Stripe's clock gives seconds, and several events may share one: then whoever knows of more movements of the money
        was later, then whoever tells of an end.
        """
        ours, known = (self.told_at, self.movement_count), (dispute.told_at, dispute.movement_count)
        if ours != known:
            return ours > known
        rank, before = _RANK[self.state], _RANK[DisputeState(dispute.state)]
        if rank != before:
            return rank > before
        return dispute.stripe_status not in _ANSWERED or self.told["status"] in _ANSWERED or self.state != dispute.state


def _row_of(news: _News, topup: TopUp, now: datetime) -> tuple[Dispute, bool]:
    told = news.told
    return Dispute.objects.select_for_update(of=("self",)).get_or_create(
        stripe_id=told["id"],
        defaults={
            "topup": topup,
            "amount_minor": told["amount"],
            "currency": told["currency"].upper(),
            "stripe_status": told["status"],
            "state": DisputeState.WARNING,
            "opened_at": datetime.fromtimestamp(told["created"], UTC),
            "changed_at": now,
            "told_at": news.told_at,
        },
    )


def _move(dispute: Dispute, topup: TopUp, news: _News, now: datetime) -> None:
    """Let the credits go where the money went: away, back, or to another amount."""
    was_away, is_away = dispute.state in money_back.DISPUTES_AWAY, news.state in money_back.DISPUTES_AWAY
    money = (news.told["amount"], news.told["currency"].upper())
    is_another = money != (dispute.amount_minor, dispute.currency)
    if was_away and (not is_away or is_another):
        reason = f"Dispute {dispute.stripe_id} {'is about another amount' if is_away else f'was {news.state.label.lower()}'}"
        money_back.give_back(dispute, topup, reason=reason, actor=ACTOR, now=now)
    dispute.amount_minor, dispute.currency = money
    if is_away and (not was_away or is_another):
        money_back.take(dispute, topup, reason=f"Dispute {dispute.stripe_id}: {news.reason}", actor=ACTOR, now=now)


def _cause(dispute: Dispute, before: DisputeState) -> str:
    """Name the notice of a dispute that is opened again apart from that of its first opening."""
    return f"{dispute.pk}-{dispute.told_at:%Y%m%dT%H%M%S}" if before in queries.OVER else ""


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
    return apply(event.object, now, told_at=event.happened_at)


def _on_funds(event: StripeEvent, now: datetime) -> str:
    """The money moved: what the bank charges for the dispute, or gives back, is a fee of the payment."""
    told = event.object
    done = apply(told, now, told_at=event.happened_at)
    topup = Dispute.objects.select_related("topup__payment").get(stripe_id=told["id"]).topup
    if topup.payment is None:
        return done
    kept = [
        platform_fees.record(payment=topup.payment, transaction=one, kind="dispute", is_live=topup.is_live, now=now) for one in _moved(told)
    ]
    return f"{done} {sum(kept)} fees." if any(kept) else done


HANDLERS: Final[dict[str, Handler]] = {
    "charge.dispute.created": _on_dispute,
    "charge.dispute.updated": _on_dispute,
    "charge.dispute.closed": _on_dispute,
    "charge.dispute.funds_withdrawn": _on_funds,
    "charge.dispute.funds_reinstated": _on_funds,
}
