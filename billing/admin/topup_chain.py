"""From the order to the books: each thing that a top-up led to, for those who may look at it.

A role sees the steps whose own pages it may open. What it may not is named, so that nobody takes the rest for the whole.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.money_back_view import at_stripe
from billing.admin.words import DISPUTE_COLOURS, REFUND_COLOURS, charged
from billing.models import Lot, TopUp
from billing.queries import stripe_balance
from config.base.admin import badge, credits_, link, moment, money, names, table

Row = tuple[Any, ...]
_HEADINGS: Final = ("Step", "Which", "When", "State", "Amount", "Credits")


def context(request: HttpRequest, topup: TopUp) -> dict[str, Any]:
    """Return what `admin/billing/topup_page.html` lays out."""
    rows, hidden = list(_order(topup)), []
    for model, noun, steps in _STEPS:
        if request.user.has_perm(f"billing.view_{model}"):
            rows += steps(topup)
        else:
            hidden.append(noun)
    return {"chain": table(_HEADINGS, rows, figures=(4, 5), stacks=True), "hidden": names(hidden) if hidden else ""}


def _order(topup: TopUp) -> Iterator[Row]:
    amount = charged(topup.amount_minor, topup.currency)
    yield "Order", f"topup_{topup.pk}", moment(topup.created_at), "", amount, credits_(topup.credits + topup.bonus_credits)
    if topup.checkout_session:
        yield "Checkout session", _id(topup.checkout_session), "", "", "", ""
    if topup.payment_intent:
        yield "Payment intent", at_stripe(topup, f"payments/{topup.payment_intent}", topup.payment_intent), "", "", "", ""
    if topup.charge:
        yield "Charge", _id(topup.charge), "", "", "", ""


def _payment(topup: TopUp) -> Iterator[Row]:
    if payment := topup.payment:
        where = link("Payment", "billing_payment_change", payment.pk)
        yield "Payment", where, moment(payment.received_at), "", money(payment.amount, payment.currency), ""


def _lots(topup: TopUp) -> Iterator[Row]:
    for lot in Lot.objects.filter(payment=topup.payment_id).order_by("pk") if topup.payment else ():
        left = format_html("{} left", credits_(lot.remaining))
        worth = money(lot.value, topup.payment.currency) if topup.payment else ""
        yield "Lot", link(lot, "billing_lot_change", lot.pk), moment(lot.created_at), left, worth, credits_(lot.granted)


def _refunds(topup: TopUp) -> Iterator[Row]:
    for refund in topup.refunds.filter(unapplied=None).order_by("pk"):
        which = link(refund.stripe_id or f"Refund {refund.pk}", "billing_topuprefund_change", refund.pk)
        state = badge(refund.state, refund.get_state_display(), REFUND_COLOURS)
        yield "Refund", which, moment(refund.created_at), state, charged(-refund.amount_minor, refund.currency), credits_(-refund.credits)


def _disputes(topup: TopUp) -> Iterator[Row]:
    for dispute in topup.disputes.order_by("pk"):
        which = link(dispute.stripe_id, "billing_dispute_change", dispute.pk)
        state = badge(dispute.state, dispute.get_state_display(), DISPUTE_COLOURS)
        amount = charged(-dispute.amount_minor, dispute.currency)
        yield "Dispute", which, moment(dispute.opened_at), state, amount, credits_(-dispute.credits)


def _movements(topup: TopUp) -> Iterator[Row]:
    for row in stripe_balance.movements_of(topup):
        which = link(row.stripe_id, "billing_balancetransaction_change", row.pk)
        paid = link(row.payout, "billing_payout_change", row.payout_id) if row.payout else row.payout_id_at_stripe
        state = format_html("paid out by {}", paid) if paid else "in our balance"
        yield "Movement", which, moment(row.created_at), state, charged(row.net_minor, row.currency), ""


def _fees(topup: TopUp) -> Iterator[Row]:
    for fee in stripe_balance.fees_of(topup.payment_id) if topup.payment_id else ():
        which = link(fee.balance_transaction, "billing_platformfee_change", fee.pk)
        yield "Fee", which, moment(fee.happened_at), f"of the {fee.kind}", charged(fee.amount_minor, fee.currency), ""


_STEPS: Final[tuple[tuple[str, str, Callable[[TopUp], Iterator[Row]]], ...]] = (
    ("payment", "its payment", _payment),
    ("lot", "lots", _lots),
    ("topuprefund", "refunds", _refunds),
    ("dispute", "disputes", _disputes),
    ("balancetransaction", "movements of our balance at Stripe", _movements),
    ("platformfee", "fees", _fees),
)


def _id(text: str) -> SafeString:
    return format_html('<span class="md-mono">{}</span>', text)
