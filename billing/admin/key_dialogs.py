"""API keys: the dialogs that make, rotate and revoke them. A secret is shown once and kept nowhere."""

import ipaddress
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget

from billing.models import ApiKey, Environment, Project, Scope
from billing.services import keys
from billing.services.keys import Issued
from config.base.admin import Choice, Dialog, Moment, ReasonDialog, Shown, Text

SCOPE_WORDS = {
    Scope.METER: "Meter: report events, holds and runs",
    Scope.WALLETS: "Wallets: customers, balances, deposits",
    Scope.TOPUPS: "Top-ups: payment links",
    Scope.REPORTS: "Reports: usage, costs, ledger",
    Scope.BUDGETS: "Budgets: limits and their state",
}
KEY_COLOURS = {"live": "success", "expiring": "warning", "expired": "default", "revoked": "danger"}
_SOON = timedelta(days=14)


class NewKeyDialog(Dialog):
    name = Text(max_length=120, help_text="What will use the key, such as the chat backend.")
    environment = Choice(choices=Environment.choices)
    scopes = forms.MultipleChoiceField(
        label="May use",
        choices=[(scope.value, words) for scope, words in SCOPE_WORDS.items()],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    expires_at = Moment(label="Expires", required=False, help_text="Empty: never.")
    cidrs = Text(
        label="Allowed networks",
        required=False,
        max_length=1000,
        help_text="Addresses or blocks such as 10.0.0.0/8, comma separated. Empty: any.",
    )
    rate_limit = forms.IntegerField(
        label="Calls a minute",
        required=False,
        min_value=1,
        max_value=1_000_000,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Above it the API answers 429. Empty: no limit.",
    )

    def clean_cidrs(self) -> list[str]:
        networks = [text.strip() for text in self.cleaned_data["cidrs"].split(",") if text.strip()]
        for network in networks:
            try:
                ipaddress.ip_network(network, strict=False)
            except ValueError as error:
                raise ValidationError(f"{network!r} is neither an address nor a block such as 10.0.0.0/8.") from error
        return networks

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at and expires_at <= timezone.now():
            raise ValidationError("This lies in the past: choose a later time, or none.")
        return expires_at


class NewKeyOfProjectDialog(NewKeyDialog):
    project = forms.ModelChoiceField(queryset=Project.objects.all(), widget=UnfoldAdminSelectWidget, empty_label="Choose a project")
    field_order = ("project",)


class RotateDialog(Dialog):
    overlap_hours = forms.IntegerField(
        label="Old key works for",
        min_value=0,
        max_value=24 * 90,
        initial=24,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Hours in which both keys work, so that nobody has to hurry. 0: the old one ends at once.",
    )


class RevokeDialog(ReasonDialog):
    pass


def make_key(request: HttpRequest, form: NewKeyDialog, project: Project) -> Shown:
    """Make a key of `project` and show its secret."""
    given = form.cleaned_data
    issued = keys.issue(
        project=project,
        name=given["name"],
        environment=Environment(given["environment"]),
        scopes=[Scope(scope) for scope in given["scopes"]],
        now=timezone.now(),
        created_by=_user(request),
        cidrs=given["cidrs"],
        expires_at=given["expires_at"],
        rate_limit_per_minute=given["rate_limit"],
    )
    return shown_once(issued)


def rotate_key(request: HttpRequest, form: RotateDialog, key: ApiKey) -> Shown:
    """Make the successor of `key` and show its secret."""
    overlap = timedelta(hours=form.cleaned_data["overlap_hours"])
    return shown_once(keys.rotate(key_id=key.pk, overlap=overlap, now=timezone.now(), created_by=_user(request)), replaces=key)


def shown_once(issued: Issued, *, replaces: ApiKey | None = None) -> Shown:
    """Show the secret in the dialog's place; it goes with the dialog."""
    return Shown("admin/billing/key_secret.html", {"key": issued.key, "token": issued.token, "replaces": replaces})


def key_state(key: ApiKey) -> tuple[str, str]:
    """Say whether a key works now, and until when."""
    now = timezone.now()
    if key.revoked_at:
        return "revoked", "Revoked"
    if key.expires_at is None:
        return "live", "Live"
    if key.expires_at <= now:
        return "expired", "Replaced" if key.replaced_by_id else "Expired"
    return ("expiring", "Expires soon") if key.expires_at - now < _SOON else ("live", "Live")


def _user(request: HttpRequest) -> Any:
    return request.user
