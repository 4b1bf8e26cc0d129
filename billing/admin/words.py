"""What billing's pages share: who acts, links between records, and the words and colours of states."""

from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet, Value
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.models import Customer, EntryKind, HoldStatus, JobStatus, LotKind, WalletStatus
from config.base.admin import BaseAdmin, link
from pricing.queries import workspace

KIND_COLOURS = {
    EntryKind.DEPOSIT: "success",
    EntryKind.GRANT: "info",
    EntryKind.REFUND: "info",
    EntryKind.ADJUSTMENT: "warning",
    EntryKind.EXPIRY: "warning",
    EntryKind.WITHDRAWAL: "danger",
    EntryKind.CHARGE: "default",
    EntryKind.TRANSFER: "default",
}
WALLET_COLOURS = {WalletStatus.ACTIVE: "success", WalletStatus.FROZEN: "danger", "low": "warning"}
LOT_COLOURS = {LotKind.PAID: "success", LotKind.PROMOTIONAL: "info", LotKind.OVERDRAFT: "danger"}
HOLD_COLOURS = {HoldStatus.OPEN: "warning", HoldStatus.CAPTURED: "success", HoldStatus.RELEASED: "default", HoldStatus.EXPIRED: "default"}
JOB_COLOURS = {
    JobStatus.QUEUED: "default",
    JobStatus.RUNNING: "info",
    JobStatus.SUCCEEDED: "success",
    JobStatus.FAILED: "danger",
    JobStatus.CANCELLED: "warning",
}


class InBookCurrency(BaseAdmin):
    """Rows that know the currency of the books, read once for the page."""

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        rows: QuerySet[Any] = super().get_queryset(request).annotate(book_currency=Value(workspace.load().currency))
        return rows


def actor(request: HttpRequest) -> str:
    """Name the person as ledger entries do."""
    return f"user:{request.user.get_username()}"[:80]


def customer_link(customer: Customer | None) -> SafeString | str:
    """Link to the page of a customer."""
    return link(customer, "billing_customer_change", customer.pk) if customer else "-"


def record_link(record_id: int | None) -> SafeString | str:
    """Link to the request behind something."""
    return link(f"evt_{record_id}", "billing_usagerecord_change", record_id) if record_id else "-"


def ledger_of(customer_id: int, text: str = "All entries in the ledger") -> SafeString:
    """Link to the ledger of one customer."""
    return link(text, "billing_ledgerentry_changelist", query=f"wallet__customer__id__exact={customer_id}")


def ask_for_a_second_person(credits: Decimal) -> None:
    """Refuse more credits by hand than one person may move. Raises ValidationError."""
    limit = workspace.load().approval_limit_credits
    if abs(credits) > limit:
        raise ValidationError(
            f"One person may move up to {limit.normalize():,f} credits by hand; this is {abs(credits).normalize():,f}. "
            "Ask for a second person's approval, or have the limit in the workspace settings changed."
        )
