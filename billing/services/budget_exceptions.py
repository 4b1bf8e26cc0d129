"""Exceptions to budgets: so much more than the limit, for a while, when a second person agrees.

    requested -> approved | rejected | revoked
    approved -> revoked

Every step takes the row of the exception first, so that of two who decide at once one wins and the other reads who did.
An approved one raises the limit from the next charge on and ends by itself; charges read it by the clock.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.contrib.auth.models import User
from django.db import transaction

from billing.errors import DecisionRefused, InvalidRequest, UnknownRequest
from billing.models import BillingNoticeKind, Budget, BudgetException, ExceptionState
from billing.models.fields import save_with_reason
from billing.queries import lookup
from billing.queries.budget_exceptions import DECIDE
from billing.services import notices
from config.base.exact import MAX_MONEY, MONEY_PLACES, ZERO, has_more_places

LONGEST: Final = timedelta(days=92)
# What the id of a top-up of ours begins with, here or at Stripe; anything else names a record of another system.
_NAMES_A_TOPUP: Final = ("topup_", "cs_", "pi_", "ch_", "py_")


@transaction.atomic
def request(
    *,
    budget: Budget,
    extra: Decimal,
    reason: str,
    ticket: str,
    expires_at: datetime,
    requested_by: User,
    now: datetime,
    starts_at: datetime | None = None,
    recharge_id: str = "",
) -> BudgetException:
    """Ask for `extra` units of the budget's measure on top of its limit, from `starts_at` (now unless given) until `expires_at`.

    Raises InvalidRequest, DecisionRefused (the budget has ended). Nothing changes until somebody else approves it.
    """
    _refuse_ended(budget)
    wish = BudgetException(
        budget=budget,
        extra=extra,
        reason=reason.strip(),
        ticket=ticket.strip(),
        recharge_id=recharge_id.strip(),
        starts_at=max(starts_at or now, now),
        expires_at=expires_at,
        requested_by=requested_by,
        requested_at=now,
    )
    _check(wish, now)
    setattr(wish, "_change_reason", wish.reason)  # noqa: B010 - simple-history reads the reason from here
    wish.save(force_insert=True)
    notices.owe(kind=BillingNoticeKind.EXCEPTION_REQUESTED, about=wish, now=now, but_not=requested_by)
    return wish


def approve(*, exception_id: int, reason: str, decided_by: User, now: datetime) -> BudgetException:
    """Raise the limit as it was asked for. Raises UnknownRequest, DecisionRefused (decided, one's own, too late), InvalidRequest."""
    with transaction.atomic():
        row = _to_decide(exception_id, reason, decided_by)
        if row.expires_at <= now:
            raise DecisionRefused("The time that it was asked for is over: reject it, and ask for another one.")
        _refuse_ended(row.budget)
        return _close(row, ExceptionState.APPROVED, reason, decided_by, now)


def reject(*, exception_id: int, reason: str, decided_by: User, now: datetime) -> BudgetException:
    """Leave the limit as it is. Raises UnknownRequest, DecisionRefused (decided already, one's own), InvalidRequest."""
    with transaction.atomic():
        return _close(_to_decide(exception_id, reason, decided_by), ExceptionState.REJECTED, reason, decided_by, now)


def revoke(*, exception_id: int, reason: str, by: User, now: datetime) -> BudgetException:
    """End an exception before its time, or take back one's own that nobody has decided on.

    Whoever asked for it may, and whoever decides on exceptions. What was spent by it stays spent.
    Raises UnknownRequest, DecisionRefused, InvalidRequest.
    """
    with transaction.atomic():
        row = _locked(exception_id, reason)
        waits = row.state == ExceptionState.REQUESTED
        if not waits and row.state != ExceptionState.APPROVED:
            raise DecisionRefused(_is_decided(row))
        if row.requested_by != by and (waits or not by.has_perm(DECIDE)):
            may = "you can reject it" if by.has_perm(DECIDE) else "or whoever decides on exceptions"
            raise DecisionRefused(f"Only {row.requested_by}, who asked for this, can take it back: {may}.")
        if not waits and row.expires_at <= now:
            raise DecisionRefused("It has ended by itself: nothing is left to end.")
        return _close(row, ExceptionState.REVOKED, reason, by, now)


def _check(wish: BudgetException, now: datetime) -> None:
    if not wish.extra.is_finite() or not ZERO < wish.extra <= MAX_MONEY or has_more_places(wish.extra, MONEY_PLACES):
        raise InvalidRequest("extra", f"must be above 0, at most {MAX_MONEY:,.0f}, with at most {MONEY_PLACES} places")
    if wish.expires_at <= wish.starts_at:
        raise InvalidRequest("expires_at", "must lie in the future, and after the beginning")
    if wish.expires_at > now + LONGEST:
        raise InvalidRequest("expires_at", f"must be at most {LONGEST.days} days from now: what is needed for longer is another limit")
    for name in ("reason", "ticket"):
        if not getattr(wish, name):
            raise InvalidRequest(name, "must not be empty")
    if wish.recharge_id.startswith(_NAMES_A_TOPUP) and lookup.topup(wish.recharge_id) is None:
        raise InvalidRequest("recharge_id", "names a top-up that is not here: check the number, or leave it empty")


def _refuse_ended(budget: Budget) -> None:
    if budget.ended_at is not None:
        raise DecisionRefused(f"The budget {budget} has ended and limits nothing any more.")


def _locked(exception_id: int, reason: str) -> BudgetException:
    """Take the row for this transaction. Who decided is read after the wait: a join would say who had when it began, nobody."""
    row = BudgetException.objects.select_for_update(of=("self",)).select_related("requested_by", "budget").filter(pk=exception_id).first()
    if row is None:
        raise UnknownRequest("There is no such exception.")
    if not reason.strip():
        raise InvalidRequest("reason", "must say why you decided so")
    return row


def _to_decide(exception_id: int, reason: str, decided_by: User) -> BudgetException:
    row = _locked(exception_id, reason)
    if row.state != ExceptionState.REQUESTED:
        raise DecisionRefused(_is_decided(row))
    if row.requested_by == decided_by:
        raise DecisionRefused("You asked for this, so another person decides on it. You can take it back.")
    return row


def _is_decided(row: BudgetException) -> str:
    return f"This exception was {row.state} by {row.decided_by} meanwhile: nothing is left to do with it."


def _close(row: BudgetException, state: ExceptionState, reason: str, by: User, now: datetime) -> BudgetException:
    row.state, row.decision_reason, row.decided_at, row.decided_by = state, reason.strip(), now, by
    save_with_reason(row, "state", "decision_reason", "decided_at", "decided_by", reason=reason)
    return row
