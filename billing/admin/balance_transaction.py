"""Balance transactions: each movement of our balance at Stripe, and what it is about. Read-only."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, DropdownFilter, RadioFilter

from billing.admin.filters import BookedCurrencyFilter
from billing.admin.money_back_view import topup_link
from billing.admin.words import charged, customer_link, in_major
from billing.balance import Category, category_of
from billing.models import BalanceTransaction, PlatformFee
from billing.queries import stripe_balance
from billing.queries.stripe_balance import About
from config.base.admin import DayRangeFilter, ExportedAdmin, ReadOnlyAdmin, link, moment, table
from config.base.export import Column


def _category(kind: str, reporting_category: str, source: str) -> str:
    return category_of(kind=kind, reporting_category=reporting_category, source=source).value.capitalize()


COLUMNS = (
    Column("Balance transaction", ("stripe_id",)),
    Column("Booked at", ("created_at",)),
    Column("Category", ("type", "reporting_category", "source"), _category),
    Column("Stripe's type", ("type",)),
    Column("About", ("source",)),
    Column("Charge", ("charge",)),
    Column("Payment intent", ("payment_intent",)),
    Column("Amount", ("amount_minor", "currency"), in_major),
    Column("Fee", ("fee_minor", "currency"), in_major),
    Column("Net", ("net_minor", "currency"), in_major),
    Column("Currency", ("currency",)),
    Column("Exchange rate", ("exchange_rate",)),
    Column("Status", ("status",)),
    Column("Available on", ("available_on",)),
    Column("Payout", ("payout_id_at_stripe",)),
    Column("Description", ("description",)),
    Column("Heard of at", ("received_at",)),
)


class CategoryFilter(DropdownFilter):
    """What movements are about, sorted as the reconciliation sorts them."""

    title = "category"
    parameter_name = "category"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(category.value, category.value.capitalize()) for category in Category]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.filter(stripe_balance.of_category(self.value() or "")) if self.value() else queryset


class PaidOutFilter(RadioFilter):
    """Whether a payout took the movement along."""

    title = "paid out"
    parameter_name = "paid_out"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return (("yes", "Yes"), ("no", "Not yet"))

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        empty = {"yes": False, "no": True}.get(self.value() or "")
        return queryset if empty is None else queryset.filter(payout__isnull=empty)


@admin.register(BalanceTransaction)
class BalanceTransactionAdmin(ReadOnlyAdmin, ExportedAdmin):
    list_display = ("booked", "stripe_id", "of_what", "of_customer", "amount_figure", "fee_figure", "net_figure", "paid_out")
    list_filter = (
        ("created_at", DayRangeFilter),
        CategoryFilter,
        PaidOutFilter,
        BookedCurrencyFilter,
        ("payout", AutocompleteSelectFilter),
    )
    list_select_related = ("payout",)
    when_empty = (
        "Stripe tells of each movement of our balance by its events, and is asked every ten minutes. "
        "Older ones come by Import Stripe file on the reconciliation."
    )
    keyset = ("created_at", "pk")
    search_fields = ("stripe_id__exact",)
    search_help_text = "txn_…, ch_…, pi_…, re_…, dp_…, po_… or topup_…, exactly"
    export_columns = COLUMNS
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("stripe_id", "booked"),
                    ("category", "kind"),
                    ("of_what", "of_customer"),
                    ("amount_figure", "fee_figure"),
                    ("net_figure", "rate"),
                )
            },
        ),
        ("Where the credits are", {"fields": ("lots",)}),
        ("Fee in the books", {"fields": ("fees",)}),
        ("On the way to our bank", {"fields": (("availability", "of_payout"), ("description", "heard"))}),
    )
    told_in_two_ways = ("Told in two ways", {"fields": ("told_otherwise",)})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*self.fieldsets, self.told_in_two_ways) if obj and obj.told_otherwise else self.fieldsets

    def get_search_results(self, request: HttpRequest, queryset: "QuerySet[Any]", search_term: str) -> tuple["QuerySet[Any]", bool]:
        text = search_term.strip()
        return (stripe_balance.found_by(queryset, text) if text else queryset), False

    def read_along(self, rows: Sequence[Any]) -> None:
        found = stripe_balance.about(rows)
        for row in rows:
            row.about = found.get(row.pk)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            self.read_along([row])
        return row

    @admin.display(description="booked")
    def booked(self, row: BalanceTransaction) -> str:
        return moment(row.created_at)

    @admin.display(description="category")
    def category(self, row: BalanceTransaction) -> str:
        return _category(row.type, row.reporting_category, row.source)

    @admin.display(description="in Stripe's words")
    def kind(self, row: BalanceTransaction) -> str:
        return ", ".join(dict.fromkeys(word.replace("_", " ") for word in (row.type, row.reporting_category) if word))

    @admin.display(description="about")
    def of_what(self, row: BalanceTransaction) -> SafeString | str:
        return what_of(row, row.about)  # type: ignore[attr-defined]

    @admin.display(description="customer")
    def of_customer(self, row: BalanceTransaction) -> SafeString | str:
        found: About | None = row.about  # type: ignore[attr-defined]
        return customer_link(found.topup.wallet.customer if found else None)

    @admin.display(description="amount")
    def amount_figure(self, row: BalanceTransaction) -> SafeString:
        return charged(row.amount_minor, row.currency)

    @admin.display(description="Stripe's fee")
    def fee_figure(self, row: BalanceTransaction) -> SafeString:
        return charged(row.fee_minor, row.currency)

    @admin.display(description="net")
    def net_figure(self, row: BalanceTransaction) -> SafeString:
        return charged(row.net_minor, row.currency)

    @admin.display(description="exchange rate")
    def rate(self, row: BalanceTransaction) -> str:
        return "-" if row.exchange_rate is None else f"{row.exchange_rate.normalize():f}"

    @admin.display(description="payout")
    def of_payout(self, row: BalanceTransaction) -> SafeString | str:
        if row.payout:
            return link(row.payout, "billing_payout_change", row.payout_id)
        return row.payout_id_at_stripe or "not yet"

    @admin.display(description="paid out")
    def paid_out(self, row: BalanceTransaction) -> SafeString | str:
        if row.payout is None:
            return "not yet" if not row.payout_id_at_stripe else "under way"
        day = format_html('<span class="md-figure">{}</span>', timezone.localdate(row.payout.created_at).isoformat())
        return link(day, "billing_payout_change", row.payout_id)

    @admin.display(description="available")
    def availability(self, row: BalanceTransaction) -> str:
        return " since ".join(part for part in (row.status, moment(row.available_on) if row.available_on else "") if part) or "-"

    @admin.display(description="heard of")
    def heard(self, row: BalanceTransaction) -> str:
        return moment(row.received_at)

    @admin.display(description="lots")
    def lots(self, row: BalanceTransaction) -> SafeString | str:
        found: About | None = row.about  # type: ignore[attr-defined]
        if found is None:
            return "No top-up is known for it. If it should be one, the reconciliation shows it as a break."
        filled = stripe_balance.lots_of([found.topup]).get(found.topup.pk, [])
        return lot_links(filled) if filled else "Nothing was credited for the top-up."

    @admin.display(description="platform fee")
    def fees(self, row: BalanceTransaction) -> SafeString | str:
        if not row.fee_minor:
            return "Stripe took none."
        fee = PlatformFee.objects.filter(balance_transaction=row.stripe_id).select_related("payment").first()
        if fee is None:
            return "Not recorded with a payment: it belongs to none that is known here, or is recorded within minutes."
        known = (
            link(fee.kind.capitalize(), "billing_platformfee_change", fee.pk),
            link(fee.payment, "billing_payment_change", fee.payment_id),
        )
        return table(("Of the", "Payment", "Fee"), [(*known, charged(fee.amount_minor, fee.currency))], figures=(2,))


def what_of(row: BalanceTransaction, found: About | None) -> SafeString | str:
    """Link to what a movement is about; Stripe's id where nothing here is known."""
    if found is None:
        category = _category(row.type, row.reporting_category, row.source).removesuffix("s")
        if row.payout and row.payout.stripe_id == row.source:
            return format_html("{} {}", category, link(row.payout, "billing_payout_change", row.payout_id))
        return f"{category} {row.source or row.description}".strip()
    if found.refund:
        back = link("Refund", "billing_topuprefund_change", found.refund.pk)
    elif found.dispute:
        back = link("Dispute", "billing_dispute_change", found.dispute.pk)
    else:
        return topup_link(found.topup)
    return format_html("{} of {}", back, topup_link(found.topup))


def lot_links(lots: Sequence[Any]) -> SafeString:
    """Link to each lot, in one line."""
    return format_html_join(", ", "{}", ((link(lot, "billing_lot_change", lot.pk),) for lot in lots))
