"""Ledger checks: what a proof of the money rules found, kept so that the page and the badge need not run one.

With them, since when a rule is kept that is younger than the ledger.
"""

from django.db import models

from config.base.models import append_only, never_truncated


class CheckRun(models.Model):
    """One run of the ledger check over one consistent snapshot."""

    started_at = models.DateTimeField()
    duration_ms = models.IntegerField()
    entry_count = models.BigIntegerField()
    is_clean = models.BooleanField()
    # Per rule: {"rule", "statement", "examined", "breaks": [{"subject", "detail"}]}
    rules = models.JSONField()
    sealed_until = models.DateTimeField(null=True)
    head_digest = models.CharField(max_length=64, blank=True)
    actor = models.CharField(max_length=80)

    class Meta:
        ordering = ("-started_at",)
        verbose_name = "ledger check"
        triggers = (append_only(),)

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M} {'clean' if self.is_clean else 'broken'}"


class RuleBoundary(models.Model):
    """The last ledger entry from before a rule was kept. A migration writes it once; without one the rule is as old as the ledger."""

    rule = models.CharField(max_length=40, primary_key=True)
    entry_id = models.BigIntegerField(help_text="0: the ledger was empty then.")

    class Meta:
        default_permissions = ()
        triggers = (append_only(), never_truncated())

    def __str__(self) -> str:
        return f"{self.rule} after entry {self.entry_id}"
