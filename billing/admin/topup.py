"""Top-ups: orders for credits, and what came of each: session, payment, lots, refunds, disputes, fees. Read-only."""

from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter, DropdownFilter, RelatedDropdownFilter
from unfold.enums import ActionVariant

from billing import minor_units
from billing.admin import topup_beside, topup_chain, topup_decisions
from billing.admin.filters import CustomerOfWalletFilter
from billing.admin.money_back_view import badges_since, since_paid, with_money_back
from billing.admin.refund_dialogs import APPROVE, PERMISSION, RefundTopUpDialog, refund_topup
from billing.admin.topup_decisions import CANCEL, VIEW, CancelDialog, CreditDialog, DecideCreditDialog, SendBackDialog
from billing.admin.words import TOPUP_COLOURS, InBookCurrency, actor, charged, customer_link
from billing.models import PackPrice, TopUp, TopUpChannel, TopUpStatus
from billing.queries import lookup, unapplied
from billing.services import topup_orders
from config.base.admin import (
    DayRangeFilter,
    ExportedAdmin,
    Led,
    ReadOnlyAdmin,
    badge,
    credits_,
    dialog,
    lines,
    link,
    moment,
    money,
    yes_no,
)
from config.base.export import Column
from pricing.queries import workspace

_STATUSES = {status.value: status.label for status in TopUpStatus}
_CHANNELS = {channel.value: channel.label for channel in TopUpChannel}
COLUMNS = (
    Column("Top-up", ("pk",), lambda number: f"topup_{number}"),
    Column("Ordered at", ("created_at",)),
    Column("Customer", ("wallet__customer__external_id",)),
    Column("Customer name", ("wallet__customer__name",)),
    Column("Project", ("project__key",)),
    Column("Environment", ("environment",)),
    Column("Pack", ("pack__key",)),
    Column("Credits", ("credits",)),
    Column("Bonus credits", ("bonus_credits",)),
    Column("Amount", ("amount_minor", "currency"), minor_units.to_major),
    Column("Currency", ("currency",)),
    Column("Worth in the books", ("book_value",)),
    Column("Book currency", ("book_currency",)),
    Column("Status", ("status",), _STATUSES.get),
    Column("Paid at", ("paid_at",)),
    Column("Channel", ("channel",), _CHANNELS.get),
    Column("Mode", ("is_live",), lambda is_live: "Live" if is_live else "Test mode"),
    Column("Checkout session", ("checkout_session",)),
    Column("Payment intent", ("payment_intent",)),
    Column("Charge", ("charge",)),
    Column("Failure", ("failure",)),
    Column("Fraud warning", ("is_suspicious",), yes_no),
    Column("By", ("actor",)),
    Column("Reason", ("reason",)),
    Column("Request id", ("request_id",)),
)


class CurrencyFilter(DropdownFilter):
    """Rows in one of the currencies that packs are sold in, or in that of the books."""

    title = "currency"
    parameter_name = "currency"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        sold = set(PackPrice.objects.values_list("currency", flat=True).distinct()) | {workspace.load().currency}
        return [(currency, currency) for currency in sorted(sold)]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.filter(currency=self.value()) if self.value() else queryset


class DecisionFilter(DropdownFilter):
    """Top-ups beside which money came in that nobody has decided about."""

    title = "money beside the order"
    parameter_name = "beside"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waits", "Waits for a decision")]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.filter(pk__in=unapplied.waiting().values("topup")) if self.value() == "waits" else queryset


@admin.register(TopUp)
class TopUpAdmin(ReadOnlyAdmin, ExportedAdmin, InBookCurrency):
    list_display = ("ordered", "of_customer", "what", "credits_figure", "amount_figure", "state", "channel_label", "mode")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("created_at", DayRangeFilter),
        ("channel", ChoicesDropdownFilter),
        CurrencyFilter,
        ("pack", RelatedDropdownFilter),
        ("wallet__customer", CustomerOfWalletFilter),
        ("is_live", BooleanRadioFilter),
        ("is_suspicious", BooleanRadioFilter),
        DecisionFilter,
    )
    list_select_related = ("wallet__customer", "pack")
    when_empty = "Apps sell credits by POST /topups; on a customer's page there is a link to copy."
    search_fields = ("id",)
    search_help_text = "topup_…, cs_…, pi_…, ch_…, re_… or dp_…, exactly"
    export_columns = COLUMNS
    change_form_outer_after_template = "admin/billing/topup_page.html"
    actions_detail = ("refund", "send_back", "credit", "approve_credit", "reject_credit", "withdraw_credit", "close", "cancel")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("topup", "state"),
                    ("of_customer", "what"),
                    ("credits_figure", "bonus_figure"),
                    ("amount_figure", "worth"),
                    ("channel_label", "mode"),
                    ("ordered", "paid"),
                )
            },
        ),
        ("What came of it", {"fields": ("outcome",)}),
        ("Terms", {"fields": (("lasts", "bonus_lasts"), ("link_ends", "suspicious"))}),
        ("Why", {"fields": (("by", "reason"), ("project", "request_id"))}),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        rows: QuerySet[Any] = super().get_queryset(request)
        return with_money_back(rows.select_related("wallet__customer", "pack"))

    def get_search_results(self, request: HttpRequest, queryset: "QuerySet[Any]", search_term: str) -> tuple["QuerySet[Any]", bool]:
        text = search_term.strip()
        if not text:
            return queryset, False
        found = lookup.topup(f"topup_{text}" if text.isdecimal() else text)
        return (queryset.filter(pk=found.pk) if found else queryset.none()), False

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer what would not be refused."""
        topup = self.get_object(request, str(object_id))
        offered = topup_decisions.offered(request, topup) if topup is not None else set()
        return [found for found in super().get_actions_detail(request, object_id) if found.path in offered]

    @dialog(
        "Refund",
        form=RefundTopUpDialog,
        permission=PERMISSION,
        submit="Refund",
        description="Pays the buyer back through Stripe, and takes the credits out of the wallet.",
        icon="currency_exchange",
    )
    def refund(self, request: HttpRequest, form: RefundTopUpDialog, topup: TopUp) -> Led:
        return refund_topup(request, form, topup, now=timezone.now())

    @dialog(
        "Send the money back",
        form=SendBackDialog,
        permission=PERMISSION,
        submit="Send back",
        description="Pays back through Stripe what came in beside the order and was not credited.",
        icon="undo",
    )
    def send_back(self, request: HttpRequest, form: SendBackDialog, topup: TopUp) -> Led:
        return topup_decisions.send_back(request, form, now=timezone.now())

    @dialog(
        "Credit what was paid",
        form=CreditDialog,
        permission=PERMISSION,
        submit="Credit",
        description="Keeps the money, and gives credits for it in proportion to the order.",
        icon="add_card",
    )
    def credit(self, request: HttpRequest, form: CreditDialog, topup: TopUp) -> str:
        return topup_decisions.credit(request, form, topup)

    @dialog(
        "Approve the credit",
        form=DecideCreditDialog,
        permission=APPROVE,
        submit="Approve",
        description="The credits are deposited at once, in the name of whoever asked.",
        icon="check",
        variant=ActionVariant.PRIMARY,
    )
    def approve_credit(self, request: HttpRequest, form: DecideCreditDialog, topup: TopUp) -> str:
        return topup_decisions.decide(request, form, topup, is_approved=True)

    @dialog(
        "Reject the credit",
        form=DecideCreditDialog,
        permission=APPROVE,
        submit="Reject",
        description="Nothing moves. The payment waits for a decision again.",
        icon="close",
        variant=ActionVariant.DANGER,
    )
    def reject_credit(self, request: HttpRequest, form: DecideCreditDialog, topup: TopUp) -> str:
        return topup_decisions.decide(request, form, topup, is_approved=False)

    @dialog(
        "Withdraw the request",
        form=DecideCreditDialog,
        permission=VIEW,  # whoever asked may always take it back, whatever else they may do by now
        submit="Withdraw",
        description="You take back what you asked for. Nothing moves.",
        icon="undo",
    )
    def withdraw_credit(self, request: HttpRequest, form: DecideCreditDialog, topup: TopUp) -> str:
        return topup_decisions.withdraw(request, form, topup)

    @dialog(
        "Close",
        form=DecideCreditDialog,
        permission=PERMISSION,
        submit="Close",
        description="Stripe names no payment, so there is nothing to send back. The order ends.",
        icon="close",
    )
    def close(self, request: HttpRequest, form: DecideCreditDialog, topup: TopUp) -> str:
        return topup_decisions.close(request, form, topup)

    @dialog(
        "Cancel the order",
        form=CancelDialog,
        permission=CANCEL,
        submit="Cancel the order",
        description="Ends the link at Stripe, so that nobody can pay it any more.",
        icon="link_off",
        variant=ActionVariant.DANGER,
    )
    def cancel(self, request: HttpRequest, form: CancelDialog, topup: TopUp) -> str:
        done = topup_orders.cancel(topup_id=topup.pk, reason=form.cleaned_data["reason"], actor=actor(request), now=timezone.now())
        return f"{done} is cancelled: its link can not be paid any more."

    @admin.display(description="ordered")
    def ordered(self, topup: TopUp) -> str:
        return moment(topup.created_at)

    @admin.display(description="top-up")
    def topup(self, topup: TopUp) -> str:
        return f"topup_{topup.pk}"

    @admin.display(description="customer")
    def of_customer(self, topup: TopUp) -> SafeString | str:
        return customer_link(topup.wallet.customer)

    @admin.display(description="pack")
    def what(self, topup: TopUp) -> SafeString | str:
        return link(topup.pack, "billing_creditpack_change", topup.pack_id) if topup.pack else "An amount"

    @admin.display(description="credits")
    def credits_figure(self, topup: TopUp) -> SafeString:
        return credits_(topup.credits)

    @admin.display(description="bonus")
    def bonus_figure(self, topup: TopUp) -> SafeString:
        return credits_(topup.bonus_credits)

    @admin.display(description="amount")
    def amount_figure(self, topup: TopUp) -> SafeString:
        return charged(topup.amount_minor, topup.currency)

    @admin.display(description="worth in the books")
    def worth(self, topup: Any) -> SafeString:
        return money(topup.book_value, topup.book_currency)

    @admin.display(description="status")
    def state(self, topup: TopUp) -> SafeString:
        return lines([badge(topup.status, topup.get_status_display(), TOPUP_COLOURS), *badges_since(topup)])

    @admin.display(description="channel")
    def channel_label(self, topup: TopUp) -> str:
        return topup.get_channel_display()

    @admin.display(description="mode")
    def mode(self, topup: TopUp) -> SafeString | str:
        return "Live" if topup.is_live else badge("test", "Test mode", {"test": "warning"})

    @admin.display(description="paid")
    def paid(self, topup: TopUp) -> str:
        return moment(topup.paid_at)

    @admin.display(description="bought credits last")
    def lasts(self, topup: TopUp) -> str:
        return _days(topup.expires_after_days)

    @admin.display(description="bonus lasts")
    def bonus_lasts(self, topup: TopUp) -> str:
        return _days(topup.bonus_expires_after_days) if topup.bonus_credits else "-"

    @admin.display(description="link ends")
    def link_ends(self, topup: TopUp) -> str:
        return moment(topup.expires_at)

    @admin.display(description="early fraud warning")
    def suspicious(self, topup: TopUp) -> SafeString | str:
        return badge("yes", "Yes", {"yes": "danger"}) if topup.is_suspicious else "No"

    @admin.display(description="by")
    def by(self, topup: TopUp) -> str:
        return topup.actor

    @admin.display(description="in words")
    def outcome(self, topup: TopUp) -> str:
        words = (_OUTCOMES[TopUpStatus(topup.status)], topup.failure, *since_paid(topup))
        return " ".join(word for word in words if word)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        topup = self.get_object(request, object_id)
        if topup is not None and self.has_view_permission(request, topup):
            extra_context = {**(extra_context or {}), **topup_chain.context(request, topup), "outside": topup_beside.outside(topup)}
        response: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
        return response


_OUTCOMES: Final = {
    TopUpStatus.NEW: "Stripe has not answered yet; it is asked again every few minutes.",
    TopUpStatus.OPEN: "The buyer has the link and has not paid.",
    TopUpStatus.PROCESSING: "The buyer is done, the bank takes its time. That may be days.",
    TopUpStatus.PAID: "Paid and deposited.",
    TopUpStatus.FAILED: "Nothing was paid. Money that arrives after all is deposited.",
    TopUpStatus.EXPIRED: "The link has ended unpaid. Money that arrives after all is deposited.",
    TopUpStatus.MISMATCH: "Not deposited: decide whether the money goes back, or credits are given for it.",
    TopUpStatus.RETURNED: "What was paid otherwise went back to the buyer; no credits were given.",
}


def _days(days: int | None) -> str:
    return f"{days} days from the payment on" if days else "for ever"
