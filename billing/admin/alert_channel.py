"""Alert channels: where alerts are sent besides whoever answers for them. Tried out here, and the secret of calls shown."""

from typing import Any, Final

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from billing.admin.alert_view import ARRIVAL_COLOURS, host_of
from billing.admin.words import person
from billing.models import AlertChannel, AlertKind, ChannelKind
from billing.queries import alerts as inbox
from billing.services import alert_channels
from billing.services.alert_outbox import secret_of
from config.base import webhook
from config.base.admin import Dialog, ReasonDialog, ReasonForm, Shown, TrackedAdmin, badge, dialog, names

_CHANGE: Final = "billing.change_alertchannel"
_SIGNED: Final = {"show_secret", "renew_secret"}
_NEWEST: Final = 20


class ChannelForm(ReasonForm):
    alerts = forms.MultipleChoiceField(
        label="Which alerts",
        choices=AlertKind.choices,
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None chosen: all.",
    )

    def clean(self) -> Any:
        given = super().clean() or self.cleaned_data
        kind, address = given.get("kind") or self.instance.kind, (given.get("address") or "").strip()
        if kind and address:
            try:
                validate_email(address) if kind == ChannelKind.EMAIL else webhook.check_url(address)
            except ValidationError:
                self.add_error("address", "This is no e-mail address.")
            except ValueError as error:
                self.add_error("address", f"The address {error}.")
            given["address"] = address
        return given


class PlainDialog(Dialog):
    pass


class RenewDialog(ReasonDialog):
    pass


@admin.register(AlertChannel)
class AlertChannelAdmin(TrackedAdmin):
    form = ChannelForm
    list_display = ("name", "kind", "receiver", "wanted", "of_project", "state", "lately")
    list_filter = (("kind", ChoicesDropdownFilter), ("is_active", BooleanRadioFilter), ("project", RelatedDropdownFilter))
    list_select_related = ("project",)
    search_fields = ("name__istartswith",)
    search_help_text = "Beginning of the name"
    when_empty = "Alerts go to whoever answers for a budget. Add a channel to have them in a chat, a program or another mailbox too."
    actions_detail = ("send_test", "show_secret", "renew_secret")
    fieldsets = ((None, {"fields": (("name", "kind"), "address", "alerts", ("project", "is_active"))}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        fields = list(super().get_readonly_fields(request, obj))
        # What receives the messages knows their form: another kind is another channel.
        return [*fields, "kind"] if obj else fields

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer the secret where calls are signed with one."""
        row = self.get_object(request, str(object_id))
        is_signed = row is not None and row.kind == ChannelKind.WEBHOOK
        return [found for found in super().get_actions_detail(request, object_id) if is_signed or found.path not in _SIGNED]

    @dialog(
        "Send a test",
        form=PlainDialog,
        permission=_CHANGE,
        submit="Send a test",
        description="One message that says it is a test. You are told at once whether it arrived.",
        icon="send",
    )
    def send_test(self, request: HttpRequest, form: PlainDialog, channel: AlertChannel) -> str:
        alert_channels.send_test(channel=channel, by=person(request), now=timezone.now())
        return "The mail server has taken the test." if channel.kind == ChannelKind.EMAIL else "The test has arrived."

    @dialog(
        "Show the signing secret",
        form=PlainDialog,
        permission=_CHANGE,
        submit="Show it",
        description="Whoever has it can make calls that look like ours. The receiver checks with it that a call is from here.",
        icon="key",
    )
    def show_secret(self, request: HttpRequest, form: PlainDialog, channel: AlertChannel) -> Shown:
        return _secret(channel)

    @dialog(
        "New secret",
        form=RenewDialog,
        permission=_CHANGE,
        submit="Make a new secret",
        description="The old one ends at once: calls that the receiver checks with it are refused there until it knows the new one.",
        icon="autorenew",
    )
    def renew_secret(self, request: HttpRequest, form: RenewDialog, channel: AlertChannel) -> Shown:
        return _secret(alert_channels.renew_secret(channel=channel, reason=form.cleaned_data["reason"]))

    @admin.display(description="to")
    def receiver(self, channel: AlertChannel) -> str:
        return channel.address if channel.kind == ChannelKind.EMAIL else host_of(channel.address)

    @admin.display(description="alerts")
    def wanted(self, channel: AlertChannel) -> str:
        return names(str(AlertKind(kind).label) for kind in channel.alerts) if channel.alerts else "All"

    @admin.display(description="project")
    def of_project(self, channel: AlertChannel) -> str:
        return str(channel.project or "All")

    @admin.display(description="state")
    def state(self, channel: AlertChannel) -> SafeString:
        return badge(*(("on", "On") if channel.is_active else ("off", "Off")), {"on": "success", "off": "default"})

    @admin.display(description="newest messages")
    def lately(self, channel: AlertChannel) -> SafeString:
        newest = list(channel.deliveries.order_by("-created_at", "-pk")[:_NEWEST])
        return badge(*inbox.arrival(newest), ARRIVAL_COLOURS) if newest else badge("none", "None yet", ARRIVAL_COLOURS)


def _secret(channel: AlertChannel) -> Shown:
    return Shown("admin/billing/channel_secret.html", {"channel": channel, "secret": secret_of(channel)})
