"""Columns for credits and money, with the places that the money rules allow, and history that names a reason."""

from typing import Any

from django.db import models
from simple_history.models import HistoricalRecords

from config.base import exact


def credits_field(**options: Any) -> "models.DecimalField[Any, Any]":
    """A number of credits, at most 6 places."""
    return models.DecimalField(max_digits=exact.CREDIT_DIGITS, decimal_places=exact.CREDIT_PLACES, **options)


def balance_field(**options: Any) -> "models.DecimalField[Any, Any]":
    """A sum of credits: room for a million of the largest movements."""
    return models.DecimalField(max_digits=exact.CREDIT_DIGITS + 6, decimal_places=exact.CREDIT_PLACES, **options)


def money_field(**options: Any) -> "models.DecimalField[Any, Any]":
    """An amount in the book currency, at most 12 places."""
    return models.DecimalField(max_digits=exact.MONEY_DIGITS, decimal_places=exact.MONEY_PLACES, **options)


def history(**options: Any) -> HistoricalRecords:
    """Who changed a row, when and why."""
    return HistoricalRecords(history_change_reason_field=models.TextField(null=True, blank=True), **options)


def save_with_reason(row: models.Model, *fields: str, reason: str) -> None:
    """Save `fields` of a row and keep in its history why."""
    setattr(row, "_change_reason", reason)  # noqa: B010 - simple-history reads the reason from here
    row.save(update_fields=fields)
