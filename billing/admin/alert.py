"""The inbox of alerts: what waits for somebody first, seen to one by one or many at once; and the page of this week's spikes.

An alert and its figures stay as they were raised. What people do here is acknowledge it with a note, resolve it, and have
messages that did not arrive tried again.
"""

from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.enums import ActionVariant
from unfold.forms import ActionForm
from unfold.widgets import UnfoldAdminTextareaWidget

from billing.admin import spike
from billing.admin.alert_filters import OwnerFilter, ShowsFilter
from billing.admin.alert_view import ABOUT, ARRIVAL_COLOURS, STATE_COLOURS, about, deliveries
from billing.admin.words import person
from billing.models import Alert, AlertDelivery, AlertKind, AlertState, DeliveryOutcome
from billing.queries import alert_words
from billing.queries import alerts as inbox
from billing.services import alert_outbox, alerts
from config.base.admin import BaseAdmin, DayRangeFilter, Dialog, ReadOnlyAdmin, badge, dialog, lines, moment
from config.base.admin.records import refuse_writing

_NOTE_LENGTH: Final = 1_000
_RETRY: Final = "billing.retry_alertdelivery"


class NoteForm(ActionForm):
    """What is done with the chosen alerts, and a note that is kept with those that are acknowledged."""

    note = forms.CharField(
        label="",
        required=False,
        max_length=_NOTE_LENGTH,
        widget=forms.TextInput({"class": "md-action-note", "placeholder": "Note: what you found, or do about it", "aria-label": "Note"}),
    )


class AcknowledgeDialog(Dialog):
    note = forms.CharField(
        required=False,
        max_length=_NOTE_LENGTH,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="What you found, or do about it. Others see it with the alert.",
    )


class PlainDialog(Dialog):
    pass


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = ("what", "kind", "about", "raised", "state_badge", "told")
    list_filter = (
        ShowsFilter,
        ("kind", ChoicesDropdownFilter),
        ("project", RelatedDropdownFilter),
        OwnerFilter,
        ("raised_at", DayRangeFilter),
    )
    list_select_related = ABOUT
    ordering = (inbox.BY_URGENCY, "-raised_at", "-pk")
    sortable_by = ()
    when_empty = "Nothing waits for you. Budgets at their marks, wallets that run low and usage that doubles are told of here, once."
    action_form = NoteForm
    actions = ("acknowledge_chosen", "resolve_chosen")
    actions_list = ("retry_all",)
    actions_detail = ("acknowledge", "resolve", "retry")

    def get_urls(self) -> list[URLPattern]:
        page = path("spikes/", self.admin_site.admin_view(self.spikes), name="billing_spikes")
        return [page, *super().get_urls()]

    def spikes(self, request: HttpRequest) -> HttpResponse:
        """Show what doubled lately, and what it is."""
        refuse_writing(request)
        if not self.has_view_permission(request):
            raise PermissionDenied
        return spike.page(self, request)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Alert]":
        rows: QuerySet[Alert] = super().get_queryset(request)
        return inbox.visible(rows.select_related(*ABOUT).prefetch_related("deliveries"), person(request))

    def has_acknowledge_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return inbox.may_see_to_some(person(request))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Let the form of the list through for whoever may send it; all else about alerts is for looking."""
        if not self.has_acknowledge_permission(request):
            refuse_writing(request)
        return BaseAdmin.changelist_view(self, request, extra_context)

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        shown: list[Any] = [(None, {"fields": ("happened", "advice", ("state_badge", "kind"), ("about", "raised"))})]
        if isinstance(obj, Alert):
            if obj.kind == AlertKind.SPIKE:
                shown.append(("The figures", {"fields": ("evidence", "launch")}))
            if obj.state != AlertState.OPEN:
                shown.append(("Who saw to it", {"fields": (("seen", "ended"), "noted")}))
        return [*shown, ("Who was told", {"fields": ("messages_sent",)})]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        self.may_plan = request.user.has_perm("billing.add_launch")
        return (
            "happened",
            "advice",
            "state_badge",
            "kind",
            "about",
            "raised",
            "evidence",
            "launch",
            "seen",
            "ended",
            "noted",
            "messages_sent",
        )

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer what would do something."""
        row = self.get_object(request, str(object_id))
        if row is None:
            return []
        offered = set()
        if inbox.is_seen_to_by(row, person(request)):
            offered = {AlertState.OPEN: {"acknowledge", "resolve"}, AlertState.ACKNOWLEDGED: {"resolve"}}.get(AlertState(row.state), set())
        if any(one.outcome == DeliveryOutcome.EXPIRED for one in row.deliveries.all()):
            offered = offered | {"retry"}
        return [found for found in super().get_actions_detail(request, object_id) if found.path in offered]

    @admin.action(description="Acknowledge, with the note", permissions=["acknowledge"])
    def acknowledge_chosen(self, request: HttpRequest, queryset: "QuerySet[Alert]") -> None:
        note = request.POST.get("note", "").strip()[:_NOTE_LENGTH].replace("\0", "")
        done = alerts.acknowledge(alerts=self._seen_to(request, queryset), by=person(request), note=note, now=timezone.now())
        self._tell(request, queryset, done, "acknowledged")

    @admin.action(description="Resolve", permissions=["acknowledge"])
    def resolve_chosen(self, request: HttpRequest, queryset: "QuerySet[Alert]") -> None:
        done = alerts.resolve(alerts=self._seen_to(request, queryset), by=person(request), now=timezone.now())
        self._tell(request, queryset, done, "resolved")

    def _seen_to(self, request: HttpRequest, queryset: "QuerySet[Alert]") -> "QuerySet[Alert]":
        return queryset.filter(inbox.may_see_to(person(request)))

    def _tell(self, request: HttpRequest, queryset: "QuerySet[Alert]", done: int, what: str) -> None:
        chosen = queryset.count()
        if done:
            self.message_user(request, f"{done:,} {'alert is' if done == 1 else 'alerts are'} {what}.", messages.SUCCESS)
        if left := chosen - done:
            why = "somebody saw to them before, what they tell of still holds, or they are not yours to see to"
            self.message_user(request, f"{left:,} of the chosen stayed as they are: {why}.", messages.WARNING)

    @dialog(
        "Acknowledge",
        form=AcknowledgeDialog,
        permission="acknowledge",
        submit="Acknowledge",
        description="You have seen it. It stays in the inbox, below what is open, until it is over.",
        icon="visibility",
        variant=ActionVariant.PRIMARY,
    )
    def acknowledge(self, request: HttpRequest, form: AcknowledgeDialog, row: Alert) -> str:
        self._let_in(request, row)
        note = form.cleaned_data["note"]
        done = alerts.acknowledge(alerts=[row], by=person(request), note=note, now=timezone.now())
        return "The alert is acknowledged." if done else "Somebody had seen to it before you; nothing was changed."

    @dialog(
        "Resolve",
        form=PlainDialog,
        permission="acknowledge",
        submit="Resolve",
        description="What it tells of is over, or settled. It leaves the inbox and is not opened again.",
        icon="check",
    )
    def resolve(self, request: HttpRequest, form: PlainDialog, row: Alert) -> str:
        self._let_in(request, row)
        if alerts.resolve(alerts=[row], by=person(request), now=timezone.now()):
            return "The alert is resolved."
        return "It stays as it is: somebody resolved it before you, or what it tells of still holds and ends it by itself."

    @dialog(
        "Send again",
        form=PlainDialog,
        permission=_RETRY,
        submit="Send again",
        description="The messages of this alert that were given up are tried again at once.",
        icon="replay",
    )
    def retry(self, request: HttpRequest, form: PlainDialog, row: Alert) -> str:
        count = alert_outbox.retry(deliveries=AlertDelivery.objects.filter(alert=row), now=timezone.now())
        return f"{count:,} {'message is' if count == 1 else 'messages are'} on the way again. Load this page again in a moment."

    @dialog(
        "Send all that was given up again",
        form=PlainDialog,
        permission=_RETRY,
        submit="Send again",
        description="Every message that could not be delivered is tried again, such as after a receiver was mended.",
        icon="replay",
    )
    def retry_all(self, request: HttpRequest, form: PlainDialog, row: None) -> str:
        count = alert_outbox.retry(deliveries=inbox.dead(), now=timezone.now())
        return f"{count:,} {'message is' if count == 1 else 'messages are'} on the way again." if count else "No message was given up."

    def _let_in(self, request: HttpRequest, row: Alert) -> None:
        if not inbox.is_seen_to_by(row, person(request)):
            raise PermissionDenied

    @admin.display(description="what happened")
    def what(self, row: Alert) -> SafeString:
        return format_html(
            '<span class="md-happened">{}</span><span class="md-happened desk-quiet">{}</span>',
            alert_words.sentence(row),
            self._advice(row),
        )

    @admin.display(description="what happened")
    def happened(self, row: Alert) -> str:
        return alert_words.sentence(row)

    @admin.display(description="what you can do")
    def advice(self, row: Alert) -> str:
        return self._advice(row) or "Nothing: it is over."

    def _advice(self, row: Alert) -> str:
        return alert_words.next_step(row) if row.state != AlertState.RESOLVED else ""

    @admin.display(description="about")
    def about(self, row: Alert) -> SafeString | str:
        return about(row)

    @admin.display(description="raised")
    def raised(self, row: Alert) -> str:
        return moment(row.raised_at)

    @admin.display(description="state")
    def state_badge(self, row: Alert) -> SafeString:
        return badge(row.state, row.get_state_display(), STATE_COLOURS)

    @admin.display(description="told")
    def told(self, row: Alert) -> SafeString:
        return badge(*inbox.arrival(row.deliveries.all()), ARRIVAL_COLOURS)

    @admin.display(description="acknowledged")
    def seen(self, row: Alert) -> SafeString | str:
        return lines([row.acknowledged_by, moment(row.acknowledged_at)]) if row.acknowledged_at else "By nobody"

    @admin.display(description="resolved")
    def ended(self, row: Alert) -> SafeString | str:
        return lines([row.resolved_by or "By itself: it is over", moment(row.resolved_at)]) if row.resolved_at else "Not yet"

    @admin.display(description="note")
    def noted(self, row: Alert) -> str:
        return row.note or "-"

    @admin.display(description="the two weeks")
    def evidence(self, row: Alert) -> SafeString:
        return spike.evidence(row)

    @admin.display(description="was it planned?")
    def launch(self, row: Alert) -> SafeString | str:
        return spike.plan_link(row, may_plan=self.may_plan)

    @admin.display(description="messages")
    def messages_sent(self, row: Alert) -> SafeString:
        return deliveries(row)
