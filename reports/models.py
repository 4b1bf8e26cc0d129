"""What reports keep: what cannot be worked out again later, what people see to, and what they signed."""

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing.balance import Category
from billing.models.fields import balance_field, history, money_field
from config.base.models import append_only, never_truncated
from pricing.models import PriceVersion
from reports.reconciliation import BreakKind

BREAK_WORDS = {
    BreakKind.UNKNOWN_HERE: "Unknown here",
    BreakKind.NOT_CREDITED: "Paid, not credited",
    BreakKind.UNKNOWN_AT_STRIPE: "Unknown at Stripe",
    BreakKind.AMOUNT: "Amounts differ",
    BreakKind.CURRENCY: "Currencies differ",
    BreakKind.EXCHANGE: "Exchange difference",
    BreakKind.FEE: "Fee missing",
    BreakKind.PAYOUT: "Payout does not add up",
    BreakKind.WITHDRAWAL: "Money back without credits",
    BreakKind.DISPUTE: "Dispute unmatched",
}


class RealisedMargin(models.Model):
    """How a version that was proposed did in its first days, written once those are over and late events are in."""

    version = models.ForeignKey(PriceVersion, on_delete=models.PROTECT, related_name="+")
    days = models.PositiveSmallIntegerField(help_text="So many days from its start were to be looked at.")
    start = models.DateTimeField()
    end = models.DateTimeField(help_text="Sooner than `days` after the start where the next version came before.")
    events = models.BigIntegerField()
    unpriced = models.BigIntegerField(help_text="Of them without a known cost: in no sum.")
    credits = balance_field()
    value = money_field()
    cost = money_field()
    currency = models.CharField(max_length=3)
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(name="realised_margin_is_kept_once", fields=("version", "days")),
            models.CheckConstraint(name="realised_margin_period_is_not_empty", condition=Q(end__gt=F("start"), days__gte=1)),
            models.CheckConstraint(name="realised_margin_is_of_the_past", condition=Q(recorded_at__gte=F("end"))),
            models.CheckConstraint(name="realised_margin_counts_add_up", condition=Q(unpriced__gte=0, events__gte=F("unpriced"))),
        )
        triggers = (append_only(), never_truncated())

    def __str__(self) -> str:
        return f"{self.version}, {self.days} days"


class BreakState(models.TextChoices):
    OPEN = "open", "Open"
    IN_WORK = "in_work", "In work"
    EXPLAINED = "explained", "Explained"  # it stays as it is, and a person said why
    RESOLVED = "resolved", "Gone"  # it was not found any more


class ReconciliationBreak(models.Model):
    """Something on which Stripe and our books do not agree, as work: found by itself, seen to by a person.

    One row per kind and subject for good: a break that vanishes is closed, and one that comes back is the same row again.
    """

    kind = models.CharField(max_length=20, choices=[(kind.value, BREAK_WORDS[kind]) for kind in BreakKind])
    subject = models.CharField(max_length=300)
    is_live = models.BooleanField(default=False, help_text="Real money, as against Stripe's test mode.")
    category = models.CharField(max_length=10, choices=[(one.value, one.value.capitalize()) for one in Category])
    amount_minor = models.BigIntegerField(help_text="By how much they differ, in the smallest unit of the currency.")
    currency = models.CharField(max_length=3)
    detail = models.CharField(max_length=500)
    topup = models.ForeignKey("billing.TopUp", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    happened_at = models.DateTimeField(help_text="The period that it belongs to.")
    state = models.CharField(max_length=9, choices=BreakState.choices, default=BreakState.OPEN)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    note = models.CharField(max_length=500, blank=True, default="")
    found_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    history = history(excluded_fields=("seen_at",))

    class Meta:
        verbose_name = "break with Stripe"
        verbose_name_plural = "breaks with Stripe"
        permissions = (
            ("view_reconciliation", "Can view the reconciliation with Stripe"),
            ("settle_breaks", "Can see to breaks with Stripe, import its files and sign reconciliations"),
        )
        indexes = (
            models.Index(fields=("happened_at",), name="break_by_time"),
            models.Index(fields=("id",), condition=Q(state__in=["open", "in_work"]), name="break_open"),
        )
        constraints = (
            models.UniqueConstraint(fields=("kind", "subject", "is_live"), name="break_is_one"),
            models.CheckConstraint(condition=Q(state__in=BreakState.values), name="break_state_is_known"),
            models.CheckConstraint(condition=Q(state="resolved") ^ Q(closed_at__isnull=True), name="break_gone_since"),
            models.CheckConstraint(condition=~Q(state="explained") | ~Q(note=""), name="break_explained_says_why"),
        )
        triggers = (pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete), never_truncated())

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.subject}"


class ReconciliationSignOff(models.Model):
    """What a person signed: the figures of a period, and a hash of every line that they are made of."""

    since = models.DateTimeField()
    until = models.DateTimeField()
    is_live = models.BooleanField(default=False, help_text="Real money, as against Stripe's test mode.")
    figures = models.JSONField()
    line_count = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    explained = models.PositiveIntegerField(help_text="Breaks of the period that were explained when it was signed.")
    note = models.CharField(max_length=500, blank=True)
    signed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    signed_at = models.DateTimeField()

    class Meta:
        verbose_name = "reconciliation sign-off"
        indexes = (models.Index(fields=("since", "until", "is_live", "-id"), name="sign_off_of_period_and_mode"),)
        constraints = (
            models.CheckConstraint(condition=Q(until__gt=F("since")), name="sign_off_period_is_not_empty"),
            models.CheckConstraint(condition=Q(signed_at__gte=F("until")), name="sign_off_is_of_the_past"),
        )
        triggers = (append_only(), never_truncated())

    def __str__(self) -> str:
        return f"Signed {self.signed_at:%Y-%m-%d %H:%M} by {self.signed_by}"
