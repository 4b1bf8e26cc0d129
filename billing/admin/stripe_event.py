"""Stripe's events: what arrived, what it did, what waits and what failed, and trying it again."""

import json
from datetime import timedelta
from typing import Any, Final

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.contrib.filters.admin.dropdown_filters import DropdownFilter

from billing.admin.words import actor
from billing.models import EventState, StripeEvent
from billing.queries import stripe_events
from billing.services import inbox
from config.base.admin import DayRangeFilter, Dialog, KeysetAdmin, ReadOnlyAdmin, badge, dialog, lines, link, moment
from config.base.admin.keyset import KeysetChangeList

STATE_COLOURS: Final = {EventState.DUE: "info", EventState.DONE: "success", EventState.IGNORED: "default", EventState.DEAD: "danger"}
# An event that waits although it was looked at: something is missing, or failed.
_AGAIN: Final = "again"
_OTHERS: Final = "others"
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class TypeFilter(DropdownFilter):
    """The types that somebody here works with, and all others."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*((kind, kind) for kind in sorted(inbox.HANDLERS)), (_OTHERS, "Any other type")]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        if self.value() == _OTHERS:
            return queryset.exclude(type__in=inbox.HANDLERS)
        return queryset.filter(type=self.value()) if self.value() else queryset


class EventChangeList(KeysetChangeList):
    """The events of a page, each with what it is about. Bodies are read on the page of one event only."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> "QuerySet[Any]":
        return super().get_queryset(request, exclude_parameters).defer("body", "last_error")

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        found = stripe_events.about(self.result_list)
        for event in self.result_list:
            event.subject = found.get(event.pk)


class RetryDialog(Dialog):
    pass


@admin.register(StripeEvent)
class StripeEventAdmin(ReadOnlyAdmin, KeysetAdmin):
    list_display = ("arrived", "kind", "about", "state_badge", "span", "attempts_figure", "result")
    list_filter = (("state", ChoicesDropdownFilter), TypeFilter, ("received_at", DayRangeFilter), ("origin", ChoicesDropdownFilter))
    keyset = ("received_at", "pk")
    search_fields = ("event_id__exact", "object_id__exact")
    search_help_text = "Id of the event, or of what it is about (pi_…, ch_…, cs_…), exactly"
    when_empty = "Stripe's events are kept here once STRIPE_API_KEY and STRIPE_WEBHOOK_SECRET are set."
    actions_list = ("retry_all",)
    actions_detail = ("retry",)
    fieldsets = (
        (
            None,
            {"fields": (("type", "state_badge"), ("about", "result"), ("span", "attempts_figure"), ("next_look", "queue"), ("retried",))},
        ),
        ("Where it is from", {"fields": (("event_id", "object_id"), ("happened", "arrived"), ("origin", "mode"), ("version",))}),
        ("Last error", {"fields": ("error",), "classes": ("collapse",)}),
        ("As Stripe sent it", {"fields": ("pretty_body",)}),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return EventChangeList

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Leave out an error that there is none of; hide what buyers typed from whoever may not see contact data."""
        has_error = isinstance(obj, StripeEvent) and bool(obj.last_error)
        shown = [part for part in self.fieldsets if part[0] != "Last error" or has_error]
        if not request.user.has_perm("billing.view_contact_data"):
            shown[-1] = ("As Stripe sent it", {"fields": ("hidden_body",)})
        return shown

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return [*super().get_readonly_fields(request, obj), "hidden_body"]

    @dialog(
        "Try again",
        form=RetryDialog,
        permission="billing.retry_stripeevent",
        submit="Try again",
        description="The worker takes the event at once, as if it had just arrived. What it did before, it does not do twice.",
        icon="replay",
    )
    def retry(self, request: HttpRequest, form: RetryDialog, event: StripeEvent) -> str:
        inbox.retry(event=event, actor=actor(request), now=timezone.now())
        return "The event is being tried again. Load this page again in a moment."

    @dialog(
        "Try all dead letters again",
        form=RetryDialog,
        permission="billing.retry_stripeevent",
        submit="Try them again",
        description="Every event that failed too often is taken again, the oldest first.",
        icon="replay",
    )
    def retry_all(self, request: HttpRequest, form: RetryDialog, row: None) -> str:
        count = inbox.retry_all_dead(actor=actor(request), now=timezone.now())
        if not count:
            return "There are no dead letters."
        return f"{count:,} {'event is' if count == 1 else 'events are'} being tried again."

    @admin.display(description="received")
    def arrived(self, event: StripeEvent) -> str:
        return moment(event.received_at)

    @admin.display(description="happened at Stripe")
    def happened(self, event: StripeEvent) -> str:
        return moment(event.happened_at)

    @admin.display(description="type")
    def kind(self, event: StripeEvent) -> SafeString:
        return format_html_join(SafeString(".<wbr>"), "{}", ((part,) for part in event.type.split(".")))

    @admin.display(description="about")
    def about(self, event: Any) -> SafeString | str:
        if not hasattr(event, "subject"):
            event.subject = stripe_events.about([event]).get(event.pk)
        row: Model | None = event.subject
        if row is None:
            return format_html('<span class="md-mono">{}</span>', event.object_id or "-")
        return link(row, f"{row._meta.app_label}_{row._meta.model_name}_change", row.pk)

    @admin.display(description="state")
    def state_badge(self, event: StripeEvent) -> SafeString:
        if event.state == EventState.DUE and event.attempts:
            return badge(_AGAIN, "Waits, tried before", {_AGAIN: "warning"})
        return badge(event.state, event.get_state_display(), STATE_COLOURS)

    @admin.display(description="took")
    def span(self, event: StripeEvent) -> str:
        if event.done_at:
            return _span(event.done_at - event.received_at)
        return f"{_span(timezone.now() - event.received_at)} so far"

    @admin.display(description="attempts")
    def attempts_figure(self, event: StripeEvent) -> str:
        return str(event.attempts)

    @admin.display(description="outcome")
    def result(self, event: StripeEvent) -> SafeString:
        sentence = event.outcome or "-"
        return format_html('<span class="md-name">{}</span>', sentence[0].upper() + sentence[1:])

    @admin.display(description="looked at next")
    def next_look(self, event: StripeEvent) -> str:
        return moment(event.due_at) if event.state == EventState.DUE else "-"

    @admin.display(description="tried again by")
    def retried(self, event: StripeEvent) -> SafeString | str:
        return lines([event.retried_by, moment(event.retried_at)]) if event.retried_at else "-"

    @admin.display(description="version of the API")
    def version(self, event: StripeEvent) -> str:
        return event.api_version or "-"

    @admin.display(description="mode")
    def mode(self, event: StripeEvent) -> str:
        return "Live: real money" if event.is_live else "Test mode"

    @admin.display(description="error")
    def error(self, event: StripeEvent) -> SafeString:
        return _block(event.last_error)

    @admin.display(description="body")
    def pretty_body(self, event: StripeEvent) -> SafeString:
        return _block(json.dumps(json.loads(event.body), indent=2, ensure_ascii=False))

    @admin.display(description="body")
    def hidden_body(self, event: StripeEvent) -> str:
        return "Hidden: it may hold contact data, which your role does not include."


def _block(text: str) -> SafeString:
    return format_html('<pre class="md-block" tabindex="0">{}</pre>', text.replace("\0", "\\0"))


def _span(span: timedelta) -> str:
    """Show how long something took in its largest whole unit: 4 s, 3 min, 2 h, 5 d."""
    seconds = max(int(span.total_seconds()), 0)
    return next((f"{seconds // size} {unit}" for size, unit in _UNITS if seconds >= size), "below 1 s")
