"""The dialogs that re-rate usage: what a run would find is shown first, and sending the same scope again starts it."""

import re
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from celery import current_app
from django import forms
from django.core.exceptions import ValidationError
from django.db import OperationalError, transaction
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.html import format_html
from kombu.exceptions import OperationalError as BrokerAwayError
from psycopg.errors import QueryCanceled

from billing.admin.words import actor
from billing.models import Basis, CostStatus, Rerating, UsageRecord
from billing.services import rerating
from billing.services.rerating import Preview, RerateRefusedError, Scope
from config.base.admin import Choice, Moment, ReasonDialog, Text, link, money
from config.base.exact import round_money
from pricing.models import ProviderRate

_NUMBERS = re.compile(r"\s*\d{1,18}(?:\s*,\s*\d{1,18})*\s*")


class PreviewedDialog(ReasonDialog):
    """A dialog about a scope. Sent for the first time it only shows what would be found."""

    form_after_template = "admin/billing/rerate_preview.html"
    seen = forms.CharField(widget=forms.HiddenInput, required=False, max_length=500)
    preview: Preview | None = None
    is_too_large = False

    def scope(self) -> Scope:
        """Return what the fields ask for. Raises RerateRefusedError."""
        raise NotImplementedError

    def is_valid(self) -> bool:
        if not super().is_valid():
            return False
        try:
            scope = self.scope()
            rerating.check(scope=scope, now=timezone.now())
        except RerateRefusedError as refusal:
            self.add_error(None, refusal.detail)
            return False
        key = f"{scope.basis}|{scope.since}|{self.cleaned_data.get('until')}|{scope.provider}|{scope.model}|{scope.rate_ids}"[:500]
        if self.cleaned_data["seen"] == key:
            return True
        self._look(scope)
        data: QueryDict = self.data.copy()  # type: ignore[has-type] # the dialog was sent
        data["seen"] = key
        self.data = data
        return False

    def _look(self, scope: Scope) -> None:
        try:
            with transaction.atomic():
                self.preview = rerating.preview(scope=scope)
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled):
                raise
            self.is_too_large = True

    def get_after_template_context(self, request: HttpRequest, object_id: int | str | None = None) -> dict[str, Any]:
        differences = (
            [money(round_money(amount), currency) for currency, amount in self.preview.differences.items()] if self.preview else []
        )
        return {"preview": self.preview, "differences": differences, "is_too_large": self.is_too_large}


class RerateGroupDialog(PreviewedDialog):
    """All unpriced records of a group's model, in any tier."""

    def scope(self) -> Scope:
        group = self.subject
        return Scope(since=group.first_seen_at, until=timezone.now(), provider=group.provider, model=group.model)


class RerateDialog(PreviewedDialog):
    basis = Choice(label="Which records", choices=Basis.choices, initial=Basis.UNPRICED)
    since = Moment(required=False, help_text="Empty: since the first of them.")
    until = Moment(required=False, help_text="Empty: until now.")
    provider = Text(required=False, max_length=64, help_text="As apps report it. Empty: any.")
    model = Text(required=False, max_length=128, help_text="As apps report it. Empty: any.")
    rates = Text(required=False, label="Rate numbers", help_text="Only for records costed by certain rates: 12, 13.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        named = parse_qs(urlsplit(self.request.headers.get("HX-Current-URL", "")).query).get("rate", [""])[0]
        if _NUMBERS.fullmatch(named):
            self.fields["rates"].initial, self.fields["basis"].initial = named, Basis.RATES

    def clean_rates(self) -> tuple[int, ...]:
        text = self.cleaned_data["rates"]
        if text and not _NUMBERS.fullmatch(text):
            raise ValidationError("Write the numbers of rates, with commas between them: 12, 13.")
        numbers = tuple(sorted({int(number) for number in text.split(",")})) if text else ()
        if unknown := set(numbers) - set(ProviderRate.objects.filter(pk__in=numbers).values_list("pk", flat=True)):
            raise ValidationError(f"There is no rate {min(unknown)}.")
        return numbers

    def scope(self) -> Scope:
        typed = self.cleaned_data
        basis, rate_ids, until = Basis(typed["basis"]), typed["rates"], typed["until"] or timezone.now()
        if (basis is Basis.RATES) != bool(rate_ids):
            raise RerateRefusedError("Name rates for records costed by certain rates, and only for those.")
        since = typed["since"] or _first(basis, rate_ids)
        if since is None:
            raise RerateRefusedError("Say since when." if basis is Basis.ALL else "There is no such record.")
        return Scope(since, until, basis, typed["provider"] or None, typed["model"] or None, rate_ids)


def _first(basis: Basis, rate_ids: tuple[int, ...]) -> datetime | None:
    """Return when the first record may have occurred, where that is quickly found."""
    if basis is Basis.RATES:
        return rerating.since_of(rate_ids)
    if basis is Basis.ALL:
        return None
    unpriced = UsageRecord.objects.filter(cost_status=CostStatus.UNPRICED)
    return unpriced.order_by("occurred_at").values_list("occurred_at", flat=True).first()


def start(request: HttpRequest, form: PreviewedDialog) -> str:
    """Write the run down and wake a worker; one that cannot be reached finds it within a minute of its return."""
    row: Rerating = rerating.request(scope=form.scope(), reason=form.cleaned_data["reason"], actor=actor(request), now=timezone.now())
    page = link(f"Re-rating {row.pk}", "billing_rerating_change", row.pk)
    try:
        current_app.send_task("billing.tasks.rerate")
    except BrokerAwayError:
        return format_html("{} is waiting: it begins as soon as the worker can be reached.", page)
    return format_html("{} has begun. Its page says how far it is and what it found.", page)
