"""Holds: credits set aside for actions still running. Read-only, but for giving an open one back."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter

from billing.admin.filters import CustomerOfWalletFilter
from billing.admin.words import HOLD_COLOURS, actor, customer_link, record_link
from billing.models import Environment, Hold, HoldStatus
from billing.services import holds, keys
from config.base.admin import DayRangeFilter, Dialog, KeysetAdmin, ReadOnlyAdmin, badge, credits_, dialog, moment
from config.base.exact import plain


class ReleaseDialog(Dialog):
    pass


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin, KeysetAdmin):
    list_display = ("hold", "of_customer", "project", "event_type", "credits_figure", "state", "placed", "expires")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("created_at", DayRangeFilter),
        ("wallet__customer", CustomerOfWalletFilter),
        ("project", RelatedDropdownFilter),
        ("event_type", RelatedDropdownFilter),
    )
    list_select_related = ("wallet__customer", "project", "event_type")
    when_empty = "Apps set credits aside for actions that take a while by POST /holds."
    search_fields = ("id",)
    search_help_text = "hold_… or its number, exactly"
    actions_detail = ("release_hold",)
    fieldsets = (
        (None, {"fields": (("hold", "state"), ("of_customer", "project"), ("event_type", "how_many"), ("credits_figure", "captured"))}),
        ("Time", {"fields": (("placed", "expires"), ("first_expiry", "ended"))}),
        ("Origin", {"fields": (("request_id", "api_key"), ("event", "available"))}),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Hold]":
        rows: QuerySet[Hold] = super().get_queryset(request)
        return rows.select_related("wallet__customer", "project", "event_type")

    def get_search_results(self, request: HttpRequest, queryset: "QuerySet[Hold]", search_term: str) -> tuple["QuerySet[Hold]", bool]:
        digits = search_term.strip().removeprefix("hold_")
        if not digits:
            return queryset, False
        is_number = digits.isdecimal() and digits.isascii() and len(digits) < 19
        return (queryset.filter(pk=int(digits)) if is_number else queryset.none()), False

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        hold = self.get_object(request, str(object_id))
        return super().get_actions_detail(request, object_id) if hold and hold.status == HoldStatus.OPEN else []

    @dialog(
        "Release hold",
        form=ReleaseDialog,
        permission="billing.release_hold",
        submit="Release",
        description="The credits become available again. An action that is still running can then no longer capture them.",
        icon="lock_open",
    )
    def release_hold(self, request: HttpRequest, form: ReleaseDialog, hold: Hold) -> str:
        environment = Environment(hold.wallet.customer.environment)
        caller = keys.project_caller(hold.project, environment=environment, actor=actor(request))
        released = holds.release(caller=caller, hold_id=hold.pk, now=timezone.now())
        if released.status != HoldStatus.RELEASED:
            return f"hold_{hold.pk} had expired already."
        return f"{plain(hold.credits)} credits of {hold.wallet.customer} are no longer held."

    @admin.display(description="hold")
    def hold(self, hold: Hold) -> str:
        return f"hold_{hold.pk}"

    @admin.display(description="customer")
    def of_customer(self, hold: Hold) -> SafeString | str:
        return customer_link(hold.wallet.customer)

    @admin.display(description="credits")
    def credits_figure(self, hold: Hold) -> SafeString:
        return credits_(hold.credits)

    @admin.display(description="quantity")
    def how_many(self, hold: Hold) -> SafeString:
        return credits_(hold.quantity)

    @admin.display(description="captured credits")
    def captured(self, hold: Hold) -> SafeString:
        return credits_(hold.captured_credits)

    @admin.display(description="status")
    def state(self, hold: Hold) -> SafeString:
        return badge(hold.status, hold.get_status_display(), HOLD_COLOURS)

    @admin.display(description="placed")
    def placed(self, hold: Hold) -> str:
        return moment(hold.created_at)

    @admin.display(description="expires")
    def expires(self, hold: Hold) -> str:
        return moment(hold.expires_at)

    @admin.display(description="would have expired at first")
    def first_expiry(self, hold: Hold) -> str:
        return moment(hold.first_expires_at)

    @admin.display(description="ended")
    def ended(self, hold: Hold) -> str:
        return moment(hold.ended_at)

    @admin.display(description="captured by")
    def event(self, hold: Hold) -> SafeString | str:
        return record_link(hold.usage_record_id)

    @admin.display(description="available when placed")
    def available(self, hold: Hold) -> SafeString:
        return credits_(hold.available_after)
