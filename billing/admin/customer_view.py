"""The customer page's cards and small tables, from the rows that its query returned."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin import auto_topup_dialogs
from billing.admin.words import DISPUTE_COLOURS, REFUND_COLOURS, TOPUP_COLOURS, charged, record_link
from billing.models import (
    Dispute,
    EntryKind,
    Hold,
    LedgerEntry,
    Lot,
    LotKind,
    MovementKind,
    MovementRequest,
    TopUp,
    TopUpRefund,
    WalletStatus,
)
from billing.queries.customer_page import MOST, CustomerPage
from config.base.admin import badge, credits_, lines, link, moment, table


@dataclass(frozen=True, slots=True)
class Card:
    """One figure that answers one question, and a line under it."""

    title: str
    figure: str | SafeString
    note: str | SafeString = ""
    tone: str = ""


def context(page: CustomerPage, request: HttpRequest) -> dict[str, Any]:
    """Return what `admin/billing/customer_page.html` lays out, without the refunds and disputes that this person may not view."""
    disputes = page.disputes if request.user.has_perm("billing.view_dispute") else ()
    refunds = page.refunds if request.user.has_perm("billing.view_topuprefund") else ()
    customer, wallet = page.wallet.customer, page.wallet.wallet
    ledger = f"wallet__customer__id__exact={customer.pk}"
    return {
        "identity": (customer.external_id, customer.project.name, customer.get_environment_display(), f"plan {customer.plan or 'none'}"),
        "cards": _cards(page),
        "entries": _entries(page.entries),
        "lots": _lots(page.lots),
        "holds": _holds(page.holds) if page.holds else "",
        "topups": _topups(page.topups) if page.topups else "",
        "money_back": _money_back(disputes, refunds) if disputes or refunds else "",
        "auto_topup": auto_topup_dialogs.panel(page.auto_topup),
        "attempts": auto_topup_dialogs.attempts(page.auto_topup.attempts),
        "requests": _requests(page.requests, wallet.pk) if page.requests else "",
        "links": (
            link("Full ledger", "billing_ledgerentry_changelist", query=ledger),
            link("Usage", "billing_usagerecord_changelist", query=f"customer__id__exact={customer.pk}"),
            link("All lots", "billing_lot_changelist", query=ledger),
            link("All holds", "billing_hold_changelist", query=ledger),
            link("Top-ups", "billing_topup_changelist", query=ledger),
            link("Requests", "billing_movementrequest_changelist", query=ledger),
            link("Payments", "billing_payment_changelist", query=ledger),
            link("Who changed limits, and why", "billing_wallet_history", wallet.pk),
        ),
        "most": MOST,
    }


def _cards(page: CustomerPage) -> list[Card]:
    view, wallet = page.wallet, page.wallet.wallet
    frozen = wallet.status == WalletStatus.FROZEN
    if wallet.low_balance_threshold is None:
        low = "no low-balance mark is set"
    else:
        low = format_html("{} the mark of {}", "below" if wallet.is_low else "above", credits_(wallet.low_balance_threshold))
    expiry = view.next_expiry
    return [
        Card("Available", credits_(view.available), low, "warning" if wallet.is_low else ""),
        Card("Balance", credits_(wallet.balance), "all lots together", "danger" if wallet.balance < 0 else ""),
        Card("Held", credits_(wallet.held), "for actions still running"),
        Card(
            "Next expiry",
            credits_(expiry.credits) if expiry else "None",
            f"on {moment(expiry.expires_at)}" if expiry else "no credits expire",
        ),
        Card(
            "Status",
            "Frozen" if frozen else "Active",
            "pays for nothing" if frozen else _may_owe(page),
            "danger" if frozen else "",
        ),
    ]


def _may_owe(page: CustomerPage) -> str | SafeString:
    limit = page.wallet.wallet.overdraft_limit
    return format_html("may owe up to {}", credits_(limit)) if limit else "may not owe"


def _entries(entries: tuple[LedgerEntry, ...]) -> SafeString:
    rows = [
        (
            link(moment(entry.recorded_at), "billing_ledgerentry_change", entry.pk),
            _kind(entry),
            entry.event_type or entry.reason or "-",
            credits_(entry.credits),
            credits_(entry.balance_after),
            record_link(entry.usage_record_id),
        )
        for entry in entries
    ]
    return table(
        ("Recorded", "Kind", "For", "Credits", "Balance after", "Request"), rows, figures=(3, 4), empty="No credits have moved yet."
    )


def _kind(entry: LedgerEntry) -> str:
    label: str = EntryKind(entry.kind).label
    return f"{label}, given back" if entry.kind == EntryKind.WITHDRAWAL and entry.credits > 0 else label


def _lots(lots: tuple[Lot, ...]) -> SafeString:
    rows = [
        (
            link(LotKind(lot.kind).label, "billing_lot_change", lot.pk),
            credits_(lot.remaining),
            credits_(lot.granted) if lot.kind != LotKind.OVERDRAFT else "-",
            moment(lot.expires_at) if lot.expires_at else "never",
            lot.priority,
        )
        for lot in lots
    ]
    return table(("Lot", "Left", "Granted", "Expires", "Priority"), rows, figures=(1, 2, 4), empty="No lot has credits in it.")


def _holds(holds: tuple[Hold, ...]) -> SafeString:
    rows = [
        (link(f"hold_{hold.pk}", "billing_hold_change", hold.pk), hold.event_type, credits_(hold.credits), moment(hold.expires_at))
        for hold in holds
    ]
    return table(("Hold", "For", "Credits", "Expires"), rows, figures=(2,))


def _topups(topups: tuple[TopUp, ...]) -> SafeString:
    rows = [
        (
            link(moment(topup.created_at), "billing_topup_change", topup.pk),
            lines([topup.title or topup.pack or "-", charged(topup.amount_minor, topup.currency)]),
            badge(topup.status, topup.get_status_display(), TOPUP_COLOURS),
        )
        for topup in topups
    ]
    return table(("Ordered", "What", "Status"), rows)


def _money_back(disputes: tuple[Dispute, ...], refunds: tuple[TopUpRefund, ...]) -> SafeString:
    rows = [
        (
            link("Dispute", "billing_dispute_change", dispute.pk),
            charged(dispute.amount_minor, dispute.currency),
            credits_(-dispute.credits),
            badge(dispute.state, dispute.get_state_display(), DISPUTE_COLOURS),
            moment(dispute.opened_at),
        )
        for dispute in disputes
    ]
    rows += [
        (
            link("Refund", "billing_topuprefund_change", refund.pk),
            charged(refund.amount_minor, refund.currency),
            credits_(-refund.credits),
            badge(refund.state, refund.get_state_display(), REFUND_COLOURS),
            moment(refund.created_at),
        )
        for refund in refunds
    ]
    return table(("What", "Amount", "Credits", "Status", "Since"), rows, figures=(1, 2))


def _requests(requests: tuple[MovementRequest, ...], wallet_id: int) -> SafeString:
    rows = [
        (
            link(request.get_kind_display(), "billing_movementrequest_change", request.pk),
            credits_(_change(request, wallet_id)),
            request.requested_by,
            request.reason,
        )
        for request in requests
    ]
    return table(("Request", "Credits", "Asked by", "Reason"), rows, figures=(1,))


def _change(request: MovementRequest, wallet_id: int) -> Decimal:
    """Return what it would do to this wallet: what is transferred away leaves it."""
    credits: Decimal = request.credits
    return -credits if request.kind == MovementKind.TRANSFER and request.wallet_id == wallet_id else credits
