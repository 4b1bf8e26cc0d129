"""What billing's pages share: who acts, links between records, and the words and colours of states."""

from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet, Value
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing import minor_units
from billing.budgeting import State
from billing.models import (
    AutoTopUpState,
    Customer,
    DisputeState,
    EntryKind,
    HoldStatus,
    JobStatus,
    LotKind,
    MovementRequest,
    RefundState,
    RequestState,
    TopUpStatus,
    UnappliedState,
    Wallet,
    WalletStatus,
)
from billing.queries import by_hand
from billing.queries.budget_exceptions import Standing as ExceptionStanding
from billing.services.journal import Posted
from config.base.admin import BaseAdmin, link
from config.base.exact import grouped
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
AUTO_TOPUP_COLOURS = {
    AutoTopUpState.WAITING: "info",
    AutoTopUpState.ACTIVE: "success",
    AutoTopUpState.BACKING_OFF: "warning",
    AutoTopUpState.STOPPED: "danger",
    AutoTopUpState.OFF: "default",
}
HOLD_COLOURS = {HoldStatus.OPEN: "warning", HoldStatus.CAPTURED: "success", HoldStatus.RELEASED: "default", HoldStatus.EXPIRED: "default"}
REQUEST_COLOURS = {
    RequestState.REQUESTED: "warning",
    RequestState.APPROVED: "success",
    RequestState.REJECTED: "danger",
    RequestState.WITHDRAWN: "default",
}
JOB_COLOURS = {
    JobStatus.QUEUED: "default",
    JobStatus.RUNNING: "info",
    JobStatus.SUCCEEDED: "success",
    JobStatus.FAILED: "danger",
    JobStatus.CANCELLED: "warning",
}

TOPUP_COLOURS = {
    TopUpStatus.NEW: "default",
    TopUpStatus.OPEN: "info",
    TopUpStatus.PROCESSING: "info",
    TopUpStatus.PAID: "success",
    TopUpStatus.FAILED: "danger",
    TopUpStatus.EXPIRED: "default",
    TopUpStatus.MISMATCH: "warning",
    TopUpStatus.RETURNED: "default",
}
UNAPPLIED_COLOURS = {
    UnappliedState.OPEN: "danger",
    UnappliedState.ASKED: "warning",
    UnappliedState.CREDITED: "success",
    UnappliedState.RETURNED: "default",
    UnappliedState.CLOSED: "default",
}
REFUND_COLOURS = {
    RefundState.REQUESTED: "warning",
    RefundState.APPROVED: "info",
    RefundState.PENDING: "info",
    RefundState.SUCCEEDED: "success",
    RefundState.FAILED: "danger",
    RefundState.REJECTED: "default",
}
BUDGET_COLOURS = {State.GREEN: "success", State.YELLOW: "warning", State.RED: "danger"}
EXCEPTION_COLOURS = {
    ExceptionStanding.WAITS: "warning",
    ExceptionStanding.AHEAD: "info",
    ExceptionStanding.IN_FORCE: "success",
    ExceptionStanding.REJECTED: "danger",
}
DISPUTE_COLOURS = {
    DisputeState.WARNING: "warning",
    DisputeState.OPEN: "danger",
    DisputeState.WON: "success",
    DisputeState.LOST: "danger",
    DisputeState.CLOSED: "default",
}


class InBookCurrency(BaseAdmin):
    """Rows that know the currency of the books, read once for the page."""

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        rows: QuerySet[Any] = super().get_queryset(request).annotate(book_currency=Value(workspace.load().currency))
        return rows


def actor(request: HttpRequest) -> str:
    """Name the person as ledger entries do."""
    return by_hand.actor_of(request.user.get_username())


def person(request: HttpRequest) -> User:
    """Return who is signed in; nobody else comes this far."""
    assert isinstance(request.user, User)
    return request.user


def in_major(amount_minor: int, currency: str) -> Decimal | str:
    """Return an amount of Stripe's with the places that the currency has; of a currency that is not listed, say what it is."""
    try:
        return minor_units.to_major(amount_minor, currency)
    except minor_units.UnknownCurrency:
        return f"{amount_minor:,} minor units"


def charged(amount_minor: int, currency: str) -> SafeString:
    """Show what Stripe charges, with the places that the currency has: 1,999.00 USD, 1,500 JPY."""
    return format_html('<span class="md-figure">{}</span>', minor_units.written(amount_minor, currency))


def customer_link(customer: Customer | None) -> SafeString | str:
    """Link to the page of a customer."""
    return link(customer, "billing_customer_change", customer.pk) if customer else "-"


def record_link(record_id: int | None) -> SafeString | str:
    """Link to the request behind something."""
    return link(f"evt_{record_id}", "billing_usagerecord_change", record_id) if record_id else "-"


def ledger_of(customer_id: int, text: str = "All entries in the ledger") -> SafeString:
    """Link to the ledger of one customer."""
    return link(text, "billing_ledgerentry_changelist", query=f"wallet__customer__id__exact={customer_id}")


def what_one_may_move(request: HttpRequest, wallet: Wallet) -> str:
    """Say how much of a wallet's credits this person may move without a second one."""
    limit = workspace.load().approval_limit_credits
    left = by_hand.left(wallet_id=wallet.pk, username=request.user.get_username(), now=timezone.now())
    if left == limit:
        return f"Above {grouped(limit)} credits within 24 hours it waits for a second person."
    if not left:
        return f"You have moved your {grouped(limit)} credits of 24 hours on this wallet: it will wait for a second person."
    return f"Above {grouped(left)} credits it waits for a second person: of {grouped(limit)} in 24 hours you have moved the rest."


def moved_or_asked(outcome: Posted | MovementRequest, moved: str) -> str:
    """Say what a movement by hand has come to: `moved`, or a request."""
    if not isinstance(outcome, MovementRequest):
        return moved
    return (
        f"{grouped(abs(outcome.credits))} credits are above what one person may move. "
        "Nothing has moved yet: the request waits for a second person."
    )
