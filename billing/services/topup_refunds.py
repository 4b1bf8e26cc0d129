"""Refunds of top-ups: asked for by a person, approved by another above the limit, sent to Stripe, and followed there.

Stripe's answer and Stripe's events go the same way, `apply`, whichever comes first. A refund that was made in Stripe's own
dashboard comes as an event only, and is followed like ours. It takes its credits as soon as it exists, since from then on
the money has left our balance, and gives exactly those back should it fail.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet, Sum
from django.db.models.functions import Coalesce

from billing.errors import DecisionRefused, RefundExceedsPayment, StripeRefused, StripeUnavailable, UnknownRefund
from billing.minor_units import to_major
from billing.models import (
    BillingNoticeKind,
    RefundState,
    StripeEvent,
    TopUp,
    TopUpRefund,
    TopUpStatus,
    UnappliedPayment,
    UnappliedState,
)
from billing.services import money_back, notices, unapplied_payments, withdrawals
from billing.services.money_back import ACTOR, locked_topup
from billing.services.stripe_gateway import Answer, Gateway
from billing.services.stripe_handling import Handler, NotYet
from billing.services.withdrawals import Back, Foreseen
from config.base.database import retrying
from config.base.exact import ZERO, plain
from pricing.models import SpentRefundPolicy
from pricing.queries import workspace

NO_ANSWER: Final = "Stripe has not answered so far. It is sent again every minute."
# In the order in which a refund may go on; one that has succeeded can still be sent back by the bank.
_ROAD: Final = [RefundState.REQUESTED, RefundState.APPROVED, RefundState.PENDING, RefundState.SUCCEEDED, RefundState.FAILED]
_STATES: Final = {
    "pending": RefundState.PENDING,
    "requires_action": RefundState.PENDING,
    "succeeded": RefundState.SUCCEEDED,
    "failed": RefundState.FAILED,
    "canceled": RefundState.FAILED,
}
_NOT_BACK: Final = (RefundState.FAILED, RefundState.REJECTED)


def refundable(topup: TopUp) -> int:
    """Return how many minor units of a top-up nobody has refunded, asked to refund, or disputed."""
    return _left(topup, topup.refunds.filter(unapplied=None).exclude(state__in=_NOT_BACK))


def refundable_by(refund: TopUpRefund) -> int:
    """Return how many minor units could go back by a refund that waits now; who waits as well takes nothing away."""
    others = _others(refund).exclude(state__in=(*_NOT_BACK, RefundState.REQUESTED))
    return _left(refund.topup, others)


def overtaken(refund: TopUpRefund) -> str:
    """Say why a refund that is not sent yet cannot go out any more as it was asked for; empty while it can."""
    if refund.unapplied_id is not None:  # nothing else takes from a payment that was not credited
        return ""
    left = refundable_by(refund)
    if refund.amount_minor <= left:
        return ""
    topup = refund.topup
    since = [
        f"{_money(money_back.amount_of(one, topup), topup)} were disputed ({one.stripe_id})"
        for one in topup.disputes.filter(state__in=money_back.DISPUTES_AWAY).order_by("pk")
    ]
    since += [
        f"{_money(one.amount_minor, topup)} are refunded already ({one.stripe_id or f'refund {one.pk}'})"
        for one in _others(refund).exclude(state__in=(*_NOT_BACK, RefundState.REQUESTED)).order_by("pk")
    ]
    now = f"{_money(left, topup)} can be refunded now. Ask for at most that anew." if left else "Nothing is left to refund."
    return f"This refund of {_money(refund.amount_minor, topup)} was overtaken: {', '.join(since)}. {now}"


def _others(refund: TopUpRefund) -> QuerySet[TopUpRefund]:
    return TopUpRefund.objects.filter(topup=refund.topup_id, unapplied=None).exclude(pk=refund.pk)


def _left(topup: TopUp, refunds: QuerySet[TopUpRefund]) -> int:
    if topup.status != TopUpStatus.PAID:
        return 0
    asked = refunds.aggregate(sum=Coalesce(Sum("amount_minor"), 0))["sum"]
    disputed = sum(money_back.amount_of(one, topup) for one in topup.disputes.filter(state__in=money_back.DISPUTES_AWAY))
    return max(int(topup.amount_minor) - int(asked) - disputed, 0)


def _money(amount_minor: int, topup: TopUp) -> str:
    return f"{plain(to_major(amount_minor, topup.currency))} {topup.currency}"


@dataclass(frozen=True, slots=True)
class Preview:
    """What a refund would come to if it were asked for now."""

    taken: Foreseen
    policy: SpentRefundPolicy
    needs_approval: bool


def preview(*, topup: TopUp, amount_minor: int) -> Preview | None:
    """Say what a refund of so much would do; None for a top-up that was not credited."""
    if topup.payment is None:
        return None
    back = Back(min(money_back.went_back_minor(topup) + amount_minor, topup.amount_minor), topup.amount_minor)
    taken = withdrawals.foresee(payment=topup.payment, back=back)
    return Preview(taken, SpentRefundPolicy(workspace.load().spent_refund_policy), needs_approval(topup, amount_minor))


def needs_approval(topup: TopUp, amount_minor: int, *, currency: str = "") -> bool:
    """Say whether a second person must approve so much, all that was refunded without one so far counted in.

    What came in a currency that is neither the order's nor the books' always needs one: nobody knows what it is worth.
    """
    unapproved = topup.refunds.filter(needs_approval=False, requested_by__isnull=False).exclude(state__in=_NOT_BACK)
    money = [(one.amount_minor, one.currency) for one in unapproved.select_related("unapplied")]
    money.append((amount_minor, currency or topup.currency))
    worth = [unapplied_payments.worth(topup, amount_minor=minor, currency=code) for minor, code in money]
    known = [value for value in worth if value is not None]
    return len(known) < len(worth) or sum(known, ZERO) > workspace.load().refund_limit


def request(*, topup_id: int, amount_minor: int, reason: str, requested_by: User, now: datetime) -> TopUpRefund:
    """Ask for a refund. Up to the workspace's limit it is decided with that; above, a second person decides.

    The limit holds for all that is refunded of one top-up without a second person, so that it cannot be passed in parts.
    Raises RefundExceedsPayment.
    """
    with transaction.atomic():
        topup = TopUp.objects.select_for_update().get(pk=topup_id)
        left = refundable(topup)
        if not 0 < amount_minor <= left:
            raise RefundExceedsPayment(
                f"{_money(left, topup)} of this top-up can be refunded. Ask for at most that.", refundable_minor=left
            )
        return _ask(TopUpRefund(topup=topup, amount_minor=amount_minor, reason=reason, requested_by=requested_by, created_at=now))


def send_back(*, payment_id: int, reason: str, requested_by: User, now: datetime) -> TopUpRefund:
    """Ask for what is left of a payment that was not credited to go back, on the road of all refunds. No credits move.

    Raises RefundExceedsPayment (it goes back already, or there is no payment), DecisionRefused (somebody wants to credit it).
    """
    with transaction.atomic():
        known = UnappliedPayment.objects.get(pk=payment_id)
        topup = TopUp.objects.select_for_update().get(pk=known.topup_id)
        payment = UnappliedPayment.objects.select_for_update().get(pk=payment_id)
        if payment.state == UnappliedState.ASKED:
            raise DecisionRefused("Somebody asked to credit this payment: have that rejected or withdrawn first.")
        left = unapplied_payments.left_minor(payment)
        if not left:
            raise RefundExceedsPayment(
                "Nothing of this payment is left to send back: look at what was done about it.", refundable_minor=left
            )
        return _ask(
            TopUpRefund(topup=topup, unapplied=payment, amount_minor=left, reason=reason, requested_by=requested_by, created_at=now)
        )


def _ask(refund: TopUpRefund) -> TopUpRefund:
    """Write down a new refund of a locked top-up; above the limit it waits for a second person, who is told."""
    is_large = needs_approval(refund.topup, refund.amount_minor, currency=refund.currency)
    refund.state = RefundState.REQUESTED if is_large else RefundState.APPROVED
    refund.needs_approval, refund.changed_at = is_large, refund.created_at
    refund.save()
    if is_large:
        notices.owe(kind=BillingNoticeKind.REFUND_REQUESTED, about=refund, now=refund.created_at, but_not=refund.requested_by)
    return refund


def decide(*, refund_id: int, is_approved: bool, reason: str, decided_by: User, now: datetime) -> TopUpRefund:
    """Approve or reject a refund that another person asked for.

    One that a dispute or another refund has overtaken cannot be approved: it keeps waiting, to be rejected or until the
    dispute is won. Raises UnknownRefund, DecisionRefused, RefundExceedsPayment.
    """
    with transaction.atomic():
        refund = _waiting(refund_id)
        if refund.requested_by == decided_by:
            raise DecisionRefused("You asked for this refund, so somebody else must decide. You may withdraw the request.")
        if is_approved and (why := overtaken(refund)):
            raise RefundExceedsPayment(why, refundable_minor=refundable_by(refund))
        refund.decided_by = decided_by
        return _end_waiting(refund, RefundState.APPROVED if is_approved else RefundState.REJECTED, reason, now)


def withdraw(*, refund_id: int, reason: str, by: User, now: datetime) -> TopUpRefund:
    """Take back one's own wish before anybody has decided. Raises UnknownRefund, DecisionRefused."""
    with transaction.atomic():
        refund = _waiting(refund_id)
        if refund.requested_by != by:
            raise DecisionRefused("Somebody else asked for this refund: reject it instead.")
        return _end_waiting(refund, RefundState.REJECTED, reason, now)


def _waiting(refund_id: int) -> TopUpRefund:
    """Lock a request and its top-up first, as whoever moves its money does, so that what is left of it stays so."""
    TopUp.objects.select_for_update().filter(refunds=refund_id).first()
    refund = TopUpRefund.objects.select_for_update(of=("self",)).select_related("requested_by", "topup").filter(pk=refund_id).first()
    if refund is None:
        raise UnknownRefund("There is no such refund.")
    if refund.state != RefundState.REQUESTED:
        raise DecisionRefused(f"This refund waits for nobody any more: it is {refund.get_state_display().lower()}.")
    return refund


def _end_waiting(refund: TopUpRefund, state: RefundState, reason: str, now: datetime) -> TopUpRefund:
    refund.state, refund.decision_reason, refund.changed_at = state, reason, now
    refund.save(update_fields=["state", "decision_reason", "decided_by", "changed_at"])
    return refund


def send(*, refund_id: int, gateway: Gateway, now: datetime) -> TopUpRefund:
    """Have Stripe pay an approved refund back; sent again, it is the same refund there.

    Stripe forgets idempotency keys after a day: so a refund with our number is looked for first. Stripe's
    refusal fails the refund, and so does money that went back otherwise since it was approved: then Stripe is not asked.
    When Stripe does not answer it stays approved, and `send_approved` tries again.
    Raises StripeUnavailable, StripeRefused, RefundExceedsPayment.
    """
    refund = TopUpRefund.objects.select_related("topup", "unapplied").get(pk=refund_id)
    if refund.state != RefundState.APPROVED or refund.stripe_id:
        return refund
    waiting = TopUpRefund.objects.filter(pk=refund_id, state=RefundState.APPROVED)
    try:
        answer = _sent_before(refund, gateway)
        if answer is None:
            _fail_if_overtaken(refund, now)
            answer = _create(refund, gateway)
    except StripeRefused as refusal:
        waiting.update(state=RefundState.FAILED, failure=refusal.detail[:500], changed_at=now)
        raise
    except StripeUnavailable:
        waiting.update(failure=NO_ANSWER)
        raise
    with suppress(NotYet):  # else the event, which the inbox tries again, tells of it
        apply(answer, now)
    refund.refresh_from_db()
    return refund


def _fail_if_overtaken(refund: TopUpRefund, now: datetime) -> None:
    """Raises RefundExceedsPayment. What happens between this look and the call is Stripe's to refuse."""
    with transaction.atomic():
        TopUp.objects.select_for_update().get(pk=refund.topup_id)
        row = TopUpRefund.objects.select_for_update(of=("self",)).select_related("topup").get(pk=refund.pk)
        why = overtaken(row) if row.state == RefundState.APPROVED else ""
        if why:
            row.state, row.failure, row.changed_at = RefundState.FAILED, f"It was not sent. {why}"[:500], now
            row.save(update_fields=["state", "failure", "changed_at"])
    if why:
        raise RefundExceedsPayment(why, refundable_minor=refundable(row.topup))


def _create(refund: TopUpRefund, gateway: Gateway) -> Answer:
    params = {"payment_intent": refund.payment_intent, "amount": refund.amount_minor, "metadata": {"refund": str(refund.pk)}}
    # With its time: another desk on the same account, or an emptied database, counts from one too.
    return gateway.create_refund(params, key=f"refund-{refund.pk}-{refund.created_at:%Y%m%dT%H%M%S%f}")


def _sent_before(refund: TopUpRefund, gateway: Gateway) -> Answer | None:
    """Return the refund that Stripe made of this one, should the answer have been lost."""
    made = gateway.list_refunds(payment_intent=refund.payment_intent)
    return next((one for one in made if (one.get("metadata") or {}).get("refund") == str(refund.pk)), None)


def send_approved(*, gateway: Gateway, now: datetime) -> int:
    """Send what was approved and has not reached Stripe; return how many went. Stops at the first that Stripe does not answer."""
    sent = 0
    for pk in TopUpRefund.objects.filter(state=RefundState.APPROVED).order_by("pk").values_list("pk", flat=True):
        try:
            send(refund_id=pk, gateway=gateway, now=now)
        except (StripeRefused, RefundExceedsPayment):
            continue
        except StripeUnavailable:
            break
        sent += 1
    return sent


def apply(told: dict[str, Any], now: datetime) -> str:
    """Follow a refund object of Stripe's; return what that did. An older state than ours changes nothing.

    Raises NotOurs (no such payment here), NotYet (its payment has not been credited).
    """
    state = _STATES.get(told.get("status") or "succeeded")
    if state is None:
        raise NotYet(f"a refund in the state {told['status']!r} is not understood")

    def work() -> str:
        with transaction.atomic():
            topup, payment = _payment_of(told)
            refund = _row_of(told, topup, payment, now)
            if _ROAD.index(state) <= _ROAD.index(RefundState(refund.state)):
                return f"Refund {told['id']} was {refund.get_state_display().lower()} already."
            if state == RefundState.FAILED:
                _give_back(refund, topup, told, now)
            else:
                refund.failure = ""
                _take(refund, topup, now)
            refund.state = state
            refund.changed_at = now
            refund.save()
            if refund.unapplied is not None:
                unapplied_payments.follow_refunds(refund.unapplied, topup, now=now)
            return f"Refund {told['id']} of {topup}: {refund.get_state_display().lower()}, {plain(refund.credits)} credits."

    return retrying(work)


def _payment_of(told: dict[str, Any]) -> tuple[TopUp, UnappliedPayment | None]:
    """Lock the top-up that a refund or charge of Stripe's is about; with it, what it is of where that was not credited."""
    about = {"payment_intent": told.get("payment_intent"), "charge": told.get("charge")}
    outside = unapplied_payments.of_payment(**about)
    if outside is not None:
        topup = TopUp.objects.select_for_update(of=("self",)).select_related("payment").get(pk=outside.topup_id)
        if outside := unapplied_payments.of_payment(**about):  # it may have been credited while we waited
            return topup, outside
    topup = locked_topup(**about)
    if topup.payment is not None and told["currency"].upper() != topup.currency:
        raise NotYet(f"{topup} was paid in {topup.currency} and this refund is in {told['currency'].upper()}: a person must look")
    return topup, None


def _row_of(told: dict[str, Any], topup: TopUp, payment: UnappliedPayment | None, now: datetime) -> TopUpRefund:
    """Return our row of a refund: the one that Stripe's id names, the one that we asked for, or a new one."""
    rows = TopUpRefund.objects.select_for_update(of=("self",)).filter(topup=topup)
    known = rows.filter(stripe_id=told["id"]).first()
    if known:
        return known
    ours = str((told.get("metadata") or {}).get("refund", ""))
    asked = rows.filter(pk=int(ours), stripe_id="").first() if ours.isascii() and ours.isdecimal() and len(ours) < 19 else None
    if asked and asked.amount_minor == told["amount"] and asked.state in {RefundState.APPROVED, RefundState.FAILED}:
        asked.stripe_id = told["id"]
        asked.state = RefundState.APPROVED  # also when an answer that was lost had made us believe that it was refused
        asked.save(update_fields=["stripe_id", "state"])
        return asked
    return TopUpRefund.objects.create(
        topup=topup,
        unapplied=payment,
        stripe_id=told["id"],
        amount_minor=told["amount"],
        state=RefundState.APPROVED,  # by whoever made it at Stripe
        reason=f"Made at Stripe: {told.get('reason') or 'no reason given'}"[:500],
        created_at=now,
        changed_at=now,
    )


def _take(refund: TopUpRefund, topup: TopUp, now: datetime) -> None:
    actor = f"user:{refund.requested_by.get_username()}"[:80] if refund.requested_by else ACTOR
    money_back.take(refund, topup, reason=refund.reason or f"Refund {refund.stripe_id}", actor=actor, now=now)


def _give_back(refund: TopUpRefund, topup: TopUp, told: dict[str, Any], now: datetime) -> None:
    refund.failure = str(told.get("failure_reason") or "Stripe gives no reason")[:500]
    money_back.give_back(refund, topup, reason=f"Refund {refund.stripe_id} failed: {refund.failure}", actor=ACTOR, now=now)


def _on_refund(event: StripeEvent, now: datetime) -> str:
    return apply(event.object, now)


def _on_charge_refunded(event: StripeEvent, _: datetime) -> str:
    """The event gives a sum only; what makes it up comes as refund events, which this waits for."""
    charge = event.object
    with transaction.atomic():
        topup, payment = _payment_of(charge | {"charge": charge["id"]})
    # Failed ones too: the sum may be from when they had not failed.
    known = topup.refunds.filter(unapplied=payment).exclude(stripe_id="").aggregate(sum=Coalesce(Sum("amount_minor"), 0))["sum"]
    if charge["amount_refunded"] > known:
        raise NotYet(f"Stripe has refunded {charge['amount_refunded']} of {topup}, and the refunds heard of are {known}")
    return f"The refunds of {topup} add up."


HANDLERS: Final[dict[str, Handler]] = {
    "refund.created": _on_refund,
    "refund.updated": _on_refund,
    "refund.failed": _on_refund,
    "charge.refund.updated": _on_refund,
    "charge.refunded": _on_charge_refunded,
}
