"""Payments: the money that stands behind deposits. Read-only."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from billing.admin.filters import CustomerOfWalletFilter
from billing.admin.words import customer_link
from billing.models import EntryKind, LedgerEntry, Payment
from config.base.admin import DayRangeFilter, KeysetAdmin, ReadOnlyAdmin, credits_, link, moment, money, table


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin, KeysetAdmin):
    list_display = ("external_id", "received", "of_customer", "source", "amount_figure")
    list_filter = (("received_at", DayRangeFilter), ("source", ChoicesDropdownFilter), ("wallet__customer", CustomerOfWalletFilter))
    list_select_related = ("wallet__customer",)
    when_empty = "A payment stands behind each top-up."
    search_fields = ("external_id__exact",)
    search_help_text = "Payment id, exactly"
    fieldsets = (
        (None, {"fields": (("external_id", "source"), ("of_customer", "amount_figure"), ("received", "metadata"))}),
        ("Credits", {"fields": ("entries",)}),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Payment]":
        rows: QuerySet[Payment] = super().get_queryset(request)
        return rows.select_related("wallet__customer")

    @admin.display(description="customer")
    def of_customer(self, payment: Payment) -> SafeString | str:
        return customer_link(payment.wallet.customer)

    @admin.display(description="received")
    def received(self, payment: Payment) -> str:
        return moment(payment.received_at)

    @admin.display(description="amount")
    def amount_figure(self, payment: Payment) -> SafeString:
        return money(payment.amount, payment.currency)

    @admin.display(description="what it brought")
    def entries(self, payment: Payment) -> SafeString:
        # Through the wallet, whose index the entries have; a payment has none of its own.
        brought = LedgerEntry.objects.filter(wallet_id=payment.wallet_id, payment=payment).select_related("lot").order_by("pk")
        rows = [
            (
                link(moment(entry.recorded_at), "billing_ledgerentry_change", entry.pk),
                EntryKind(entry.kind).label,
                link(entry.lot, "billing_lot_change", entry.lot_id),
                credits_(entry.credits),
                money(entry.value, payment.currency),
            )
            for entry in brought
        ]
        return table(("Recorded", "Kind", "Lot", "Credits", "Value"), rows, figures=(3, 4), empty="Nothing was credited for it.")
