"""How the scorecard writes its figures."""

from typing import Any

from django import template

register = template.Library()


@register.filter
def percent(share: Any) -> str:
    """Write a share of 1 as per cent with one place, a dash for nothing."""
    return f"{share:.1%}" if share is not None else "-"


@register.filter
def points(share: Any) -> str:
    """Write a difference of shares in percentage points, with its sign."""
    return f"{100 * share:+.1f} points" if share is not None else "-"
