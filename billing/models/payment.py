"""Payments: the money that stands behind a deposit."""

from django.db import models
from django.db.models import Q

from billing.models.environment import Environment
from billing.models.fields import money_field
from billing.models.owner import Project
from billing.models.wallet import Wallet
from config.base.models import append_only, never_truncated


class PaymentSource(models.TextChoices):
    CUSTOM = "custom", "Custom rails"  # paid elsewhere, reported by the app
    STRIPE = "stripe", "Stripe"


class Payment(models.Model):
    """One payment received, in the book currency. Credited once to one wallet, however often it is reported."""

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="payments")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+", editable=False)
    environment = models.CharField(max_length=16, choices=Environment.choices, editable=False)
    source = models.CharField(max_length=8, choices=PaymentSource.choices)
    external_id = models.CharField("payment id", max_length=128)
    amount = money_field()
    currency = models.CharField(max_length=3)
    metadata = models.JSONField(default=dict, blank=True)
    received_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("project", "environment", "source", "external_id"), name="payment_is_credited_once"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="payment_amount_is_not_negative"),
            models.CheckConstraint(condition=Q(source__in=PaymentSource.values), name="payment_source_is_known"),
        )
        triggers = (append_only(), never_truncated())

    def __str__(self) -> str:
        return f"{self.get_source_display()} {self.external_id}"
