"""What came in beside an order: payments that it did not take, and what people did about them."""

from collections.abc import Iterator
from typing import Any, Final

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.money_back_view import at_stripe
from billing.admin.words import REFUND_COLOURS, UNAPPLIED_COLOURS, charged
from billing.models import UnappliedPayment, UnappliedState
from config.base.admin import badge, credits_, link, moment, table

_STEPS: Final = {
    UnappliedState.OPEN: "Not to be credited",
    UnappliedState.ASKED: "To be credited",
    UnappliedState.CREDITED: "Credited",
    UnappliedState.RETURNED: "Sent back",
    UnappliedState.CLOSED: "Closed",
}


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
