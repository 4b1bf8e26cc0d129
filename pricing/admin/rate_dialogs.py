"""The dialog that corrects a wrong rate."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from config.base.admin import Moment, MoneyField, ReasonDialog, Text
from pricing.models import ProviderRate
from pricing.services import rate_changes


class CorrectDialog(ReasonDialog):
    price = MoneyField(label="Right price")
    per = forms.IntegerField(
        min_value=1,
        max_value=2_147_483_647,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Units that it is the price of: 1, 1000, 1000000.",
    )
    since = Moment(required=False, help_text="Empty: the figure was wrong from the start. Else: until then it was right.")
    source = Text(max_length=64, help_text="Where the right figure comes from: an invoice, a price page.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["per"].initial = self.subject.per


def correct(request: HttpRequest, form: CorrectDialog, rate: ProviderRate) -> str:
    """Put the right figure in the place of `rate`, and say what comes next."""
    assert isinstance(request.user, User)
    typed = form.cleaned_data
    price: Decimal = typed["price"]
    rate_changes.correct(
        rate=rate,
        price=price,
        per=typed["per"],
        since=typed["since"],
        source=typed["source"],
        reason=typed["reason"],
        actor=request.user,
        now=timezone.now(),
    )
    return "The rate is corrected. What it costed before keeps that cost until it is re-rated: see below."
