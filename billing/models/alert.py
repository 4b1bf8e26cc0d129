"""Alerts: what somebody should know of a budget, a wallet or a spike, once; where they are sent, and whether they arrived.

An alert is one row per cause, which the database keeps unique: a threshold of a budget in one window is told once, however
often it is evaluated. It is open until somebody has seen it (acknowledged) or what it tells of is over (resolved). Its
deliveries are written with it, in one transaction, and worked off by a task.
"""

import pgtrigger
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from billing.models.budget import Budget, spend_field
from billing.models.fields import history
from billing.models.owner import Project
from billing.models.wallet import Wallet
from config.base.models import never_truncated


class AlertKind(models.TextChoices):
    THRESHOLD = "threshold", "Threshold reached"
    FORECAST = "forecast", "Heading over its limit"
    SPIKE = "spike", "Spike"  # an event that doubled week over week
    WALLET_LOW = "wallet_low", "Wallet low"
    CREDITS_EXPIRE = "credits_expire", "Credits expire soon"
    WALLET_FROZEN = "wallet_frozen", "Wallet frozen"


class AlertState(models.TextChoices):
    OPEN = "open", "Open"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    RESOLVED = "resolved", "Resolved"


class ChannelKind(models.TextChoices):
    EMAIL = "email", "E-mail"
    WEBHOOK = "webhook", "Signed webhook"
    SLACK = "slack", "Slack-format webhook"


class AlertChannel(models.Model):
    """Where alerts are sent besides the budget's owner, who gets an e-mail."""

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=7, choices=ChannelKind.choices)
    address = models.CharField(max_length=500, help_text="An e-mail address, or the URL that is called.")
    alerts = ArrayField(
        models.CharField(max_length=16, choices=AlertKind.choices), default=list, blank=True, help_text="Which alerts. None chosen: all."
    )
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="Only what is about this project. Empty: all."
    )
    is_active = models.BooleanField(default=True)
    # The secret that calls are signed with is made of this number and the key of the installation, so that none is stored.
    secret_number = models.PositiveSmallIntegerField(default=1, editable=False)

    history = history()

    class Meta:
        verbose_name = "alert channel"
        ordering = ("name",)
        constraints = (models.CheckConstraint(condition=Q(kind__in=ChannelKind.values), name="alert_channel_kind_is_known"),)

    def __str__(self) -> str:
        return self.name


class Alert(models.Model):
    """Something that happened once. `cause` names it; `facts` are the figures when it was raised, decimals as strings."""

    kind = models.CharField(max_length=16, choices=AlertKind.choices)
    cause = models.CharField(max_length=250, unique=True)
    budget = models.ForeignKey(Budget, null=True, blank=True, on_delete=models.PROTECT, related_name="alerts")
    window_starts_at = models.DateTimeField(null=True, blank=True)
    threshold = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Per cent of the limit.")
    limit = spend_field(null=True, blank=True, help_text="The limit then. Of a raised one the same threshold is told again.")
    wallet = models.ForeignKey(Wallet, null=True, blank=True, on_delete=models.PROTECT, related_name="alerts")
    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    facts = models.JSONField(default=dict)
    state = models.CharField(max_length=12, choices=AlertState.choices, default=AlertState.OPEN)
    raised_at = models.DateTimeField()
    acknowledged_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    note = models.TextField(blank=True, help_text="What was found, or is done about it.")
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Nobody: it is over.",
    )

    class Meta:
        ordering = ("-raised_at", "-id")
        permissions = (
            ("acknowledge_alert", "Can acknowledge and resolve alerts"),
            ("acknowledge_spike", "Can acknowledge and resolve spikes"),
        )
        indexes = (
            models.Index(fields=("raised_at", "id"), name="alert_by_time"),
            models.Index(fields=("kind", "raised_at"), condition=Q(state="open"), name="alert_open"),
            models.Index(fields=("kind", "wallet"), condition=~Q(state="resolved"), name="alert_not_over"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("budget", "window_starts_at", "threshold", "kind", "limit"),
                condition=Q(budget__isnull=False),
                nulls_distinct=False,
                name="alert_is_raised_once",
            ),
            models.UniqueConstraint(
                fields=("budget", "window_starts_at", "threshold", "kind"),
                condition=Q(budget__isnull=False) & ~Q(state="resolved"),
                name="alert_stands_once",
            ),
            models.CheckConstraint(condition=Q(kind__in=AlertKind.values), name="alert_kind_is_known"),
            models.CheckConstraint(condition=Q(state__in=AlertState.values), name="alert_state_is_known"),
            models.CheckConstraint(
                condition=~Q(kind__in=("threshold", "forecast"))
                | Q(budget__isnull=False, window_starts_at__isnull=False, threshold__isnull=False),
                name="alert_of_a_budget_names_it",
            ),
            models.CheckConstraint(
                condition=~Q(kind__in=("wallet_low", "credits_expire", "wallet_frozen")) | Q(wallet__isnull=False),
                name="alert_of_a_wallet_names_it",
            ),
            models.CheckConstraint(condition=Q(state="resolved") ^ Q(resolved_at__isnull=True), name="alert_resolved_is_whole"),
            models.CheckConstraint(
                condition=Q(acknowledged_by__isnull=True, acknowledged_at__isnull=True)
                | Q(acknowledged_by__isnull=False, acknowledged_at__isnull=False) & ~Q(state="open"),
                name="alert_acknowledged_is_whole",
            ),
        )
        triggers = (
            pgtrigger.Trigger(
                name="only_goes_on",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "((OLD.kind, OLD.cause, OLD.budget_id, OLD.window_starts_at, OLD.threshold, OLD.limit, OLD.wallet_id, OLD.project_id,"
                    " OLD.facts, OLD.raised_at) IS DISTINCT FROM (NEW.kind, NEW.cause, NEW.budget_id, NEW.window_starts_at, NEW.threshold,"
                    " NEW.limit, NEW.wallet_id, NEW.project_id, NEW.facts, NEW.raised_at)"
                    " OR OLD.state = 'resolved' OR (OLD.state = 'acknowledged' AND NEW.state = 'open'))"
                ),
                func="RAISE EXCEPTION 'An alert only goes on: open, acknowledged, resolved.' USING ERRCODE = 'restrict_violation';",
            ),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            never_truncated(),
        )

    def __str__(self) -> str:
        return f"Alert {self.pk}: {self.get_kind_display()}"


class DeliveryOutcome(models.TextChoices):
    DUE = "due", "Due"
    SENT = "sent", "Sent"
    MOOT = "moot", "Nothing left to tell"
    EXPIRED = "expired", "Dead letter"  # given up; a person may have it tried again


class AlertDelivery(models.Model):
    """One message to one address: that an alert was raised, or is over. Worked off as `config.base.outbox` says."""

    alert = models.ForeignKey(Alert, on_delete=models.PROTECT, related_name="deliveries")
    channel = models.ForeignKey(AlertChannel, null=True, blank=True, on_delete=models.PROTECT, related_name="deliveries")
    kind = models.CharField(max_length=7, choices=ChannelKind.choices)
    address = models.CharField(max_length=500)
    tells = models.CharField(max_length=8, choices=(("raised", "Raised"), ("resolved", "Resolved")), default="raised")
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(help_text="Nobody takes it before; whoever takes it puts it off first.")
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.TextField(blank=True)
    outcome = models.CharField(max_length=7, choices=DeliveryOutcome.choices, default=DeliveryOutcome.DUE)
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "alert delivery"
        verbose_name_plural = "alert deliveries"
        ordering = ("-created_at", "-id")
        permissions = (("retry_alertdelivery", "Can send alerts again"),)
        indexes = (models.Index(fields=("due_at",), condition=Q(outcome="due"), name="alert_delivery_due"),)
        constraints = (
            models.UniqueConstraint(fields=("alert", "kind", "address", "tells"), name="alert_delivery_is_one"),
            models.CheckConstraint(condition=Q(outcome__in=DeliveryOutcome.values), name="alert_delivery_outcome_is_known"),
            models.CheckConstraint(condition=Q(outcome="due") ^ Q(done_at__isnull=False), name="alert_delivery_done_is_whole"),
        )

    def __str__(self) -> str:
        # Logs name it, and the path of a receiver is often its password.
        receiver = self.address if self.kind == ChannelKind.EMAIL else "/".join(self.address.split("/")[:3])
        return f"Delivery {self.pk} of alert {self.alert_id} to {receiver}"
