"""Ledger checks: what a proof of the money rules found, kept so that the page and the badge need not run one."""

from django.db import models

from config.base.models import append_only


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
