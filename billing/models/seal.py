"""Seals: an hourly hash chain over the ledger, so that a change behind the triggers' back shows.

A seal covers the entries recorded in one hour, in the order of their ids, and the digest of the seal before it. Nothing
can be recorded into a sealed hour. Finance notes the newest digest outside the system; as long as it verifies, no
earlier entry has been changed, added or removed.
"""

from django.db import models

from billing.models.fields import balance_field
from config.base.models import append_only, never_truncated


class Seal(models.Model):
    starts_at = models.DateTimeField(unique=True)
    ends_at = models.DateTimeField()
    entry_count = models.BigIntegerField()
    credits = balance_field(help_text="Sum of the entries.")
    value = models.DecimalField(max_digits=38, decimal_places=12, help_text="Sum of the entries.")
    previous_digest = models.CharField(max_length=64)
    digest = models.CharField(max_length=64, unique=True)
    sealed_at = models.DateTimeField()

    class Meta:
        permissions = (("run_ledger_check", "Can run the ledger check"),)
        ordering = ("-starts_at",)
        triggers = (append_only(), never_truncated())

    def __str__(self) -> str:
        return f"{self.starts_at:%Y-%m-%d %H:%M} {self.digest[:12]}"
