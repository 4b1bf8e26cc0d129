"""The refund of one event's charge."""

from decimal import Decimal
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from billing.admin.words import actor, ask_for_a_second_person
from billing.models import Environment, UsageRecord
from billing.services import keys, refunds
from config.base.admin import CreditsField, ReasonDialog
from config.base.exact import ZERO, plain


class RefundDialog(ReasonDialog):
    credits = CreditsField(required=False, help_text="Empty: all of the charge that has not been refunded yet.")

    def clean_credits(self) -> Any:
        credits: Decimal | None = self.cleaned_data["credits"]
        ask_for_a_second_person(self.subject.credits if credits is None else credits)
        return credits


def refund(request: HttpRequest, form: RefundDialog, record: UsageRecord) -> str:
    """Give credits of the charge back, and say how many."""
    posted = refunds.refund_event(
        caller=keys.project_caller(record.project, environment=Environment(record.environment), actor=actor(request)),
        record_id=record.pk,
        credits=form.cleaned_data["credits"],
        reason=form.cleaned_data["reason"],
        now=timezone.now(),
    )
    given_back = sum((entry.credits for entry in posted.entries if entry.kind == "refund"), ZERO)
    return f"{plain(given_back)} credits went back to {record.customer}, who now has {plain(posted.balance)}."
