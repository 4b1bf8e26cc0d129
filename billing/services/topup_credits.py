"""Crediting what was paid where something else had been ordered.

The rule: credits, bonus and value of the order, each times what was paid by what was ordered; credits to the sixth place,
half to even. The order then is what was paid, so that refunds, disputes and reconciliation go on from there; what had been
ordered stays with the payment. Only in the order's currency: a rate of exchange would be a guess.

Above the workspace's limit of refunds, or of credits by hand, a second person decides.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.contrib.auth.models import User
from django.db import transaction

from billing.errors import DecisionRefused
from billing.models import (
    BillingNoticeKind,
    DisputeState,
    RefundState,
    TopUp,
    TopUpStatus,
    UnappliedKind,
    UnappliedPayment,
    UnappliedState,
)
from billing.models.fields import save_with_reason
from billing.queries.by_hand import actor_of
from billing.services import notices, topups
from config.base.database import retrying
from config.base.exact import CONTEXT, CREDIT_STEP, Rounding, round_money, round_to
from pricing.queries import workspace

PERMISSION: Final = "billing.refund_topup"
_ASKED: Final = ("state", "credits", "bonus_credits", "book_value", "needs_approval", "reason", "requested_by", "requested_at")
_DECIDED: Final = ("state", "decided_by", "decided_at", "decision_reason", "changed_at")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a payment buys: `book_value` in the book currency."""

    credits: Decimal
    bonus_credits: Decimal
    book_value: Decimal
    needs_approval: bool


def terms(row: UnappliedPayment) -> Terms:
    """Work out what a payment in the order's currency buys in proportion to the order."""

    def part(of: Decimal) -> Decimal:
        return CONTEXT.divide(CONTEXT.multiply(of, Decimal(row.amount_minor)), Decimal(row.ordered_minor))

    credits, bonus = (round_to(part(of), CREDIT_STEP, Rounding.HALF_EVEN) for of in (row.ordered_credits, row.ordered_bonus_credits))
    value, limits = round_money(part(row.ordered_value)), workspace.load()
    is_large = value > limits.refund_limit or credits + bonus > limits.approval_limit_credits
    return Terms(credits, bonus, value, is_large)


def obstacle(row: UnappliedPayment, topup: TopUp) -> str:
    """Say why a payment cannot be credited; empty if it can."""
    goes_back = row.state == UnappliedState.RETURNED or row.refunds.exclude(state__in=(RefundState.FAILED, RefundState.REJECTED)).exists()
    is_disputed = topup.disputes.exclude(state__in=(DisputeState.WON, DisputeState.CLOSED)).exists()
    reasons = (
        (row.state == UnappliedState.CREDITED, "This payment has been credited."),
        (row.kind != UnappliedKind.OTHERWISE, "The order has its payment: what was paid beside it goes back."),
        (goes_back, "This money goes back to the buyer already, at least in part."),
        (not row.payment_intent or row.amount_minor <= 0, "Stripe names no payment, so there is nothing to credit."),
        (
            row.currency != topup.currency,
            f"It came in {row.currency} and the order is in {topup.currency}: a rate of exchange would be a guess. Send it back.",
        ),
        (row.payment_intent != topup.payment_intent, "Another payment was to pay this order: send this one back."),
        (is_disputed, "The buyer's bank asks for this money back: wait until that is decided."),
        (terms(row).credits <= 0, "What was paid buys no credits: send it back."),
    )
    return next((words for is_so, words in reasons if is_so), "")


def credit(*, payment_id: int, reason: str, requested_by: User, now: datetime) -> UnappliedPayment:
    """Credit what was paid, or have it wait for a second person (`asked`). Raises DecisionRefused."""

    def work() -> UnappliedPayment:
        with transaction.atomic():
            row, topup = _locked(payment_id)
            if row.state == UnappliedState.ASKED:
                raise DecisionRefused(f"{row.requested_by} has asked for this already: it waits for a second person.")
            if words := obstacle(row, topup):
                raise DecisionRefused(words)
            found = terms(row)
            row.credits, row.bonus_credits, row.book_value = found.credits, found.bonus_credits, found.book_value
            row.needs_approval, row.state = found.needs_approval, UnappliedState.ASKED
            row.reason, row.requested_by, row.requested_at, row.changed_at = reason, requested_by, now, now
            row.decided_by, row.decided_at, row.decision_reason = None, None, ""
            if not found.needs_approval:
                return _post(row, topup, why=reason, now=now)
            save_with_reason(row, *_ASKED, *_DECIDED, reason=reason)
            notices.owe(
                kind=BillingNoticeKind.TOPUP_MISMATCH, about=topup, now=now, cause=f"{topup.pk}:{now.isoformat()}", but_not=requested_by
            )
            return row

    return retrying(work)


def approve(*, payment_id: int, reason: str, decided_by: User, now: datetime) -> UnappliedPayment:
    """Credit what another person asked to credit, in that person's name. Raises DecisionRefused."""

    def work() -> UnappliedPayment:
        with transaction.atomic():
            row, topup = _asked(payment_id)
            _refuse_author(row, decided_by)
            assert row.requested_by is not None
            if not row.requested_by.has_perm(PERMISSION):
                raise DecisionRefused(f"{row.requested_by} asked for this and may not do it any more: reject it, and ask anew.")
            if words := obstacle(row, topup):
                raise DecisionRefused(words)
            row.decided_by, row.decided_at, row.decision_reason, row.changed_at = decided_by, now, reason, now
            return _post(row, topup, why=reason, now=now)

    return retrying(work)


def reject(*, payment_id: int, reason: str, decided_by: User, now: datetime) -> UnappliedPayment:
    """Turn down what another person asked to credit: the payment waits for a decision again. Raises DecisionRefused."""
    with transaction.atomic():
        row, _ = _asked(payment_id)
        _refuse_author(row, decided_by)
        row.state, row.decided_by, row.decided_at, row.decision_reason, row.changed_at = UnappliedState.OPEN, decided_by, now, reason, now
        save_with_reason(row, *_DECIDED, reason=reason)
        return row


def withdraw(*, payment_id: int, reason: str, by: User, now: datetime) -> UnappliedPayment:
    """Take back one's own wish to credit a payment. Raises DecisionRefused."""
    with transaction.atomic():
        row, _ = _asked(payment_id)
        if row.requested_by != by:
            raise DecisionRefused(f"Only {row.requested_by}, who asked for this, can withdraw it: you can reject it.")
        row.state, row.changed_at = UnappliedState.OPEN, now
        save_with_reason(row, "state", "changed_at", reason=reason)
        return row


def close(*, payment_id: int, reason: str, by: User, now: datetime) -> UnappliedPayment:
    """End an order that Stripe calls paid without a payment: nothing can go back. Raises DecisionRefused."""
    with transaction.atomic():
        row, topup = _locked(payment_id)
        if row.payment_intent or row.state != UnappliedState.OPEN:
            raise DecisionRefused("Only what came without a payment can be closed, and once: send other money back.")
        row.state, row.reason, row.requested_by, row.requested_at, row.changed_at = UnappliedState.CLOSED, reason, by, now, now
        save_with_reason(row, "state", "reason", "requested_by", "requested_at", "changed_at", reason=reason)
        topup.status, topup.changed_at = TopUpStatus.RETURNED, now
        topup.save(update_fields=["status", "changed_at"])
        return row


def _post(row: UnappliedPayment, topup: TopUp, *, why: str, now: datetime) -> UnappliedPayment:
    assert row.requested_by is not None
    row.state = UnappliedState.CREDITED
    save_with_reason(row, *_ASKED, *_DECIDED, reason=why)
    topups.become_what_was_paid(topup, row, actor=actor_of(row.requested_by.get_username()), reason=row.reason, now=now)
    return row


def _locked(payment_id: int) -> tuple[UnappliedPayment, TopUp]:
    """Lock the top-up and then the payment; the payment is read once it is ours."""
    topup_id = UnappliedPayment.objects.values_list("topup_id", flat=True).get(pk=payment_id)
    topup = topups.locked(topup_id)
    return UnappliedPayment.objects.select_for_update(of=("self",)).select_related("requested_by").get(pk=payment_id), topup


def _asked(payment_id: int) -> tuple[UnappliedPayment, TopUp]:
    row, topup = _locked(payment_id)
    if row.state != UnappliedState.ASKED:
        raise DecisionRefused(f"Nobody waits for this decision any more: the payment is {row.get_state_display().lower()}.")
    return row, topup


def _refuse_author(row: UnappliedPayment, decided_by: User) -> None:
    if row.requested_by == decided_by:
        raise DecisionRefused("You asked for this, so another person decides on it. You can withdraw it.")
