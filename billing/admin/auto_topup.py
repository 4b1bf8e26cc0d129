"""Auto top-ups: a list to find those that stopped or pause. What is done about one is done on its customer's page."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter

from billing.admin.filters import CustomerOfWalletFilter
from billing.admin.words import AUTO_TOPUP_COLOURS, charged
from billing.models import AutoTopUp
from config.base.admin import KeysetAdmin, ReadOnlyAdmin, TrackedAdmin, badge, credits_, moment
from config.base.admin.keyset import KeysetChangeList


class AutoTopUpChangeList(KeysetChangeList):
    """Rows that lead straight to the customer's page."""

    def url_for_result(self, result: Any) -> str:
        return reverse("admin:billing_customer_change", args=[result.wallet.customer_id])


@admin.register(AutoTopUp)
class AutoTopUpAdmin(ReadOnlyAdmin, KeysetAdmin, TrackedAdmin):
    list_display = ("of_customer", "project", "state_badge", "why", "threshold_figure", "buys", "day_figure", "month_figure", "not_before")
    list_filter = (
        ("state", ChoicesDropdownFilter),
        ("wallet__customer", CustomerOfWalletFilter),
        ("pack", RelatedDropdownFilter),
    )
    list_select_related = ("wallet__customer__project", "pack")
    when_empty = "It is set up on a customer's page, under Auto top-up: a saved card is then charged when the wallet runs low."

    def get_queryset(self, request: HttpRequest) -> "QuerySet[AutoTopUp]":
        rows: QuerySet[AutoTopUp] = super().get_queryset(request)
        return rows.select_related("wallet__customer__project", "pack")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return AutoTopUpChangeList

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Lead to the customer's page, which has it all."""
        auto = self.get_object(request, object_id) if object_id else None
        if request.method == "GET" and auto is not None and self.has_view_permission(request, auto):
            return redirect("admin:billing_customer_change", auto.wallet.customer_id)
        response: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        return response

    @admin.display(description="customer")
    def of_customer(self, auto: AutoTopUp) -> str:
        return str(auto.wallet.customer)

    @admin.display(description="project")
    def project(self, auto: AutoTopUp) -> str:
        return str(auto.wallet.customer.project)

    @admin.display(description="state")
    def state_badge(self, auto: AutoTopUp) -> SafeString:
        return badge(auto.state, auto.get_state_display(), AUTO_TOPUP_COLOURS)

    @admin.display(description="below")
    def threshold_figure(self, auto: AutoTopUp) -> SafeString:
        return credits_(auto.threshold)

    @admin.display(description="buys")
    def buys(self, auto: AutoTopUp) -> str | SafeString:
        return str(auto.pack) if auto.pack else charged(auto.amount_minor or 0, auto.currency)

    @admin.display(description="at most a day")
    def day_figure(self, auto: AutoTopUp) -> SafeString:
        return charged(auto.day_cap_minor, auto.currency)

    @admin.display(description="at most a month")
    def month_figure(self, auto: AutoTopUp) -> SafeString:
        return charged(auto.month_cap_minor, auto.currency)

    @admin.display(description="not before")
    def not_before(self, auto: AutoTopUp) -> str:
        return moment(auto.next_attempt_at) if auto.is_on else "-"
