"""A proposal's backtest as its page shows it: all together, the largest differences, and the wallets that would have run empty."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from config.base.admin import credits_, link, moment, share, short_money, table

SHOWN_DELTAS: Final = 10
SHOWN_WALLETS: Final = 5
_EMPTY_HEADINGS: Final = ("Customer", "Would be empty on", "Really left then")


def lay_out(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `admin/pricing/proposal_backtest.html` shows of a stored backtest."""
    currency, customers = found["currency"], found["customers"]
    deltas = [
        (
            _customer(row["customer"]),
            f"{row['events']:,}",
            credits_(Decimal(row["credits_before"])),
            credits_(Decimal(row["credits_after"])),
            _delta(Decimal(row["delta"])),
        )
        for row in customers["top"]
    ]
    empty = [
        (_customer(row["customer"]), _day(row["would_have_ended_at"]), credits_(Decimal(row["balance"])))
        for row in found["wallets_at_zero"]
    ]
    headings = ("Customer", "Events", "Credits before", "Credits after", "Difference")
    return {
        "window": f"{moment(datetime.fromisoformat(found['start']))} to {moment(datetime.fromisoformat(found['end']))}",
        "events": f"{found['events']:,}",
        "is_sampled": found["sampled"],
        "totals": table(
            ("", "Before", "After"),
            [
                ("Credits", credits_(Decimal(found["credits_before"])), credits_(Decimal(found["credits_after"]))),
                ("Value", short_money(Decimal(found["value_before"]), currency), short_money(Decimal(found["value_after"]), currency)),
                ("Provider cost", *[short_money(Decimal(found["cost"]), currency)] * 2),
                ("Margin", share(_decimal(found["margin_before"])), share(_decimal(found["margin_after"]))),
            ],
            figures=(1, 2),
        ),
        "customers_sentence": f"{customers['up']:,} pay more, {customers['down']:,} pay less, {customers['same']:,} pay the same.",
        "deltas": table(headings, deltas[:SHOWN_DELTAS], figures=(1, 2, 3, 4), empty="No customer would have paid another sum."),
        "more_deltas": table(headings, deltas[SHOWN_DELTAS:], figures=(1, 2, 3, 4)) if deltas[SHOWN_DELTAS:] else "",
        "more_count": len(deltas[SHOWN_DELTAS:]),
        "empty_count": found["wallets_at_zero_count"],
        "empty": table(_EMPTY_HEADINGS, empty[:SHOWN_WALLETS], figures=(2,)),
        "more_empty": table(_EMPTY_HEADINGS, empty[SHOWN_WALLETS:], figures=(2,)) if empty[SHOWN_WALLETS:] else "",
        "more_empty_count": len(empty[SHOWN_WALLETS:]),
        "empty_shown": len(empty),
    }


def _customer(key: str) -> SafeString:
    """Find the customer by the id that apps know."""
    found = link(key, "billing_customer_changelist", query=urlencode({"q": key.rpartition("/")[2]}))
    return format_html('<span class="md-name">{}</span>', found)


def _delta(value: Decimal) -> SafeString:
    return format_html("{}{}", "+" if value > 0 else "", credits_(value))


def _day(moment: str) -> str:
    return timezone.localdate(datetime.fromisoformat(moment)).isoformat()


def _decimal(text: str | None) -> Decimal | None:
    return Decimal(text) if text is not None else None
