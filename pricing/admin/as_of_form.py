"""What "Prices as of a date" is asked: a moment, perhaps another, an event type, a rule. All of it is in the address."""

from datetime import datetime, timedelta
from typing import Any, Final

from django import forms
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.utils import timezone
from unfold.widgets import DATETIME_CLASSES, UnfoldAdminTextInputWidget

from pricing.admin.filters import moment_of
from pricing.queries import prices_as_of

SUGGESTED: Final = 300


class _MomentField(forms.CharField):
    """A day, meaning its start, or a moment, in the current zone unless it names another; empty is None."""

    def __init__(self, **options: Any) -> None:
        picker = forms.TextInput(attrs={"type": "datetime-local", "step": "1", "class": " ".join(DATETIME_CLASSES)})
        super().__init__(required=False, widget=picker, **options)

    def prepare_value(self, value: Any) -> Any:
        """Give the browser's picker what it can show: without a zone, to the second."""
        try:
            return timezone.localtime(moment_of(value)).strftime("%Y-%m-%dT%H:%M:%S") if value else value
        except IncorrectLookupParameters:
            return value

    def clean(self, value: Any) -> datetime | None:
        text = super().clean(value)
        try:
            return moment_of(text) if text else None
        except IncorrectLookupParameters as error:
            raise ValidationError(f"“{text[:40]}” is no date. Write 2026-04-01, or 2026-04-01T09:30 for a time of that day.") from error


class AsOfForm(forms.Form):
    """The question; sent by GET, so that the address of an answer can be passed on."""

    at = _MomentField(label="As of", help_text="Empty: now.")
    compare = _MomentField(label="Compare with", help_text="Marks the rules that had another version then.")
    event = forms.CharField(
        label="Event type",
        required=False,
        max_length=200,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "chat"}),
        help_text="Any part of its name or label.",
    )
    rule = forms.CharField(
        required=False,
        max_length=400,
        widget=UnfoldAdminTextInputWidget(attrs={"list": "known-rules", "placeholder": "chat.reply/default", "autocomplete": "off"}),
        help_text="The whole name of one rule.",
    )

    def clean_rule(self) -> str:
        name = str(self.cleaned_data["rule"])
        if name and not prices_as_of.is_known(name):
            raise ValidationError(f"There is no price rule “{name[:80]}”. Choose one of the list, or leave it empty for all.")
        return name

    def known_rules(self) -> tuple[str, ...]:
        return prices_as_of.known_rules(at_most=SUGGESTED)


def presets(now: datetime) -> list[tuple[str, str]]:
    """Return the usual dates: words, and the day as the address has it; without one it is now."""
    today = timezone.localdate(now)
    month = today.replace(day=1)
    last_month = (month - timedelta(days=1)).replace(day=1)
    return [
        ("Now", ""),
        ("Start of today", today.isoformat()),
        ("First of this month", month.isoformat()),
        ("First of last month", last_month.isoformat()),
    ]
