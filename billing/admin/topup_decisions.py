"""The dialogs by which people decide about an order: end its link, send back what was not credited, or credit it."""

from datetime import datetime
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from billing import minor_units
from billing.admin.refund_dialogs import sent
from billing.admin.words import person
from billing.models import RefundState, TopUp, TopUpStatus, UnappliedPayment, UnappliedState
from billing.services import stripe_gateway, topup_credits, topup_refunds, unapplied_payments
from config.base.admin import Choice, Led, ReasonDialog, credits_, money
from config.base.exact import grouped
from pricing.queries import workspace

CANCEL: Final = "billing.make_topup_link"
VIEW: Final = "billing.view_topup"


class CancelDialog(ReasonDialog):
    """Why the link is ended."""


class DecideCreditDialog(ReasonDialog):
    """Why it was decided so."""


class SendBackDialog(ReasonDialog):
    payment = Choice(help_text="All that is left of it goes back. No credits move: none were given for it.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["payment"].choices = [(str(row.pk), _named(row)) for row in to_send_back(self.subject)]


def _named(row: UnappliedPayment) -> str:
    left = minor_units.written(unapplied_payments.left_minor(row), row.currency)
    return f"{left}, {row.get_kind_display().lower()} by {row.payment_intent}"


class CreditDialog(ReasonDialog):
    form_after_template = "admin/billing/credit_preview.html"

    def get_after_template_context(self, request: HttpRequest, object_id: int | str | None = None) -> dict[str, Any]:
        row = to_credit(self.subject)
        return credit_context(row) if row else {}


def credit_context(row: UnappliedPayment) -> dict[str, Any]:
    """Return what `credit_preview.html` says about crediting a payment."""
    terms = topup_credits.terms(row)
    return {
        "paid": minor_units.written(row.amount_minor, row.currency),
        "ordered": minor_units.written(row.ordered_minor, row.currency),
        "ordered_credits": credits_(row.ordered_credits),
        "credits": credits_(terms.credits),
        "bonus": credits_(terms.bonus_credits) if terms.bonus_credits else "",
        "worth": money(terms.book_value, workspace.load().currency),
        "needs_approval": terms.needs_approval,
    }


def to_send_back(topup: TopUp) -> list[UnappliedPayment]:
    """Return what came in beside the order and can be sent back."""
    rows = topup.unapplied.filter(state=UnappliedState.OPEN).order_by("pk")
    return [row for row in rows if unapplied_payments.left_minor(row)]


def to_credit(topup: TopUp) -> UnappliedPayment | None:
    """Return what was paid instead of the order and can be credited."""
    rows = topup.unapplied.filter(state=UnappliedState.OPEN).order_by("pk")
    return next((row for row in rows if not topup_credits.obstacle(row, topup)), None)


def offered(request: HttpRequest, topup: TopUp) -> set[str]:
    """Return the names of the dialogs that would not be refused."""
    found: set[str] = set()
    if topup_refunds.refundable(topup) > 0:
        found.add("refund")
    if topup.status == TopUpStatus.OPEN and topup.checkout_session:
        found.add("cancel")
    if to_send_back(topup):
        found.add("send_back")
    if to_credit(topup):
        found.add("credit")
    for row in topup.unapplied.filter(state__in=(UnappliedState.OPEN, UnappliedState.ASKED)):
        if row.state == UnappliedState.ASKED:
            found |= {"withdraw_credit"} if row.requested_by_id == request.user.pk else {"approve_credit", "reject_credit"}
        elif not row.payment_intent:
            found.add("close")
    return found


def send_back(request: HttpRequest, form: SendBackDialog, *, now: datetime) -> Led:
    """Ask for the payment to go back, and send it where nobody else has to decide."""
    gateway = stripe_gateway.gateway()  # before anything is written: without Stripe there is nothing to ask for
    refund = topup_refunds.send_back(
        payment_id=int(form.cleaned_data["payment"]), reason=form.cleaned_data["reason"], requested_by=person(request), now=now
    )
    page = reverse("admin:billing_topuprefund_change", args=[refund.pk])
    if refund.state == RefundState.REQUESTED:
        return Led("The refund waits for a second person's approval: it is above what one person may refund.", page)
    return Led(sent(refund, gateway, now=now), page)


def credit(request: HttpRequest, form: CreditDialog, topup: TopUp) -> str:
    """Credit what was paid instead of the order, or have it wait for a second person."""
    row = topup.unapplied.get(kind="otherwise")
    done = topup_credits.credit(payment_id=row.pk, reason=form.cleaned_data["reason"], requested_by=person(request), now=timezone.now())
    assert done.credits is not None and done.bonus_credits is not None  # noqa: PT018 - as credited
    figure = grouped(done.credits + done.bonus_credits)
    if done.state == UnappliedState.ASKED:
        return f"{figure} credits are above what one person may give. Nothing has moved yet: it waits for a second person."
    return f"{figure} credits are deposited, and the order is what was paid."


def decide(request: HttpRequest, form: DecideCreditDialog, topup: TopUp, *, is_approved: bool) -> str:
    """Decide about what another person asked to credit."""
    row = topup.unapplied.get(kind="otherwise")
    reason, now = form.cleaned_data["reason"], timezone.now()
    if is_approved:
        topup_credits.approve(payment_id=row.pk, reason=reason, decided_by=person(request), now=now)
        return "The credits are deposited, and the order is what was paid."
    topup_credits.reject(payment_id=row.pk, reason=reason, decided_by=person(request), now=now)
    return "The credit is rejected: nothing has moved, and the payment waits for a decision again."


def withdraw(request: HttpRequest, form: DecideCreditDialog, topup: TopUp) -> str:
    """Take back one's own wish to credit a payment."""
    row = topup.unapplied.get(kind="otherwise")
    topup_credits.withdraw(payment_id=row.pk, reason=form.cleaned_data["reason"], by=person(request), now=timezone.now())
    return "The request is withdrawn: nothing has moved."


def close(request: HttpRequest, form: DecideCreditDialog, topup: TopUp) -> str:
    """End an order that came without a payment."""
    row = topup.unapplied.get(kind="otherwise")
    topup_credits.close(payment_id=row.pk, reason=form.cleaned_data["reason"], by=person(request), now=timezone.now())
    return "The order is closed: there was no payment to send back."
