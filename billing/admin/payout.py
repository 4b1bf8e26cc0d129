"""Payouts: what Stripe sent to our bank, and of which movements each is made, down to the lots. Read-only."""

from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import BooleanRadioFilter, DropdownFilter

from billing.admin.balance_transaction import lot_links, what_of
from billing.admin.filters import BookedCurrencyFilter
from billing.admin.words import charged, customer_link, in_major
from billing.models import Payout
from billing.queries import stripe_balance
from config.base.admin import DayRangeFilter, ExportedAdmin, ReadOnlyAdmin, badge, link, moment, table, yes_no
from config.base.export import Column

MOST: Final = 100
STATUS_COLOURS: Final = {"paid": "success", "pending": "info", "in_transit": "info", "failed": "danger", "canceled": "danger"}
COLUMNS = (
    Column("Payout", ("stripe_id",)),
    Column("Made at", ("created_at",)),
    Column("At the bank on", ("arrives_on",)),
    Column("Amount", ("amount_minor", "currency"), in_major),
    Column("Currency", ("currency",)),
    Column("Status", ("status",)),
    Column("Made by Stripe's schedule", ("is_automatic",), yes_no),
    Column("Adds up", ("is_reconciled",), yes_no),
    Column("Failure", ("failure",)),
    Column("Heard of at", ("received_at",)),
)


class StatusFilter(DropdownFilter):
    """How far a payout is, in Stripe's words."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status, status.replace("_", " ").capitalize()) for status in STATUS_COLOURS]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.filter(status=self.value()) if self.value() else queryset


@admin.register(Payout)
class PayoutAdmin(ReadOnlyAdmin, ExportedAdmin):
    list_display = ("made", "stripe_id", "amount_figure", "state", "arrives", "adds_up")
    list_filter = (
        ("created_at", DayRangeFilter),
        StatusFilter,
        ("is_reconciled", BooleanRadioFilter),
        ("is_automatic", BooleanRadioFilter),
        BookedCurrencyFilter,
    )
    when_empty = (
        "When Stripe sends money to our bank it tells so by an event. Older payouts come by Import Stripe file on the reconciliation."
    )
    keyset = ("created_at", "pk")
    search_fields = ("stripe_id__exact",)
    search_help_text = "po_…, exactly"
    export_columns = COLUMNS
    change_form_outer_after_template = "admin/billing/payout_page.html"
    fieldsets = ((None, {"fields": (("stripe_id", "state"), ("amount_figure", "adds_up"), ("made", "arrives"), ("failed", "heard"))}),)

    @admin.display(description="made")
    def made(self, payout: Payout) -> str:
        return moment(payout.created_at)

    @admin.display(description="at the bank on")
    def arrives(self, payout: Payout) -> str:
        return payout.arrives_on.isoformat()

    @admin.display(description="amount")
    def amount_figure(self, payout: Payout) -> SafeString:
        return charged(payout.amount_minor, payout.currency)

    @admin.display(description="status")
    def state(self, payout: Payout) -> SafeString:
        return badge(payout.status, payout.status.replace("_", " ").capitalize(), STATUS_COLOURS)

    @admin.display(description="adds up")
    def adds_up(self, payout: Payout) -> SafeString | str:
        if not payout.is_automatic:
            return "Made by hand: Stripe does not say of what"
        if payout.is_reconciled:
            return badge("yes", "Yes", {"yes": "success"})
        return badge("no", "Not so far", {"no": "warning"})

    @admin.display(description="failure")
    def failed(self, payout: Payout) -> str:
        return f"The bank sent it back: {payout.failure}" if payout.failure else "-"

    @admin.display(description="heard of")
    def heard(self, payout: Payout) -> str:
        return moment(payout.received_at)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        payout = self.get_object(request, object_id)
        if payout is not None and self.has_view_permission(request, payout):
            extra_context = {**(extra_context or {}), **_made_of(payout)}
        response: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
        return response


def _made_of(payout: Payout) -> dict[str, Any]:
    """Return what `admin/billing/payout_page.html` lays out."""
    every = link("All its movements, as a list", "billing_balancetransaction_changelist", query=f"payout__id__exact={payout.pk}")
    became = link("What became of the credits", "reports_reconciliation_payout", payout.pk)
    return {"sums": _sums(payout), "movements": _movements(payout), "most": MOST, "further": (every, became)}


def _sums(payout: Payout) -> SafeString | str:
    parts = list(_parts(payout).values_list("amount_minor", "fee_minor", "net_minor"))
    if not parts:
        return ""
    gross, fees, net = (sum(column) for column in zip(*parts, strict=True))
    row = [charged(minor, payout.currency) for minor in (gross, fees, net, payout.amount_minor - net)]
    headings = ("Movements", "Amounts", "Stripe's fees", "Net", "Of the payout not explained")
    return table(headings, [(f"{len(parts):,}", *row)], figures=(1, 2, 3, 4), stacks=True)


def _movements(payout: Payout) -> SafeString:
    rows = list(_parts(payout).select_related("payout").order_by("-created_at", "-pk")[:MOST])
    found = stripe_balance.about(rows)
    lots = stripe_balance.lots_of({one.topup.pk: one.topup for one in found.values()}.values())
    cells = [
        (
            link(row.stripe_id, "billing_balancetransaction_change", row.pk),
            what_of(row, found.get(row.pk)),
            customer_link(found[row.pk].topup.wallet.customer) if row.pk in found else "-",
            lot_links(lots.get(found[row.pk].topup.pk, [])) if row.pk in found else "-",
            charged(row.amount_minor, row.currency),
            charged(row.fee_minor, row.currency),
            charged(row.net_minor, row.currency),
        )
        for row in rows
    ]
    empty = (
        "They are not here so far. Stripe is asked for them every ten minutes."
        if payout.is_automatic
        else "A person made this payout, and Stripe does not say of which movements."
    )
    headings = ("Movement", "About", "Customer", "Lots", "Amount", "Fee", "Net")
    return table(headings, cells, figures=(4, 5, 6), empty=empty, stacks=True)


def _parts(payout: Payout) -> "QuerySet[Any]":
    """Return the movements that a payout took along; its own is none of them."""
    return payout.transactions.exclude(source=payout.stripe_id)
