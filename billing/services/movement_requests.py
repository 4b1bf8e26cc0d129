"""Movements by hand: made at once where one person may, else asked for and made when a second person approves.

    requested -> approved | rejected | withdrawn

Every step takes the row of the request first and then the wallets, so that of two who decide at once one wins and the
other reads who did. Approving runs the movement in the transaction of the decision, as things are by then: what the ledger
refuses leaves the request open.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from billing.errors import DecisionRefused, InvalidRequest, NeedsSecondPerson, UnknownEvent, UnknownRequest
from billing.models import BillingNoticeKind, Environment, MovementKind, MovementRequest, RequestState, UsageRecord
from billing.queries import movement_requests as requests
from billing.queries.by_hand import actor_of
from billing.services import keys, ledger, notices, refunds
from billing.services.journal import Posted
from config.base.database import retrying


def move(
    *,
    kind: MovementKind,
    wallet_id: int,
    credits: Decimal | None,
    reason: str,
    requested_by: User,
    now: datetime,
    to_wallet_id: int | None = None,
    expires_at: datetime | None = None,
    usage_record_id: int | None = None,
) -> Posted | MovementRequest:
    """Move credits in the name of a person; what is above the limit becomes a request, and nothing moves yet.

    `credits` of a refund may be None: all that is left of the charge. What could not be made anyway is refused, not asked for:
    raises what `ledger.grant`, `adjust`, `transfer` and `refunds.refund_event` do, except NeedsSecondPerson.
    """
    wish = MovementRequest(
        kind=kind,
        wallet_id=wallet_id,
        to_wallet_id=to_wallet_id,
        credits=credits,
        expires_at=expires_at,
        usage_record_id=usage_record_id,
        reason=reason,
        requested_by=requested_by,
        requested_at=now,
    )
    try:
        return _run(wish, now=now)
    except NeedsSecondPerson as refusal:
        return _ask(wish, limit=refusal.figures["limit"], moved=refusal.figures["moved"])


def approve(*, request_id: int, reason: str, decided_by: User, now: datetime) -> MovementRequest:
    """Make the movement, in its author's name and with this approval.

    Raises UnknownRequest, DecisionRefused (decided already, one's own, its author may not do it any more), InvalidRequest (no
    reason), and whatever the ledger refuses by now: InsufficientCredits, WalletFrozen, RefundExceedsCharge, InvalidRequest. The
    request then stays open.
    """

    def work() -> MovementRequest:
        with transaction.atomic():
            row = _to_decide(request_id, reason, decided_by)
            if words := requests.author_may_not(row):
                raise DecisionRefused(words)
            row.transaction_id = _run(row, now=now, approved_by=decided_by).transaction_id
            return _close(row, RequestState.APPROVED, reason, now, decided_by)

    return retrying(work)


def reject(*, request_id: int, reason: str, decided_by: User, now: datetime) -> MovementRequest:
    """Turn a request down: nothing moves. Raises UnknownRequest, DecisionRefused (decided already, one's own), InvalidRequest."""
    with transaction.atomic():
        return _close(_to_decide(request_id, reason, decided_by), RequestState.REJECTED, reason, now, decided_by)


def withdraw(*, request_id: int, reason: str, by: User, now: datetime) -> MovementRequest:
    """Take one's own request back. Raises UnknownRequest, DecisionRefused (decided already, somebody else's), InvalidRequest."""
    with transaction.atomic():
        row = _still_open(request_id, reason)
        if row.requested_by != by:
            raise DecisionRefused(f"Only {row.requested_by}, who asked for this, can withdraw it: you can reject it.")
        return _close(row, RequestState.WITHDRAWN, reason, now, None)


@transaction.atomic
def _ask(wish: MovementRequest, *, limit: Decimal, moved: Decimal) -> MovementRequest:
    """Let a movement wait for those who may decide on it."""
    if wish.credits is None:
        assert wish.usage_record_id is not None
        wish.credits = requests.refundable(wish.usage_record_id)
    wish.limit_credits, wish.moved_credits = limit, moved
    wish.save()
    notices.owe(kind=BillingNoticeKind.MOVEMENT_REQUESTED, about=wish, now=wish.requested_at, but_not=wish.requested_by)
    return wish


def _run(row: MovementRequest, *, now: datetime, approved_by: User | None = None) -> Posted:
    """Make the movement that a request describes."""
    about: dict[str, Any] = {
        "reason": row.reason,
        "actor": actor_of(row.requested_by.get_username()),
        "now": now,
        "approved_by": approved_by,
    }
    match MovementKind(row.kind):
        case MovementKind.GRANT:
            return ledger.grant(wallet_id=row.wallet_id, credits=row.credits, expires_at=row.expires_at, **about)
        case MovementKind.ADJUSTMENT:
            return ledger.adjust(wallet_id=row.wallet_id, credits=row.credits, **about)
        case MovementKind.TRANSFER:
            assert row.to_wallet_id is not None
            return ledger.transfer(from_wallet_id=row.wallet_id, to_wallet_id=row.to_wallet_id, credits=row.credits, **about)
        case MovementKind.REFUND:
            return _refund(row, now, approved_by)


def _refund(row: MovementRequest, now: datetime, approved_by: User | None) -> Posted:
    assert row.usage_record_id is not None
    record = UsageRecord.objects.select_related("project").filter(pk=row.usage_record_id).first()
    if record is None:
        raise UnknownEvent("The usage record of this charge is not kept any more, so it cannot be refunded. Grant credits instead.")
    actor = actor_of(row.requested_by.get_username())
    return refunds.refund_event(
        caller=keys.project_caller(record.project, environment=Environment(record.environment), actor=actor),
        record_id=record.pk,
        credits=row.credits,
        reason=row.reason,
        now=now,
        approved_by=approved_by,
    )


def _still_open(request_id: int, reason: str) -> MovementRequest:
    """Take the row of a request for this transaction; of all that is decided about it, one thing happens.

    Who decided is read after the wait for the row: a join would say who had by the time the wait began, nobody.
    """
    row = MovementRequest.objects.select_for_update(of=("self",)).select_related("requested_by").filter(pk=request_id).first()
    if row is None:
        raise UnknownRequest("There is no such request.")
    if row.state != RequestState.REQUESTED:
        who = f" by {row.decided_by}" if row.decided_by else ""
        raise DecisionRefused(f"This request was {row.state}{who} meanwhile: nothing is left to do with it.")
    if not reason.strip():
        raise InvalidRequest("reason", "must say why you decided so")
    return row


def _to_decide(request_id: int, reason: str, decided_by: User) -> MovementRequest:
    row = _still_open(request_id, reason)
    if row.requested_by == decided_by:
        raise DecisionRefused("You asked for this, so another person decides on it. You can withdraw it.")
    return row


def _close(row: MovementRequest, state: RequestState, reason: str, now: datetime, by: User | None) -> MovementRequest:
    row.state, row.decision_reason, row.decided_at, row.decided_by = state, reason, now, by
    row.save(update_fields=["state", "decision_reason", "decided_at", "decided_by", "transaction_id"])
    return row
