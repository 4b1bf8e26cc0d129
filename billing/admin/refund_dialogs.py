"""The dialog that refunds a top-up. Sent with an amount that was not looked at yet, it only shows what that would do."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, QueryDict
from django.urls import reverse

from billing import minor_units
from billing.admin.words import person
from billing.errors import StripeUnavailable
from billing.models import RefundState, TopUp, TopUpRefund
from billing.services import stripe_gateway, topup_refunds
from config.base.admin import Led, MoneyField, ReasonDialog, credits_
from config.base.exact import plain
from pricing.models import SpentRefundPolicy

PERMISSION: Final = "billing.refund_topup"
APPROVE: Final = "billing.approve_refund"


class RefundTopUpDialog(ReasonDialog):
    form_after_template = "admin/billing/refund_preview.html"
    amount = MoneyField(help_text="All that is left of it, or a part.")
    seen = forms.CharField(widget=forms.HiddenInput, required=False, max_length=20)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        topup: TopUp = self.subject
        self.left = topup_refunds.refundable(topup)
        self.shown_minor = self.left
        self.is_new = False
        self.fields["amount"].label = f"Amount in {topup.currency}"
        self.fields["amount"].initial = minor_units.to_major(self.left, topup.currency)
        self.fields["seen"].initial = str(self.left)

    def clean_amount(self) -> int:
        topup: TopUp = self.subject
        try:
            amount_minor = minor_units.to_minor(self.cleaned_data["amount"], topup.currency)
        except minor_units.UnchargeableAmount as error:
            raise ValidationError(f"The amount {error}.") from error
        if amount_minor > self.left:
            left = plain(minor_units.to_major(self.left, topup.currency))
            raise ValidationError(f"{left} {topup.currency} of this top-up can be refunded. Ask for at most that.")
        return amount_minor

    def is_valid(self) -> bool:
        if not super().is_valid():
            return False
        self.shown_minor = self.cleaned_data["amount"]
        if self.cleaned_data["seen"] == str(self.shown_minor):
            return True
        data: QueryDict = self.data.copy()  # type: ignore[has-type] # the dialog was sent
        data["seen"] = str(self.shown_minor)
        self.is_new = True
        self.data = data
        return False

    def get_after_template_context(self, request: HttpRequest, object_id: int | str | None = None) -> dict[str, Any]:
        return preview_context(self.subject, self.shown_minor) | {"is_new": self.is_new}


def preview_context(topup: TopUp, amount_minor: int) -> dict[str, Any]:
    """Return what `refund_preview.html` says about a refund of so much."""
    found = topup_refunds.preview(topup=topup, amount_minor=amount_minor) if amount_minor > 0 else None
    if found is None:
        return {"preview": None}
    taken = found.taken
    return {
        "preview": found,
        "amount": f"{minor_units.to_major(amount_minor, topup.currency):,f} {topup.currency}",
        "credits": credits_(taken.sold + taken.bonus),
        "bonus": credits_(taken.bonus) if taken.bonus else "",
        "expired": credits_(taken.expired) if taken.expired else "",
        "spent": credits_(taken.spent) if taken.spent else "",
        "is_written_off": found.policy == SpentRefundPolicy.WRITE_OFF,
    }


def refund_topup(request: HttpRequest, form: RefundTopUpDialog, topup: TopUp, *, now: datetime) -> Led:
    """Ask for the refund, and send it where nobody else has to decide."""
    gateway = stripe_gateway.gateway()  # before anything is written: without Stripe there is nothing to ask for
    asked = topup_refunds.request(
        topup_id=topup.pk,
        amount_minor=form.cleaned_data["amount"],
        reason=form.cleaned_data["reason"],
        requested_by=person(request),
        now=now,
    )
    page = reverse("admin:billing_topuprefund_change", args=[asked.pk])
    if asked.state == RefundState.REQUESTED:
        return Led("The refund waits for a second person's approval: it is above what one person may refund.", page)
    return Led(sent(asked, gateway, now=now), page)


def sent(refund: TopUpRefund, gateway: stripe_gateway.Gateway, *, now: datetime) -> str:
    """Send an approved refund, and say how far it came. Raises StripeRefused."""
    try:
        done = topup_refunds.send(refund_id=refund.pk, gateway=gateway, now=now)
    except StripeUnavailable:
        return "Stripe does not answer just now. The refund is sent again every minute until it does."
    credits: Decimal = done.credits
    if done.state == RefundState.SUCCEEDED:
        return f"Stripe has paid it back, and {plain(credits)} credits were withdrawn."
    return f"Stripe is paying it back, and {plain(credits)} credits were withdrawn."
