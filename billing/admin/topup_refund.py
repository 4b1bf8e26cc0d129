"""Refunds of top-ups: who asked, who decided, what Stripe said, and which credits went and came back."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter

from billing.admin.filters import CustomerOfTopUpFilter
from billing.admin.money_back_view import at_stripe, chain, topup_link
from billing.admin.refund_dialogs import APPROVE, PERMISSION, preview_context, sent
from billing.admin.second_person import DecidedByASecondPerson, DecideDialog, approving, rejecting, withdrawing
from billing.admin.words import REFUND_COLOURS, charged, customer_link, person
from billing.models import RefundState, TopUpRefund
from billing.services import stripe_gateway, topup_refunds
from config.base.admin import DayRangeFilter, Dialog, KeysetAdmin, ReadOnlyAdmin, badge, credits_, dialog, moment

_VIEW = "billing.view_topuprefund"


class SendAgainDialog(Dialog):
    pass


@admin.register(TopUpRefund)
class TopUpRefundAdmin(ReadOnlyAdmin, DecidedByASecondPerson, KeysetAdmin):
    waiting_state = RefundState.REQUESTED
    list_display = ("asked", "of_topup", "of_customer", "amount_figure", "credits_figure", "status", "author", "decider")
    list_filter = (
        ("state", ChoicesDropdownFilter),
        ("created_at", DayRangeFilter),
        ("topup__wallet__customer", CustomerOfTopUpFilter),
        ("requested_by", RelatedDropdownFilter),
        ("decided_by", RelatedDropdownFilter),
    )
    list_select_related = ("topup__wallet__customer", "unapplied", "requested_by", "decided_by")
    when_empty = "A top-up is refunded by the button on its page. What is refunded in Stripe's dashboard comes here by itself."
    search_fields = ("stripe_id__exact",)
    search_help_text = "re_…, exactly"
    actions_detail = ("approve", "reject", "withdraw", "send_again")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[TopUpRefund]":
        rows: QuerySet[TopUpRefund] = super().get_queryset(request)
        return rows.select_related(*self.list_select_related)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        facts = (("of_topup", "status"), ("of_customer", "at_stripe"), ("amount_figure", "credits_figure"), "why", "outcome")
        waits = obj is not None and obj.state == RefundState.REQUESTED
        effect = ("If it is approved now", {"fields": ("effect",)}) if waits else ("In the ledger", {"fields": ("entries",)})
        who = ("Who", {"fields": (("author", "asked"), ("decider", "changed"), "decision_why")})
        return [(None, {"fields": facts}), effect, who]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = ("of_topup", "status", "of_customer", "at_stripe", "amount_figure", "credits_figure", "why", "outcome", "effect", "entries")
        return (*shown, "author", "asked", "decider", "changed", "decision_why")

    def offered(self, row: TopUpRefund, user_id: int | None) -> set[str]:
        """Offer sending again to what has not arrived at Stripe, and no approval of what was overtaken."""
        if row.state == RefundState.APPROVED:
            return {"send_again"}
        offered = super().offered(row, user_id)
        return offered - {"approve"} if "approve" in offered and topup_refunds.overtaken(row) else offered

    @approving(permission=APPROVE, description="It is sent to Stripe at once: the money goes back, and the credits leave the wallet.")
    def approve(self, request: HttpRequest, form: DecideDialog, row: TopUpRefund) -> str:
        gateway, now = stripe_gateway.gateway(), timezone.now()
        reason = form.cleaned_data["reason"]
        approved = topup_refunds.decide(refund_id=row.pk, is_approved=True, reason=reason, decided_by=person(request), now=now)
        return f"The refund is approved. {sent(approved, gateway, now=now)}"

    @rejecting(permission=APPROVE, description="No money goes back and no credits move. The request stays in the list with your reason.")
    def reject(self, request: HttpRequest, form: DecideDialog, row: TopUpRefund) -> str:
        reason = form.cleaned_data["reason"]
        topup_refunds.decide(refund_id=row.pk, is_approved=False, reason=reason, decided_by=person(request), now=timezone.now())
        return "The refund is rejected: nothing has moved."

    @withdrawing(permission=_VIEW, description="You take back what you asked for. No money goes back.")
    def withdraw(self, request: HttpRequest, form: DecideDialog, row: TopUpRefund) -> str:
        topup_refunds.withdraw(refund_id=row.pk, reason=form.cleaned_data["reason"], by=person(request), now=timezone.now())
        return "The request is withdrawn: nothing has moved."

    @dialog(
        "Send again",
        form=SendAgainDialog,
        permission=PERMISSION,
        submit="Send",
        description="Stripe is asked now instead of within a minute. A refund that had arrived there is found, not made again.",
        icon="send",
    )
    def send_again(self, request: HttpRequest, form: SendAgainDialog, row: TopUpRefund) -> str:
        return sent(row, stripe_gateway.gateway(), now=timezone.now())

    @admin.display(description="asked")
    def asked(self, row: TopUpRefund) -> str:
        return moment(row.created_at)

    @admin.display(description="top-up")
    def of_topup(self, row: TopUpRefund) -> SafeString:
        return topup_link(row.topup)

    @admin.display(description="customer")
    def of_customer(self, row: TopUpRefund) -> SafeString | str:
        return customer_link(row.topup.wallet.customer)

    @admin.display(description="amount")
    def amount_figure(self, row: TopUpRefund) -> SafeString:
        return charged(row.amount_minor, row.currency)

    @admin.display(description="credits withdrawn")
    def credits_figure(self, row: TopUpRefund) -> SafeString:
        return credits_(row.credits)

    @admin.display(description="status")
    def status(self, row: TopUpRefund) -> SafeString:
        return badge(row.state, row.get_state_display(), REFUND_COLOURS)

    @admin.display(description="at Stripe")
    def at_stripe(self, row: TopUpRefund) -> SafeString | str:
        return at_stripe(row.topup, f"payments/{row.payment_intent}", row.stripe_id) if row.stripe_id else "-"

    @admin.display(description="reason")
    def why(self, row: TopUpRefund) -> str:
        return row.reason or "-"

    @admin.display(description="in words")
    def outcome(self, row: TopUpRefund) -> str:
        return f"{_OUTCOMES[RefundState(row.state)]} {row.failure}".strip()

    @admin.display(description="effect")
    def effect(self, row: TopUpRefund) -> SafeString | str:
        if row.unapplied:
            return format_html("{} goes back, which was not credited: no credits move.", charged(row.amount_minor, row.currency))
        if why := topup_refunds.overtaken(row):
            return f"It cannot be approved. {why}"
        return SafeString(render_to_string("admin/billing/refund_effect.html", preview_context(row.topup, row.amount_minor)))

    @admin.display(description="entries")
    def entries(self, row: TopUpRefund) -> SafeString:
        return chain(withdrawals=row.withdrawals, empty="No credits have moved.")

    @admin.display(description="asked by")
    def author(self, row: TopUpRefund) -> str:
        return str(row.requested_by or "somebody at Stripe")

    @admin.display(description="decided by")
    def decider(self, row: TopUpRefund) -> str:
        return str(row.decided_by or "-")

    @admin.display(description="last change")
    def changed(self, row: TopUpRefund) -> str:
        return moment(row.changed_at)

    @admin.display(description="decision")
    def decision_why(self, row: TopUpRefund) -> str:
        if row.decision_reason or row.needs_approval:
            return row.decision_reason or "-"
        return "Nobody else had to decide: it is within one person's limit." if row.requested_by_id else "Made in Stripe's dashboard."


_OUTCOMES = {
    RefundState.REQUESTED: "It waits for a second person.",
    RefundState.APPROVED: "It goes to Stripe.",
    RefundState.PENDING: "Stripe is paying it back; that may take days. The credits have left the wallet.",
    RefundState.SUCCEEDED: "Stripe has paid it back.",
    RefundState.FAILED: "It did not go through, and what it had withdrawn is back. The reason:",
    RefundState.REJECTED: "Nothing has moved.",
}
