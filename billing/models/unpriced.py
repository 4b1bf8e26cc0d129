"""Unpriced usage as work: what has no known cost for the same lack, in one row that a person can take on.

Figures are counted from the records by `billing.services.unpriced`; owner and note are people's, with their history.
"""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from billing.models.fields import balance_field, history

COUNTED = ("units", "records", "customers", "credits", "first_seen_at", "last_seen_at", "first_record_id", "last_record_id", "counted_at")


class UnpricedGroup(models.Model):
    """Records of one model, service tier and batch that lacked rates for the same units when they were charged."""

    provider = models.CharField(max_length=64, blank=True)
    model = models.CharField(max_length=128, blank=True)
    service_tier = models.CharField(max_length=32, blank=True)
    is_batch = models.BooleanField(default=False)
    missing = models.CharField(max_length=200, blank=True, help_text="Unit kinds without a rate; empty: none had one.")
    units = ArrayField(models.CharField(max_length=16), default=list, help_text="Unit kinds to find a rate for.")
    records = models.BigIntegerField(default=0)
    customers = models.BigIntegerField(default=0)
    credits = balance_field(default=0)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    first_record_id = models.BigIntegerField()
    last_record_id = models.BigIntegerField()
    counted_at = models.DateTimeField()
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    note = models.CharField(max_length=500, blank=True, default="")

    history = history(excluded_fields=COUNTED)

    class Meta:
        verbose_name = "unpriced usage"
        verbose_name_plural = "unpriced usage"
        ordering = ("-records",)
        permissions = (("assign_unpriced", "Can take on unpriced usage, or give it to others"),)
        constraints = (
            models.UniqueConstraint(name="unpriced_group_is_one", fields=("provider", "model", "service_tier", "is_batch", "missing")),
            models.CheckConstraint(name="unpriced_records_not_negative", condition=Q(records__gte=0)),
        )

    def __str__(self) -> str:
        name = "/".join(part for part in (self.provider, self.model) if part) or "no model named"
        tier = [self.service_tier] if self.service_tier else []
        return ", ".join([name, *tier, *(["batch"] if self.is_batch else [])])
