"""Signing a reconciliation: for one mode of Stripe's, and for the figures that the page shows, whose digest the dialog carries."""

from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils import timezone
from unfold.widgets import UnfoldAdminTextareaWidget

from billing.queries import stripe_modes
from config.base.admin import Dialog
from reports.admin.period_form import Day, Period, PeriodForm, ordered
from reports.queries.reconciliation import Statement

SIGN: Final = "admin:reports_reconciliationbreak_sign_off"
MODES: Final = (("live", "Real money"), ("test", "Stripe's test mode"))


class SignDialog(Dialog):
    """The period, the mode and the digest are those of the page; it is opened with them."""

    first = Day(label="From")
    last = Day(label="To, this day included")
    mode = forms.ChoiceField(choices=MODES, widget=forms.HiddenInput)
    digest = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)
    note = forms.CharField(required=False, max_length=500, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        form = PeriodForm(self.request.GET, today=timezone.localdate())
        if form.is_valid():
            self.fields["first"].initial, self.fields["last"].initial = form.period().first, form.period().last
        for name in ("first", "last"):
            self.fields[name].widget.attrs["readonly"] = True
        self.fields["mode"].initial = mode_word(is_live=chosen_mode(self.request.GET))
        self.fields["digest"].initial = self.request.GET.get("digest", "")[:64]

    def clean(self) -> None:
        ordered(self.cleaned_data.get("first"), self.cleaned_data.get("last"))
        if not self.cleaned_data.get("digest"):
            raise ValidationError("Open the period on the page Reconciliation and sign it there, with its figures in front of you.")


def mode_word(*, is_live: bool) -> str:
    return "live" if is_live else "test"


def chosen_mode(asked: QueryDict) -> bool:
    """Return the mode that an address asks for, as `is_live`; the usual one where it asks for none."""
    return {"live": True, "test": False}.get(asked.get("mode", ""), stripe_modes.usual())


def modes(request: HttpRequest, period: Period) -> list[tuple[str, str, bool]]:
    """Return the words, the address and whether it is shown, of each mode to choose from; nothing where there is but one."""
    there, shown = {*stripe_modes.here(), chosen_mode(request.GET)}, chosen_mode(request.GET)
    if len(there) == 1:
        return []
    return [(words, f"{period.query}&mode={word}", word == mode_word(is_live=shown)) for word, words in MODES]


def carrying(actions: list[Any], *, period: Period, statement: Statement) -> list[Any]:
    """Return the buttons of the page, with that for signing leading to a dialog about these figures."""
    about = urlencode({"mode": mode_word(is_live=statement.is_live), "digest": statement.digest})
    return [
        action | {"path": f"{action['path']}{period.query}&{about}"} if action.get("path") == reverse(SIGN) else action
        for action in actions
    ]
