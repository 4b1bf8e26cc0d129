"""Platform fees: what Stripe took for each payment, refund and dispute. Read-only."""

from collections.abc import Sequence
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter

from billing.admin.filters import BookedCurrencyFilter, CustomerOfPaymentFilter
from billing.admin.money_back_view import topup_link
from billing.admin.words import InBookCurrency, charged, customer_link, in_major
from billing.models import BalanceTransaction, PlatformFee
from billing.queries import stripe_balance
from config.base.admin import DayRangeFilter, ExportedAdmin, ReadOnlyAdmin, link, moment, money
from config.base.export import Column

_KINDS: Final = {"payment": "Payment", "refund": "Refund", "dispute": "Dispute"}
COLUMNS = (
    Column("Taken at", ("happened_at",)),
    Column("Balance transaction", ("balance_transaction",)),
    Column("Of", ("kind",), lambda kind: _KINDS.get(kind, kind)),
    Column("Customer", ("payment__wallet__customer__external_id",)),
    Column("Customer name", ("payment__wallet__customer__name",)),
    Column("Top-up", ("payment__topup__pk",), lambda number: f"topup_{number}" if number else ""),
    Column("Payment", ("payment__external_id",)),
    Column("Fee", ("amount_minor", "currency"), in_major),
    Column("Currency", ("currency",)),
    Column("In the books", ("amount",)),
    Column("Book currency", ("book_currency",)),
    Column("Recorded at", ("recorded_at",)),
)


class KindFilter(DropdownFilter):
    """What the fee was taken for."""

    title = "of a"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(_KINDS.items())

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.filter(kind=self.value()) if self.value() else queryset


@admin.register(PlatformFee)
class PlatformFeeAdmin(ReadOnlyAdmin, ExportedAdmin, InBookCurrency):
    list_display = ("taken", "kind_label", "of_topup", "of_customer", "fee_figure", "books_figure", "movement")
    list_filter = (
        ("happened_at", DayRangeFilter),
        KindFilter,
        BookedCurrencyFilter,
        ("payment__wallet__customer", CustomerOfPaymentFilter),
    )
    list_select_related = ("payment__wallet__customer", "payment__topup")
    when_empty = "Stripe tells its fee some minutes after a payment. It is recorded with the payment that it was taken for."
    keyset = ("happened_at", "pk")
    search_fields = ("balance_transaction__exact",)
    search_help_text = "txn_…, pi_…, ch_…, re_…, dp_… or topup_…, exactly"
    export_columns = COLUMNS
    fieldsets = (
        (
            None,
            {"fields": (("kind_label", "taken"), ("fee_figure", "books_figure"), ("of_topup", "of_customer"), ("of_payment", "movement"))},
        ),
        ("Heard of", {"fields": ("recorded",)}),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.select_related(*self.list_select_related)

    def get_search_results(self, request: HttpRequest, queryset: "QuerySet[Any]", search_term: str) -> tuple["QuerySet[Any]", bool]:
        text = search_term.strip()
        return (stripe_balance.fees_found_by(queryset, text) if text else queryset), False

    def read_along(self, rows: Sequence[Any]) -> None:
        names = {row.balance_transaction for row in rows}
        found = dict(BalanceTransaction.objects.filter(stripe_id__in=names).values_list("stripe_id", "pk"))
        for row in rows:
            row.movement_id = found.get(row.balance_transaction)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            self.read_along([row])
        return row

    @admin.display(description="taken")
    def taken(self, fee: PlatformFee) -> str:
        return moment(fee.happened_at)

    @admin.display(description="of a")
    def kind_label(self, fee: PlatformFee) -> str:
        return _KINDS.get(fee.kind, fee.kind)

    @admin.display(description="top-up")
    def of_topup(self, fee: PlatformFee) -> SafeString | str:
        topup = getattr(fee.payment, "topup", None)
        return topup_link(topup) if topup else "-"

    @admin.display(description="customer")
    def of_customer(self, fee: PlatformFee) -> SafeString | str:
        return customer_link(fee.payment.wallet.customer)

    @admin.display(description="payment")
    def of_payment(self, fee: PlatformFee) -> SafeString | str:
        return link(fee.payment, "billing_payment_change", fee.payment_id)

    @admin.display(description="fee")
    def fee_figure(self, fee: PlatformFee) -> SafeString:
        return charged(fee.amount_minor, fee.currency)

    @admin.display(description="in the books")
    def books_figure(self, fee: Any) -> SafeString | str:
        return "not booked: another currency" if fee.amount is None else money(fee.amount, fee.book_currency)

    @admin.display(description="balance transaction")
    def movement(self, fee: Any) -> SafeString | str:
        if fee.movement_id is None:
            return str(fee.balance_transaction)
        return link(fee.balance_transaction, "billing_balancetransaction_change", fee.movement_id)

    @admin.display(description="recorded")
    def recorded(self, fee: PlatformFee) -> str:
        return moment(fee.recorded_at)
