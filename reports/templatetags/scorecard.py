"""The scorecard on pages of prices: `{% load scorecard %}`, then `{% scorecard_of_proposal proposal %}` or
`{% scorecard_of_rule rule %}`.
"""

from typing import Any

from django import template
from django.utils import timezone

from pricing.models import PriceRule, Proposal
from reports.queries import scorecard

register = template.Library()


@register.inclusion_tag("reports/scorecard.html")
def scorecard_of_proposal(proposal: Proposal) -> dict[str, Any]:
    """Show how the price of an approved proposal has done; nothing where it has not begun."""
    return {"scores": scorecard.of_proposal(proposal, now=timezone.now())}


@register.inclusion_tag("reports/scorecard.html")
def scorecard_of_rule(rule: PriceRule) -> dict[str, Any]:
    """Show how the latest proposed prices of a rule have done."""
    return {"scores": scorecard.of_rule(rule, now=timezone.now())}


@register.filter
def percent(share: Any) -> str:
    """Write a share of 1 as per cent with one place, a dash for nothing."""
    return f"{share:.1%}" if share is not None else "-"


@register.filter
def points(share: Any) -> str:
    """Write a difference of shares in percentage points, with its sign."""
    return f"{100 * share:+.1f} points" if share is not None else "-"
