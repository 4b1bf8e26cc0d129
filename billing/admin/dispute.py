"""Disputes: what banks took back, until when evidence is asked for, and which credits went and came back. Read-only."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.timesince import timeuntil
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from billing.admin.filters import CustomerOfTopUpFilter
from billing.admin.money_back_view import at_stripe, chain, topup_link
from billing.admin.words import DISPUTE_COLOURS, WALLET_COLOURS, charged, customer_link
from billing.models import Dispute, DisputeState, WalletStatus
from billing.queries import money_back
from config.base.admin import DayRangeFilter, KeysetAdmin, ReadOnlyAdmin, badge, credits_, lines, moment, table
from config.base.admin.show import EMPTY

_ASKS = ("needs_response", "warning_needs_response", "appeal_needs_response")


@admin.register(Dispute)
class DisputeAdmin(ReadOnlyAdmin, KeysetAdmin):
    list_display = ("opened", "of_topup", "of_customer", "amount_figure", "credits_figure", "status", "evidence", "wallet_status")
    list_filter = (
        ("state", ChoicesDropdownFilter),
        ("opened_at", DayRangeFilter),
        ("topup__wallet__customer", CustomerOfTopUpFilter),
    )
    list_select_related = ("topup__wallet__customer",)
    when_empty = "When a buyer's bank takes a payment back, or asks about it, it stands here."
    search_fields = ("stripe_id__exact",)
    search_help_text = "dp_…, exactly"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("of_topup", "status"),
                    ("of_customer", "wallet_status"),
                    ("amount_figure", "credits_figure"),
                    ("why", "evidence"),
                    "outcome",
                )
            },
        ),
        ("In the ledger", {"fields": ("entries",)}),
        ("Fees", {"fields": ("fees",)}),
        ("At Stripe", {"fields": (("dashboard", "stripe_status"), ("opened", "changed"))}),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Dispute]":
        rows: QuerySet[Dispute] = super().get_queryset(request)
        return rows.select_related(*self.list_select_related)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        sees_fees = request.user.has_perm("billing.view_platformfee")
        return [part for part in super().get_fieldsets(request, obj) if sees_fees or part[0] != "Fees"]

    @admin.display(description="opened")
    def opened(self, dispute: Dispute) -> str:
        return moment(dispute.opened_at)

    @admin.display(description="top-up")
    def of_topup(self, dispute: Dispute) -> SafeString:
        return topup_link(dispute.topup)

    @admin.display(description="customer")
    def of_customer(self, dispute: Dispute) -> SafeString | str:
        return customer_link(dispute.topup.wallet.customer)

    @admin.display(description="amount")
    def amount_figure(self, dispute: Dispute) -> SafeString:
        return charged(dispute.amount_minor, dispute.currency)

    @admin.display(description="credits withdrawn")
    def credits_figure(self, dispute: Dispute) -> SafeString:
        return credits_(dispute.credits)

    @admin.display(description="status")
    def status(self, dispute: Dispute) -> SafeString:
        return badge(dispute.state, dispute.get_state_display(), DISPUTE_COLOURS)

    @admin.display(description="evidence due")
    def evidence(self, dispute: Dispute) -> SafeString | str:
        """Count down to the date until which Stripe takes evidence."""
        if dispute.state in money_back.OVER or dispute.evidence_due_at is None:
            return EMPTY
        if dispute.stripe_status not in _ASKS:
            return "sent in"
        now = timezone.now()
        if dispute.evidence_due_at <= now:
            return badge("late", f"was due {moment(dispute.evidence_due_at)}", {"late": "danger"})
        return lines([f"in {timeuntil(dispute.evidence_due_at, now, depth=1)}", moment(dispute.evidence_due_at)])

    @admin.display(description="wallet")
    def wallet_status(self, dispute: Dispute) -> SafeString:
        wallet = dispute.topup.wallet
        words = wallet.get_status_display()
        return badge(wallet.status, f"{words} by this dispute" if self._froze(dispute) else words, WALLET_COLOURS)

    def _froze(self, dispute: Dispute) -> bool:
        return dispute.has_frozen and dispute.topup.wallet.status == WalletStatus.FROZEN

    @admin.display(description="reason")
    def why(self, dispute: Dispute) -> str:
        return dispute.reason.replace("_", " ").capitalize() or EMPTY

    @admin.display(description="in words")
    def outcome(self, dispute: Dispute) -> str:
        return _OUTCOMES[DisputeState(dispute.state)]

    @admin.display(description="entries")
    def entries(self, dispute: Dispute) -> SafeString:
        return chain(withdrawals=dispute.withdrawals, empty="No credits have moved.")

    @admin.display(description="fees")
    def fees(self, dispute: Dispute) -> SafeString:
        payment = dispute.topup.payment
        found = payment.fees.filter(kind="dispute").order_by("pk") if payment else ()
        rows: list[tuple[Any, ...]] = [
            (moment(fee.happened_at), fee.balance_transaction, charged(fee.amount_minor, fee.currency)) for fee in found
        ]
        return table(("When", "Balance transaction", "Fee"), rows, figures=(2,), empty="None so far.")

    @admin.display(description="evidence is sent in here")
    def dashboard(self, dispute: Dispute) -> SafeString:
        return at_stripe(dispute.topup, f"disputes/{dispute.stripe_id}", dispute.stripe_id)

    @admin.display(description="last change")
    def changed(self, dispute: Dispute) -> str:
        return moment(dispute.changed_at)


_OUTCOMES = {
    DisputeState.WARNING: "The bank asks. No money has moved; an answer in time may keep it so.",
    DisputeState.OPEN: "The bank has taken the money, and the credits left the wallet with it, until it decides.",
    DisputeState.WON: "The money is back, and the credits with it.",
    DisputeState.LOST: "The money stays with the buyer, and the credits stay withdrawn.",
    DisputeState.CLOSED: "It came to nothing: no money was lost.",
}
