"""The ledger: every movement of every credit, read-only, for people who reconcile it."""

from collections.abc import Sequence
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter

from billing.accounts import posting
from billing.admin import find
from billing.admin.filters import CustomerOfWalletFilter, ExactTextFilter
from billing.admin.words import KIND_COLOURS, InBookCurrency, charged, customer_link, record_link
from billing.models import EntryKind, LedgerEntry
from billing.queries import stripe_balance
from config.base.admin import DayRangeFilter, ExportedAdmin, ReadOnlyAdmin, badge, credits_, lines, link, moment, money, table
from config.base.exact import ZERO
from config.base.export import Column

WHAT: Final = "What it was for"
_POSTING = ("kind", "lot__kind", "credits", "value")
_KINDS = {kind.value: kind.label for kind in EntryKind}
# Of deposits: read from the fees of their payment.
FEE = Column("Platform fee", ("fee_in_books", "has_other_fees"), lambda fee, has_others: "in another currency" if has_others else fee)
VIEW_FEES = "billing.view_platformfee"
COLUMNS = (
    Column("Entry", ("pk",)),
    Column("Transaction", ("transaction_id",)),
    Column("Recorded at", ("recorded_at",)),
    Column("Occurred at", ("occurred_at",)),
    Column("Kind", ("kind",), _KINDS.get),
    Column("Customer", ("wallet__customer__external_id",)),
    Column("Customer name", ("wallet__customer__name",)),
    Column("Project", ("wallet__customer__project__key",)),
    Column("Environment", ("wallet__customer__environment",)),
    Column("Event", ("event_type__name",)),
    Column("Model", ("model",)),
    Column("Credits", ("credits",)),
    Column("Value", ("value",)),
    Column("Provider cost", ("provider_cost",)),
    FEE,
    Column("Currency", ("book_currency",)),
    Column("Debit", _POSTING, lambda kind, lot, credits, value: posting(kind, lot_kind=lot, credits=credits, value=value).debit),
    Column("Credit", _POSTING, lambda kind, lot, credits, value: posting(kind, lot_kind=lot, credits=credits, value=value).credit),
    Column("Balance after", ("balance_after",)),
    Column("Lot", ("lot_id",)),
    Column("Payment", ("payment__external_id",)),
    Column("Reverses entry", ("reverses_id",)),
    Column("By", ("actor",)),
    Column("Approved by", ("approved_by__username",)),
    Column("Reason", ("reason",)),
    Column("Request id", ("request_id",)),
    Column("Event id", ("usage_record_id",), lambda record_id: f"evt_{record_id}" if record_id else ""),
)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin, ExportedAdmin, InBookCurrency):
    list_display = ("recorded", "kind_label", "of_customer", "event", "credits_figure", "value_figure", "balance_figure", "by", "why")
    list_filter = (
        ("recorded_at", DayRangeFilter),
        ("occurred_at", DayRangeFilter),
        ("kind", ChoicesDropdownFilter),
        ("event_type", RelatedDropdownFilter),
        ("wallet__customer", CustomerOfWalletFilter),
        ("project", RelatedDropdownFilter),
        ("model", ExactTextFilter),
    )
    list_select_related = ("wallet__customer", "event_type")
    when_empty = "Each movement of credits is an entry: top-ups, grants, charges, refunds."
    search_fields = ("transaction_id",)
    search_help_text = "evt_…, transaction or request id, exactly"
    export_columns = COLUMNS
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("kind_label", "of_customer"),
                    ("credits_figure", "value_figure"),
                    ("balance_figure", "lot_link"),
                    ("recorded", "occurred"),
                )
            },
        ),
        ("Double entry", {"fields": ("journal",), "description": "The entry as a bookkeeper writes it."}),
        ("Why", {"fields": (("by", "approved_by"), ("reason", "request_id"))}),
        (WHAT, {"fields": (("event", "model"), ("request_link", "price"), ("cost", "fee"), ("payment_link", "project"))}),
        ("This transaction", {"fields": ("transaction_id", "same_transaction", "reversed_entry", "reversed_by")}),
    )

    def get_export_columns(self, request: HttpRequest) -> Sequence[Column]:
        return [column for column in COLUMNS if column is not FEE or request.user.has_perm(VIEW_FEES)]

    def for_export(self, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return stripe_balance.with_platform_fee(queryset)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show what a payment cost with its deposit, to whoever may view fees."""
        has_fee = obj is not None and obj.kind == EntryKind.DEPOSIT and request.user.has_perm(VIEW_FEES)
        costs = ("cost", "fee") if has_fee else "cost"
        what = {"fields": (("event", "model"), ("request_link", "price"), costs, ("payment_link", "project"))}
        return [(title, what if title == WHAT else options) for title, options in super().get_fieldsets(request, obj)]

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[LedgerEntry]", search_term: str
    ) -> tuple["QuerySet[LedgerEntry]", bool]:
        text = search_term.strip()
        return (find.entries(queryset, text, request=request) if text else queryset), False

    @admin.display(description="recorded")
    def recorded(self, entry: LedgerEntry) -> str:
        return moment(entry.recorded_at)

    @admin.display(description="occurred")
    def occurred(self, entry: LedgerEntry) -> str:
        return moment(entry.occurred_at)

    @admin.display(description="kind")
    def kind_label(self, entry: LedgerEntry) -> SafeString:
        return badge(entry.kind, entry.get_kind_display(), KIND_COLOURS)

    @admin.display(description="customer")
    def of_customer(self, entry: LedgerEntry) -> SafeString | str:
        return customer_link(entry.wallet.customer)

    @admin.display(description="event")
    def event(self, entry: LedgerEntry) -> str:
        return entry.event_type.name if entry.event_type else "-"

    @admin.display(description="credits")
    def credits_figure(self, entry: LedgerEntry) -> SafeString:
        return credits_(entry.credits)

    @admin.display(description="value")
    def value_figure(self, entry: LedgerEntry) -> SafeString:
        return money(entry.value, entry.book_currency)  # type: ignore[attr-defined]

    @admin.display(description="balance after")
    def balance_figure(self, entry: LedgerEntry) -> SafeString:
        return credits_(entry.balance_after)

    @admin.display(description="by")
    def by(self, entry: LedgerEntry) -> str:
        return entry.actor

    @admin.display(description="reason")
    def why(self, entry: LedgerEntry) -> str:
        return entry.reason or "-"

    @admin.display(description="lot")
    def lot_link(self, entry: LedgerEntry) -> SafeString | str:
        return link(entry.lot, "billing_lot_change", entry.lot_id)

    @admin.display(description="request")
    def request_link(self, entry: LedgerEntry) -> SafeString | str:
        return record_link(entry.usage_record_id)

    @admin.display(description="price version")
    def price(self, entry: LedgerEntry) -> SafeString | str:
        return link(entry.price_version, "pricing_priceversion_change", entry.price_version_id) if entry.price_version else "-"

    @admin.display(description="provider cost")
    def cost(self, entry: LedgerEntry) -> SafeString:
        return money(entry.provider_cost, entry.book_currency)  # type: ignore[attr-defined]

    @admin.display(description="platform fee")
    def fee(self, entry: LedgerEntry) -> SafeString | str:
        assert entry.payment is not None
        fees = stripe_balance.fees_of(entry.payment.pk)
        if not fees:
            return "None so far; Stripe tells it some minutes after a payment."
        booked = sum((fee.amount for fee in fees if fee.amount is not None), ZERO)
        others = [charged(fee.amount_minor, fee.currency) for fee in fees if fee.amount is None]
        topup = getattr(entry.payment, "topup", None)
        which = link("its fees", "billing_platformfee_changelist", query=f"q=topup_{topup.pk}") if topup else ""
        return lines([money(booked, entry.book_currency), *others, which])  # type: ignore[attr-defined]

    @admin.display(description="payment")
    def payment_link(self, entry: LedgerEntry) -> SafeString | str:
        return link(entry.payment, "billing_payment_change", entry.payment_id) if entry.payment else "-"

    @admin.display(description="posting")
    def journal(self, entry: LedgerEntry) -> SafeString:
        line = posting(entry.kind, lot_kind=entry.lot.kind, credits=entry.credits, value=entry.value)
        amount = money(line.amount, entry.book_currency)  # type: ignore[attr-defined]
        rows = ((line.debit.capitalize(), amount, ""), (line.credit.capitalize(), "", amount))
        return table(("Account", "Debit", "Credit"), rows, figures=(1, 2))

    @admin.display(description="entries of this transaction")
    def same_transaction(self, entry: LedgerEntry) -> SafeString:
        return _table(LedgerEntry.objects.filter(transaction_id=entry.transaction_id).order_by("pk"), of=entry)

    @admin.display(description="reverses")
    def reversed_entry(self, entry: LedgerEntry) -> SafeString | str:
        return _table(LedgerEntry.objects.filter(pk=entry.reverses_id), of=entry) if entry.reverses_id else "-"

    @admin.display(description="reversed by")
    def reversed_by(self, entry: LedgerEntry) -> SafeString | str:
        return _table(LedgerEntry.objects.filter(reverses=entry).order_by("pk"), of=entry)


def _table(entries: "QuerySet[LedgerEntry]", *, of: LedgerEntry) -> SafeString:
    currency = of.book_currency  # type: ignore[attr-defined]
    rows = [
        (
            f"{entry.pk} (this one)" if entry.pk == of.pk else link(entry.pk, "billing_ledgerentry_change", entry.pk),
            EntryKind(entry.kind).label,
            entry.wallet.customer,
            link(entry.lot, "billing_lot_change", entry.lot_id),
            credits_(entry.credits),
            money(entry.value, currency),
        )
        for entry in entries.select_related("wallet__customer", "lot")[:100]
    ]
    return table(("Entry", "Kind", "Customer", "Lot", "Credits", "Value"), rows, figures=(4, 5), empty="None.")
