"""The refund of one event's charge."""

from django.http import HttpRequest
from django.utils import timezone

from billing.admin.wallet_dialogs import HandDialog
from billing.admin.words import moved_or_asked, person
from billing.errors import UnknownEvent
from billing.models import MovementKind, MovementRequest, UsageRecord, Wallet
from billing.services import movement_requests
from config.base.admin import CreditsField
from config.base.exact import ZERO, plain


class RefundDialog(HandDialog):
    credits = CreditsField(required=False, help_text="Empty: all of the charge that has not been refunded yet.")

    def wallet(self) -> Wallet | None:
        record: UsageRecord = self.subject
        return record.customer.wallet if record.customer else None


def refund(request: HttpRequest, form: RefundDialog, record: UsageRecord) -> str:
    """Give credits of the charge back, and say how many."""
    if (wallet := form.wallet()) is None:
        raise UnknownEvent("This was internal usage: no wallet paid for it, so there is nothing to refund.")
    moved = movement_requests.move(
        kind=MovementKind.REFUND,
        wallet_id=wallet.pk,
        credits=form.cleaned_data["credits"],
        usage_record_id=record.pk,
        reason=form.cleaned_data["reason"],
        requested_by=person(request),
        now=timezone.now(),
    )
    if isinstance(moved, MovementRequest):
        return moved_or_asked(moved, "")
    given_back = sum((entry.credits for entry in moved.entries if entry.kind == "refund"), ZERO)
    return f"{plain(given_back)} credits went back to {record.customer}, who now has {plain(moved.balance)}."
