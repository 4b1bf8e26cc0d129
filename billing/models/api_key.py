"""API keys: how an app proves which project and environment it speaks for.

The secret is shown once. The row keeps the public id and a keyed hash, so a stolen database opens nothing. Two keys of
one project and environment may live at a time, which is what a rotation without downtime needs.
"""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from billing.models.environment import Environment
from billing.models.fields import history
from billing.models.owner import Project
from config.base.models import raises_generation


class Scope(models.TextChoices):
    """What a key may do."""

    METER = "meter", "Meter"  # events, estimates, refunds of events, holds, runs and jobs
    WALLETS = "wallets", "Wallets"  # customers, balances, deposits
    TOPUPS = "topups", "Top-ups"  # payment links
    REPORTS = "reports", "Reports"  # usage, costs, ledger
    BUDGETS = "budgets", "Budgets"  # limits and their state


class ApiKey(models.Model):
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="api_keys")
    environment = models.CharField(max_length=16, choices=Environment.choices, default=Environment.PRODUCTION)
    name = models.CharField(max_length=120, help_text="What uses this key, such as the chat backend.")
    public_id = models.CharField(max_length=32, unique=True, editable=False)
    secret_hash = models.BinaryField(max_length=32, editable=False)
    scopes = ArrayField(models.CharField(max_length=16, choices=Scope.choices))
    cidrs = ArrayField(
        models.CharField(max_length=64),
        default=list,
        blank=True,
        verbose_name="allowed networks",
        help_text="Addresses or CIDR blocks that may use the key, such as 10.0.0.0/8. Empty: any.",
    )
    rate_limit_per_minute = models.PositiveIntegerField(
        null=True, blank=True, help_text="Calls a minute before the API answers 429. Empty: no limit."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    replaced_by = models.OneToOneField("self", null=True, blank=True, on_delete=models.PROTECT, related_name="replaces", editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="To the minute.")

    history = history(excluded_fields=["secret_hash", "last_used_at"])

    class Meta:
        permissions = (("manage_apikey", "Can make, rotate and revoke API keys"),)
        verbose_name = "API key"
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(condition=Q(scopes__len__gt=0), name="api_key_has_a_scope"),
            models.CheckConstraint(condition=Q(environment__in=Environment.values), name="api_key_environment_is_known"),
        )
        # last_used_at is written every minute by every key in use: it must not empty everyone's cache.
        triggers = (
            raises_generation(
                "keys",
                of=("project_id", "environment", "secret_hash", "scopes", "cidrs", "rate_limit_per_minute", "expires_at", "revoked_at"),
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"
