"""Seals: finance notes the newest digest outside; as long as it verifies, nothing before it was changed. Read-only."""

from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.words import InBookCurrency
from billing.models import Seal
from config.base.admin import DayRangeFilter, KeysetAdmin, ReadOnlyAdmin, credits_, moment, money


@admin.register(Seal)
class SealAdmin(ReadOnlyAdmin, KeysetAdmin, InBookCurrency):
    list_display = ("period", "entries_figure", "credits_figure", "value_figure", "short_digest", "sealed")
    when_empty = "A task seals each hour of the ledger a while after it ended."
    list_filter = (("starts_at", DayRangeFilter),)
    fieldsets = (
        (None, {"fields": (("period", "sealed"), ("entries_figure", "credits_figure"), ("value_figure",))}),
        ("Chain", {"fields": ("whole_digest", "whole_previous"), "description": "Each digest covers this hour and the digest before it."}),
    )

    @admin.display(description="hour")
    def period(self, seal: Seal) -> str:
        return f"{moment(seal.starts_at)[:16]} to {moment(seal.ends_at)[11:16]}"

    @admin.display(description="entries")
    def entries_figure(self, seal: Seal) -> str:
        return f"{seal.entry_count:,}"

    @admin.display(description="credits")
    def credits_figure(self, seal: Seal) -> SafeString:
        return credits_(seal.credits)

    @admin.display(description="value")
    def value_figure(self, seal: Any) -> SafeString:
        return money(seal.value, seal.book_currency)

    @admin.display(description="digest")
    def short_digest(self, seal: Seal) -> SafeString:
        return _mono(f"{seal.digest[:16]}…")

    @admin.display(description="digest")
    def whole_digest(self, seal: Seal) -> SafeString:
        return _mono(seal.digest)

    @admin.display(description="digest of the hour before")
    def whole_previous(self, seal: Seal) -> SafeString:
        return _mono(seal.previous_digest or "-")

    @admin.display(description="sealed")
    def sealed(self, seal: Seal) -> str:
        return moment(seal.sealed_at)


def _mono(text: str) -> SafeString:
    return format_html('<span class="md-mono">{}</span>', text)
