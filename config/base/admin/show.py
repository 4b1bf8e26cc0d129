"""How figures, times and names are shown: the same in lists, on record pages and in small tables.

Methods whose name ends in `_figure` are right-aligned in lists (`base/admin.css`).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from config.base import figures
from config.base.exact import Rounding, grouped, round_to

EMPTY = "-"


def credits_(value: Decimal | None) -> SafeString:
    """Show credits: 12,345.5; a minus before what leaves."""
    return _figure(grouped(value)) if value is not None else _figure(EMPTY)


def money(value: Decimal | None, currency: str) -> SafeString:
    """Show money to the last digit that it has, at least two places: 1,234.50 USD, 0.000123 USD."""
    if value is None:
        return _figure(EMPTY)
    whole, _, places = grouped(value).partition(".")
    return _figure(f"{whole}.{places.ljust(2, '0')} {currency}")


def share(value: figures.Share | None, *, is_change: bool = False) -> str:
    """Show a share as per cent: 46.4 %, and a change with its sign: +12.5 %."""
    return figures.on_page(value, is_change=is_change)


def short_money(value: Decimal | None, currency: str) -> SafeString:
    """Show money to four digits, at least two places: 0.03812 USD, 62.08 USD. For what was computed; `money` for what is booked."""
    if value is None or not value:
        return money(value, currency)
    return money(round_to(value, Decimal(1).scaleb(-max(2, 3 - value.adjusted())), Rounding.HALF_UP), currency)


class _Unbroken(SafeString):
    """Text that a page keeps in one line, where a date would else break at its hyphens; plain text everywhere else."""

    def __html__(self) -> SafeString:  # type: ignore[override] # what is shown is not the text itself
        return _figure(str.__str__(self))


def moment(value: datetime | None) -> str:
    """Show a time in the current zone, to the second: 2026-11-20 10:00:05."""
    return _Unbroken(timezone.localtime(value).strftime("%Y-%m-%d %H:%M:%S")) if value else EMPTY


def badge(key: str, words: str, colours: Mapping[Any, str]) -> SafeString:
    """Show a state as a badge; `colours` are Unfold's: success, info, warning, danger, default."""
    return _badge(words, colours.get(key, "default"))


@lru_cache(maxsize=256)
def _badge(words: str, colour: str) -> SafeString:
    return SafeString(render_to_string("unfold/helpers/label.html", {"text": words, "type": colour}).strip())


def yes_no(value: bool | None) -> str:
    """Show a fact in a word: no colour says that one of the two is wrong."""
    return EMPTY if value is None else "Yes" if value else "No"


def link(text: Any, to: str, *args: Any, query: str = "") -> SafeString:
    """Link to a page of the admin by its url name without `admin:`; plain text where there is no such page."""
    try:
        address = reverse(f"admin:{to}", args=args)
    except NoReverseMatch:
        return format_html("{}", text)
    return format_html('<a class="md-link" href="{}{}">{}</a>', address, f"?{query}" if query else "", text)


def names(words: Iterable[str]) -> str:
    """Show a list of words in one line."""
    return ", ".join(words) or EMPTY


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    figures: Sequence[int] = (),
    empty: str = "Nothing yet.",
    stacks: bool = False,
) -> SafeString:
    """Show a small table; `figures` are the columns that are right-aligned.

    One that `stacks` shows a row's cells below each other on a phone, each beside its heading.
    """
    context = {
        "headers": list(enumerate(headers)),
        "rows": [list(zip(range(len(row)), headers, row, strict=False)) for row in rows],
        "figures": figures,
        "empty": empty,
        "stacks": stacks,
    }
    return SafeString(render_to_string("admin/base/table.html", context))


def lines(items: Iterable[Any]) -> SafeString:
    """Show items below each other, in one block: a list's cell on a phone sets what it holds side by side."""
    return format_html("<div>{}</div>", format_html_join("", "<div>{}</div>", ((item,) for item in items)))


def _figure(text: str) -> SafeString:
    return format_html('<span class="md-figure">{}</span>', text)
