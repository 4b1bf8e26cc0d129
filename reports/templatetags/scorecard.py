"""How the scorecard writes its figures: as all pages do."""

from django import template

from config.base import figures

register = template.Library()
register.filter("percent", figures.on_page)


@register.filter
def points(difference: figures.Share | None) -> str:
    """Write a difference of shares in percentage points, with its sign, a dash for nothing."""
    return figures.points(difference) if difference is not None else "-"
