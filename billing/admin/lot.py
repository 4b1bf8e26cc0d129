"""Lots: where credits came from, what is left of them, when they go. Read-only."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter

from billing.admin.filters import CustomerOfWalletFilter
from billing.admin.words import LOT_COLOURS, InBookCurrency, customer_link
from billing.models import EntryKind, LedgerEntry, Lot
from config.base.admin import DayRangeFilter, KeysetAdmin, ReadOnlyAdmin, badge, credits_, link, moment, money, table

MOST = 50


@admin.register(Lot)
class LotAdmin(ReadOnlyAdmin, KeysetAdmin, InBookCurrency):
    list_display = ("lot", "of_customer", "kind_label", "remaining_figure", "granted_figure", "value_figure", "expires", "priority", "made")
    list_filter = (
        ("kind", ChoicesDropdownFilter),
        ("is_open", BooleanRadioFilter),
        ("expires_at", DayRangeFilter),
        ("created_at", DayRangeFilter),
        ("wallet__customer", CustomerOfWalletFilter),
    )
    list_select_related = ("wallet__customer",)
    fieldsets = (
        (
            None,
            {"fields": (("of_customer", "kind_label"), ("granted_figure", "remaining_figure"), ("expires", "priority"), ("made", "note"))},
        ),
        ("Value", {"fields": (("whole_value", "value_figure"), ("value_of_one", "payment_link"))}),
        ("Entries", {"fields": ("entries",)}),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.select_related("wallet__customer")

    @admin.display(description="lot")
    def lot(self, lot: Lot) -> str:
        return f"Lot {lot.pk}"

    @admin.display(description="customer")
    def of_customer(self, lot: Lot) -> SafeString | str:
        return customer_link(lot.wallet.customer)

    @admin.display(description="kind")
    def kind_label(self, lot: Lot) -> SafeString:
        return badge(lot.kind, lot.get_kind_display(), LOT_COLOURS)

    @admin.display(description="left")
    def remaining_figure(self, lot: Lot) -> SafeString:
        return credits_(lot.remaining)

    @admin.display(description="granted")
    def granted_figure(self, lot: Lot) -> SafeString:
        return credits_(lot.granted)

    @admin.display(description="value left")
    def value_figure(self, lot: Any) -> SafeString:
        return money(lot.value_remaining, lot.book_currency)

    @admin.display(description="value of the whole lot")
    def whole_value(self, lot: Any) -> SafeString:
        return money(lot.value, lot.book_currency)

    @admin.display(description="value of one credit")
    def value_of_one(self, lot: Any) -> SafeString:
        return money(lot.unit_value, lot.book_currency)

    @admin.display(description="expires")
    def expires(self, lot: Lot) -> str:
        return moment(lot.expires_at) if lot.expires_at else "never"

    @admin.display(description="made")
    def made(self, lot: Lot) -> str:
        return moment(lot.created_at)

    @admin.display(description="payment")
    def payment_link(self, lot: Lot) -> SafeString | str:
        return link(lot.payment, "billing_payment_change", lot.payment_id) if lot.payment else "-"

    @admin.display(description=f"newest entries (at most {MOST})")
    def entries(self, lot: Any) -> SafeString:
        # Through the wallet, whose index the entries have; a lot has none of its own.
        newest = LedgerEntry.objects.filter(wallet_id=lot.wallet_id, lot=lot).order_by("-pk")[:MOST]
        rows = [
            (
                link(moment(entry.recorded_at), "billing_ledgerentry_change", entry.pk),
                EntryKind(entry.kind).label,
                credits_(entry.credits),
                money(entry.value, lot.book_currency),
            )
            for entry in newest
        ]
        return table(("Recorded", "Kind", "Credits", "Value"), rows, figures=(2, 3), empty="No entry yet.")
