"""What came of an order, step by step, and what came in beside it: the two tables below the page of a top-up."""

from collections.abc import Iterator
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.money_back_view import at_stripe
from billing.admin.words import DISPUTE_COLOURS, REFUND_COLOURS, UNAPPLIED_COLOURS, charged
from billing.models import Lot, TopUp, UnappliedPayment, UnappliedState
from config.base.admin import badge, credits_, link, moment, money, table


def chain(topup: Any) -> SafeString:
    return table(("Step", "Which", "When", "State", "Amount", "Credits"), list(_steps(topup)), figures=(4, 5))


def _steps(topup: Any) -> Iterator[tuple[Any, ...]]:
    """Yield a row per thing that an order led to, in the order in which it comes about."""
    amount = charged(topup.amount_minor, topup.currency)
    yield "Order", f"topup_{topup.pk}", moment(topup.created_at), "", amount, credits_(topup.credits + topup.bonus_credits)
    if topup.checkout_session:
        yield "Checkout session", _id(topup.checkout_session), "", "", "", ""
    if topup.payment_intent:
        yield "Payment intent", at_stripe(topup, f"payments/{topup.payment_intent}", topup.payment_intent), "", "", "", ""
    if topup.charge:
        yield "Charge", _id(topup.charge), "", "", "", ""
    payment = topup.payment
    if payment is None:
        return
    where = link("Payment", "billing_payment_change", payment.pk)
    yield "Payment", where, moment(payment.received_at), "", money(payment.amount, payment.currency), ""
    for lot in Lot.objects.filter(payment=payment).order_by("pk"):
        left = format_html("{} left", credits_(lot.remaining))
        yield (
            "Lot",
            link(lot, "billing_lot_change", lot.pk),
            moment(lot.created_at),
            left,
            money(lot.value, payment.currency),
            credits_(lot.granted),
        )
    yield from _money_back(topup)
    for fee in payment.fees.order_by("pk"):
        yield "Fee", _id(fee.balance_transaction), moment(fee.happened_at), fee.kind, charged(fee.amount_minor, fee.currency), ""


def _money_back(topup: TopUp) -> Iterator[tuple[Any, ...]]:
    for refund in topup.refunds.filter(unapplied=None).order_by("pk"):
        which = link(refund.stripe_id or f"Refund {refund.pk}", "billing_topuprefund_change", refund.pk)
        state = badge(refund.state, refund.get_state_display(), REFUND_COLOURS)
        yield "Refund", which, moment(refund.created_at), state, charged(-refund.amount_minor, refund.currency), credits_(-refund.credits)
    for dispute in topup.disputes.order_by("pk"):
        which = link(dispute.stripe_id, "billing_dispute_change", dispute.pk)
        state = badge(dispute.state, dispute.get_state_display(), DISPUTE_COLOURS)
        yield (
            "Dispute",
            which,
            moment(dispute.opened_at),
            state,
            charged(-dispute.amount_minor, dispute.currency),
            credits_(-dispute.credits),
        )


def _id(text: str) -> SafeString:
    return format_html('<span class="md-mono">{}</span>', text)


def outside(topup: Any) -> SafeString | str:
    """Show each payment that was not credited, and what people did about it; empty where there is none."""
    rows = [row for payment in topup.unapplied.order_by("pk") for row in _beside(topup, payment)]
    return table(("What", "When", "State", "Amount", "Credits", "By", "Reason"), rows, figures=(3, 4)) if rows else ""


def _beside(topup: Any, payment: UnappliedPayment) -> Iterator[tuple[Any, ...]]:
    intent = payment.payment_intent
    which = at_stripe(topup, f"payments/{intent}", intent) if intent else "no payment named"
    state = badge(payment.state, payment.get_state_display(), UNAPPLIED_COLOURS)
    amount = charged(payment.amount_minor, payment.currency)
    yield format_html("{}: {}", payment.get_kind_display(), which), moment(payment.arrived_at), state, amount, "", "", ""
    for past in payment.history.select_related("history_user").exclude(history_change_reason=None).order_by("history_id"):
        step = _STEPS[UnappliedState(past.state)]
        credits = credits_(past.credits + past.bonus_credits) if past.credits is not None else ""
        yield step, moment(past.history_date), "", "", credits, str(past.history_user or "-"), past.history_change_reason
    for refund in payment.refunds.select_related("requested_by").order_by("pk"):
        which = link(refund.stripe_id or f"Refund {refund.pk}", "billing_topuprefund_change", refund.pk)
        state = badge(refund.state, refund.get_state_display(), REFUND_COLOURS)
        amount = charged(-refund.amount_minor, refund.currency)
        who = str(refund.requested_by or "somebody at Stripe")
        yield format_html("Sent back: {}", which), moment(refund.created_at), state, amount, "", who, refund.reason


_STEPS = {
    UnappliedState.OPEN: "Not to be credited",
    UnappliedState.ASKED: "To be credited",
    UnappliedState.CREDITED: "Credited",
    UnappliedState.RETURNED: "Sent back",
    UnappliedState.CLOSED: "Closed",
}
