"""Decimals as people write them: 0.6, not 0.6000."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model

from config.base.exact import plain


class PlainDecimal(forms.DecimalField):
    """A number shown without the zeros that its column adds."""

    def prepare_value(self, value: Any) -> Any:
        return plain(value) if isinstance(value, Decimal) else value


def read_only(model: type[Model], name: str) -> Callable[[Any], str]:
    """Return what shows a decimal of `model` that the reader may not change; by its name it keeps its label and its help."""
    label = model._meta.get_field(name).verbose_name  # type: ignore[union-attr] # a column, not a relation to it

    @admin.display(description=label)
    def shown(row: Any) -> str:
        return plain(getattr(row, name))

    shown.__name__ = name
    return shown
