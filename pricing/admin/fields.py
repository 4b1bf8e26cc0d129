"""Decimals as people write them: 0.6, not 0.6000."""

from decimal import Decimal
from typing import Any

from django import forms

from config.base.exact import plain


class PlainDecimal(forms.DecimalField):
    """A number shown without the zeros that its column adds."""

    def prepare_value(self, value: Any) -> Any:
        return plain(value) if isinstance(value, Decimal) else value
