"""Wallets: a list to find the low, the frozen and the overdrawn. A wallet's page is its customer's page."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RadioFilter, RelatedDropdownFilter

from billing.admin.words import WALLET_COLOURS
from billing.models import Wallet
from billing.queries import badges
from config.base.admin import KeysetAdmin, ReadOnlyAdmin, TrackedAdmin, badge, credits_
from config.base.admin.keyset import KeysetChangeList


class NeedsAttention(RadioFilter):
    title = "attention"
    parameter_name = "needs"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return (("top_up", "Below its low-balance mark"), ("debt", "Owes credits"))

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        if self.value() == "top_up":
            return queryset.filter(pk__in=badges.below_threshold().values("pk"))
        return queryset.filter(balance__lt=0) if self.value() == "debt" else queryset


class WalletChangeList(KeysetChangeList):
    """Rows that lead straight to the customer's page."""

    def url_for_result(self, result: Any) -> str:
        return reverse("admin:billing_customer_change", args=[result.customer_id])


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin, KeysetAdmin, TrackedAdmin):
    list_display = (
        "of_customer",
        "external_id",
        "project",
        "environment",
        "balance_figure",
        "held_figure",
        "low_below_figure",
        "overdraft_figure",
        "state",
    )
    list_filter = (
        NeedsAttention,
        ("status", ChoicesDropdownFilter),
        ("customer__project", RelatedDropdownFilter),
        ("customer__environment", ChoicesDropdownFilter),
    )
    list_select_related = ("customer__project",)
    search_fields = ("customer__external_id__startswith", "customer__name__istartswith")
    search_help_text = "Beginning of the customer id or name"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return WalletChangeList

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Lead to the customer's page, which has it all."""
        wallet = self.get_object(request, object_id) if object_id else None
        if request.method == "GET" and wallet is not None and self.has_view_permission(request, wallet):
            return redirect("admin:billing_customer_change", wallet.customer_id)
        response: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        return response

    @admin.display(description="customer")
    def of_customer(self, wallet: Wallet) -> str:
        return str(wallet.customer)

    @admin.display(description="customer id")
    def external_id(self, wallet: Wallet) -> str:
        return wallet.customer.external_id

    @admin.display(description="project")
    def project(self, wallet: Wallet) -> str:
        return str(wallet.customer.project)

    @admin.display(description="environment")
    def environment(self, wallet: Wallet) -> str:
        return wallet.customer.get_environment_display()

    @admin.display(description="balance")
    def balance_figure(self, wallet: Wallet) -> SafeString:
        return credits_(wallet.balance)

    @admin.display(description="held")
    def held_figure(self, wallet: Wallet) -> SafeString:
        return credits_(wallet.held)

    @admin.display(description="low below")
    def low_below_figure(self, wallet: Wallet) -> SafeString:
        return credits_(wallet.low_balance_threshold)

    @admin.display(description="may owe")
    def overdraft_figure(self, wallet: Wallet) -> SafeString:
        return credits_(wallet.overdraft_limit)

    @admin.display(description="status")
    def state(self, wallet: Wallet) -> SafeString:
        threshold = wallet.low_balance_threshold
        if threshold is not None and wallet.status == "active" and wallet.balance - wallet.held < threshold:
            return badge("low", "Low", WALLET_COLOURS)
        return badge(wallet.status, wallet.get_status_display(), WALLET_COLOURS)
