"""The launch calendar: what is planned, so that usage which doubles for a reason is told apart from usage that has none."""

from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RadioFilter, RelatedDropdownFilter
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextareaWidget

from billing.models import Launch
from billing.services import launches, spikes
from config.base.admin import Led, Moment, ReasonDialog, ReasonForm, TrackedAdmin, badge, dialog, lines, moment

STATES: Final = {"now": "Under way", "later": "Planned", "over": "Over"}
STATE_COLOURS: Final = {"now": "success", "later": "info", "over": "default"}
_CHANGE: Final = "billing.change_launch"


class LaunchForm(ReasonForm):
    starts_at = Moment(label="From", initial=timezone.now)
    ends_at = Moment(label="Until", help_text="Until when it explains more usage than before.")

    expected = forms.CharField(
        required=False, max_length=2_000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}), help_text="Such as twice as many replies."
    )

    def clean(self) -> Any:
        given = super().clean() or self.cleaned_data
        starts, ends = given.get("starts_at"), given.get("ends_at")
        if starts and ends and ends <= starts:
            self.add_error("ends_at", "It must end after it starts.")
        return given


class WhenFilter(RadioFilter):
    title = "time"
    parameter_name = "when"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return tuple(STATES.items())

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        now = timezone.now()
        states = {"now": Q(starts_at__lte=now, ends_at__gt=now), "later": Q(starts_at__gt=now), "over": Q(ends_at__lte=now)}
        return queryset.filter(states[self.value()]) if self.value() in states else queryset


class EndDialog(ReasonDialog):
    pass


@admin.register(Launch)
class LaunchAdmin(TrackedAdmin):
    form = LaunchForm
    list_display = ("name", "kind", "starts", "ends", "covers", "state", "owner")
    list_filter = (WhenFilter, ("kind", ChoicesDropdownFilter), ("project", RelatedDropdownFilter))
    list_select_related = ("project", "event_type", "owner")
    search_fields = ("name__istartswith", "ticket__startswith")
    search_help_text = "Beginning of the name or the ticket"
    ordering = ("-starts_at", "-pk")
    sortable_by = ()
    when_empty = "Enter what will change usage: a launch, a campaign, an import, another model. A spike that it covers is not told as one."
    actions_detail = ("end",)
    fieldsets = (
        (None, {"fields": (("name", "kind"), ("starts_at", "ends_at"))}),
        ("What it covers", {"fields": (("project", "event_type"), "environment")}),
        ("What is expected of it", {"fields": ("expected", ("ticket", "owner"))}),
    )

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        given: dict[str, Any] = super().get_changeform_initial_data(request)
        return {"owner": request.user.pk} | given

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "owner":
            kwargs["queryset"] = User.objects.filter(is_staff=True, is_active=True).order_by("username")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        super().save_model(request, obj, form, change)
        if explained := spikes.explain(launch=obj, now=timezone.now()):
            words = f"It explains {explained} {'spike, which is' if explained == 1 else 'spikes, which are'} resolved."
            self.message_user(request, words, messages.SUCCESS)

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer the end to what is not over."""
        row = self.get_object(request, str(object_id))
        return super().get_actions_detail(request, object_id) if row is not None and _state(row) != "over" else []

    @dialog(
        "End",
        form=EndDialog,
        permission=_CHANGE,
        submit="End it",
        description="From now on it explains nothing more. One that has not begun leaves the calendar.",
        icon="event_busy",
        variant=ActionVariant.DANGER,
    )
    def end(self, request: HttpRequest, form: EndDialog, row: Launch) -> str | Led:
        if launches.end(launch=row, reason=form.cleaned_data["reason"], now=timezone.now()):
            return f"{row} has ended."
        return Led(f"{row} is called off.", reverse("admin:billing_launch_changelist"))

    @admin.display(description="from")
    def starts(self, row: Launch) -> str:
        return moment(row.starts_at)

    @admin.display(description="until")
    def ends(self, row: Launch) -> str:
        return moment(row.ends_at)

    @admin.display(description="covers")
    def covers(self, row: Launch) -> SafeString | str:
        parts = [part for part in (row.project, row.event_type, row.get_environment_display()) if part]
        return lines(parts) if parts else "Everything"

    @admin.display(description="state")
    def state(self, row: Launch) -> SafeString:
        state = _state(row)
        return badge(state, STATES[state], STATE_COLOURS)


def _state(row: Launch) -> str:
    now = timezone.now()
    if row.ends_at <= now:
        return "over"
    return "now" if row.starts_at <= now else "later"
