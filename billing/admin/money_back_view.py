"""What pages of refunds and disputes share: the chain from the money to the ledger and back."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.models import EntryKind, TopUp
from billing.queries import money_back
from config.base.admin import credits_, link, moment, money, table
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
