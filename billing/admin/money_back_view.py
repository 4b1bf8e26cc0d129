"""What pages of refunds and disputes share: the chain from the money to the ledger and back."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing import minor_units
from billing.admin.words import DISPUTE_COLOURS
from billing.models import Dispute, DisputeState, EntryKind, RefundState, TopUp, TopUpRefund
from billing.queries import money_back
from config.base.admin import badge, credits_, link, moment, money, table
from pricing.queries import workspace

_DASHBOARD: Final = "https://dashboard.stripe.com"
_HEADINGS: Final = ("What", "When", "Lot", "Credits", "Value")


def chain(*, withdrawals: Sequence[int], empty: str) -> SafeString:
    """Show the entries that took the credits, and those that gave them back."""
    return table(_HEADINGS, list(_rows(withdrawals)), figures=(3, 4), empty=empty)


def _rows(withdrawals: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    currency = workspace.load().currency
    for entry in money_back.entries(withdrawals):
        kind = EntryKind(entry.kind).label
        what = f"{kind}, given back" if entry.reverses_id and entry.transaction_id not in withdrawals else kind
        yield (
            link(what, "billing_ledgerentry_change", entry.pk),
            moment(entry.recorded_at),
            link(entry.lot, "billing_lot_change", entry.lot_id),
            credits_(entry.credits),
            money(entry.value, currency),
        )


def at_stripe(topup: TopUp, path: str, text: str) -> SafeString:
    """Link to a page of Stripe's dashboard."""
    mode = "" if topup.is_live else "test/"
    return format_html(
        '<a class="md-link md-mono" href="{}/{}{}" rel="noopener noreferrer" target="_blank">{}</a>', _DASHBOARD, mode, path, text
    )


def topup_link(topup: TopUp) -> SafeString:
    """Link to the page of a top-up."""
    return link(f"topup_{topup.pk}", "billing_topup_change", topup.pk)


def with_money_back(topups: "QuerySet[TopUp]") -> "QuerySet[TopUp]":
    """Say of each top-up how much was paid back of it, and how its newest dispute stands."""
    back = TopUpRefund.objects.filter(topup=OuterRef("pk"), state=RefundState.SUCCEEDED).values("topup")
    dispute = Dispute.objects.filter(topup=OuterRef("pk")).order_by("-pk").values("state")
    return topups.annotate(
        back_minor=Coalesce(Subquery(back.annotate(sum=Sum("amount_minor")).values("sum")), 0),
        dispute_state=Subquery(dispute[:1]),
    )


def badges_since(topup: Any) -> Iterator[SafeString]:
    """Yield what a list says about the money of a top-up since it was paid; `topup` is of `with_money_back`."""
    if topup.back_minor:
        yield badge("back", "Paid back" if topup.back_minor >= topup.amount_minor else "Paid back in part", {"back": "default"})
    if topup.dispute_state:
        yield badge(topup.dispute_state, f"Dispute: {DisputeState(topup.dispute_state).label}".lower().capitalize(), DISPUTE_COLOURS)


def since_paid(topup: TopUp) -> Iterator[str]:
    """Yield what became of the money since it was paid."""
    back = sum(refund.amount_minor for refund in topup.refunds.filter(state=RefundState.SUCCEEDED))
    if back:
        amount = f"{minor_units.to_major(back, topup.currency):,f} {topup.currency}"
        yield f"{'All of it' if back >= topup.amount_minor else amount} was paid back since, and credits withdrawn with it."
    for dispute in topup.disputes.order_by("pk"):
        yield _DISPUTED[DisputeState(dispute.state)]
    if topup.is_suspicious and not back and not topup.disputes.exists():
        yield "Stripe warns that the card may be stolen: a refund now avoids a dispute and its fee."


_DISPUTED: Final = {
    DisputeState.WARNING: "The buyer's bank asks about it: answer in Stripe.",
    DisputeState.OPEN: "It is disputed: the bank has taken the money until it decides.",
    DisputeState.WON: "A dispute about it was won: the money and the credits came back.",
    DisputeState.LOST: "A dispute about it was lost: the money stays with the buyer.",
    DisputeState.CLOSED: "A dispute about it was closed without loss.",
}
