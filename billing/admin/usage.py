"""Usage records: the shared record that engineers debug by and finance reviews by. Read-only but for the refund."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter, RelatedDropdownFilter

from billing.admin import find
from billing.admin.filters import ExactTextFilter
from billing.admin.refund import RefundDialog, refund
from billing.admin.usage_detail import UsageDetail
from billing.admin.words import InBookCurrency, customer_link
from billing.models import CostStatus, UsageRecord
from billing.queries import costs
from config.base.admin import KeysetAdmin, MomentRangeFilter, ReadOnlyAdmin, badge, credits_, dialog, moment, money

COST_COLOURS = {CostStatus.PRICED: "success", CostStatus.UNPRICED: "warning", CostStatus.REPORTED: "info", CostStatus.NONE: "default"}


class KnownCostFilter(ChoicesDropdownFilter):
    """By what is known of the cost to this day: a re-rated record is priced, though it was charged unpriced."""

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        chosen = self.used_parameters.get(self.lookup_kwarg)
        if isinstance(chosen, list):
            chosen = chosen[0]
        return costs.of_status(queryset, str(chosen)) if chosen else queryset


@admin.register(UsageRecord)
class UsageRecordAdmin(UsageDetail, ReadOnlyAdmin, KeysetAdmin, InBookCurrency):
    list_display = (
        "occurred",
        "event",
        "of_customer",
        "project",
        "environment",
        "model_name",
        "charged_figure",
        "cost_figure",
        "cost_label",
        "outcome",
    )
    list_filter = (
        ("occurred_at", MomentRangeFilter),
        ("project", RelatedDropdownFilter),
        ("environment", ChoicesDropdownFilter),
        ("event_type", RelatedDropdownFilter),
        ("model", ExactTextFilter),
        ("customer", AutocompleteSelectFilter),
        ("status", ExactTextFilter),
        ("cost_status", KnownCostFilter),
        ("run_id", ExactTextFilter),
    )
    keyset = ("occurred_at", "pk")
    list_select_related = ("project", "event_type", "customer")
    when_empty = "Each action that an app reports is a record. Make an API key and send the first event."
    search_fields = ("id",)
    search_help_text = "evt_… or request id, exactly"
    actions_detail = ("refund_charge",)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[UsageRecord]":
        rows: QuerySet[UsageRecord] = super().get_queryset(request)
        return costs.with_known_costs(rows.select_related("project", "event_type", "customer"))

    def get_widening(self, keys: Sequence[str]) -> Sequence[timedelta]:
        return (timedelta(hours=1), timedelta(days=1), timedelta(days=31))

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[UsageRecord]", search_term: str
    ) -> tuple["QuerySet[UsageRecord]", bool]:
        text = search_term.strip()
        if not text:
            return queryset, False
        if (number := find.number_in(text)) is not None:
            return queryset.filter(pk=number), False
        return find.of_request(queryset, text, time="occurred_at", request=request), False

    @dialog(
        "Refund",
        form=RefundDialog,
        permission="billing.refund_event",
        submit="Refund",
        description="Credits go back to the lots that they came from.",
        icon="undo",
    )
    def refund_charge(self, request: HttpRequest, form: RefundDialog, record: UsageRecord) -> str:
        return refund(request, form, record)

    @admin.display(description="occurred")
    def occurred(self, record: UsageRecord) -> str:
        return moment(record.occurred_at)

    @admin.display(description="event")
    def event(self, record: UsageRecord) -> str:
        return record.event_type.name

    @admin.display(description="customer")
    def of_customer(self, record: UsageRecord) -> SafeString | str:
        return customer_link(record.customer)

    @admin.display(description="model")
    def model_name(self, record: UsageRecord) -> str:
        return record.model or "-"

    @admin.display(description="credits")
    def charged_figure(self, record: UsageRecord) -> SafeString:
        return credits_(record.credits)

    @admin.display(description="provider cost")
    def cost_figure(self, record: Any) -> SafeString:
        return money(record.known_cost, record.known_currency)

    @admin.display(description="cost")
    def cost_label(self, record: Any) -> SafeString:
        return badge(record.known_status, CostStatus(record.known_status).label, COST_COLOURS)

    @admin.display(description="status")
    def outcome(self, record: UsageRecord) -> str:
        return " ".join(str(part) for part in (record.status, record.status_code) if part) or "-"
