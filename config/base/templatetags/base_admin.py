"""What the admin's own templates need."""

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django import template
from django.utils import timezone

from config.base import exact
from config.base.admin import show

register = template.Library()


@register.filter
def grouped(value: int) -> str:
    """Write a whole number with thousands separators."""
    return f"{value:,}"


@register.filter
def credits(value: Decimal) -> str:
    """Write credits as lists do: 8,671.5."""
    return show.credits_(value)


@register.filter
def moment(value: datetime | None) -> str:
    """Write a time as lists do."""
    return show.moment(value)


@register.filter
def plain(value: Any) -> str:
    """Write what a field was: no trailing zeros, a dash for nothing."""
    text = str(value)
    if text in {"None", ""}:
        return show.EMPTY
    try:
        return exact.plain(Decimal(text)) if "." in text else text
    except InvalidOperation:
        return text


@register.simple_tag
def time_zone_name() -> str:
    """Return the zone that times are shown in."""
    return timezone.get_current_timezone_name()
