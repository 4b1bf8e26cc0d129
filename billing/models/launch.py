"""Launches: what was planned, so that a spike that has a reason is told apart from one that has none."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing.models.environment import Environment
from billing.models.fields import history
from billing.models.owner import Project


class LaunchKind(models.TextChoices):
    """What is planned (seed 004: planned launch, batch, model-route change)."""

    LAUNCH = "launch", "Launch or campaign"
    BATCH = "batch", "Batch job or import"
    ROUTE = "route", "Change of model or route"


class Launch(models.Model):
    """Something that will change usage, from and until."""

    name = models.CharField(max_length=150)
    kind = models.CharField(max_length=6, choices=LaunchKind.choices, default=LaunchKind.LAUNCH)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(help_text="Until when it explains more usage than before.")
    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="Empty: all.")
    event_type = models.ForeignKey(
        "pricing.EventType", null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="Empty: all actions."
    )
    environment = models.CharField(max_length=16, blank=True, choices=Environment.choices, help_text="Empty: all.")
    expected = models.TextField(blank=True, help_text="What is expected of it: twice as many replies for a week.")
    ticket = models.CharField(max_length=100, blank=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+")

    history = history()

    class Meta:
        verbose_name_plural = "launches"
        ordering = ("-starts_at",)
        constraints = (
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="launch_ends_after_it_starts"),
            models.CheckConstraint(condition=Q(kind__in=LaunchKind.values), name="launch_kind_is_known"),
        )

    def __str__(self) -> str:
        return self.name
