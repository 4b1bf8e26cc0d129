"""A notice: an e-mail that somebody is owed about money, until it was sent or there is nothing left to tell.

The row is written with what it tells of, in the same transaction; a task works the rows off. `cause` names what happened,
so that nobody is told of one thing twice.
"""

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q


class BillingNoticeKind(models.TextChoices):
    AUTO_TOPUP_STOPPED = "auto_topup_stopped", "Auto top-up stopped"
    AUTO_TOPUP_DECLINED = "auto_topup_declined", "Auto top-up declined"  # the first of a row
    AUTO_TOPUP_CAPPED = "auto_topup_capped", "Auto top-up at its cap"  # once a cap and a day or month
    TOPUP_MISMATCH = "topup_mismatch", "Top-up paid otherwise"
    DISPUTE_OPENED = "dispute_opened", "Dispute opened"
    REFUND_REQUESTED = "refund_requested", "Refund waits for approval"
    MOVEMENT_REQUESTED = "movement_requested", "Movement waits for approval"
    EXCEPTION_REQUESTED = "exception_requested", "Budget exception waits for approval"
    DEAD_LETTER = "dead_letter", "Stripe event not worked off"


class BillingNoticeOutcome(models.TextChoices):
    DUE = "due", "Due"
    SENT = "sent", "Sent"
    MOOT = "moot", "Nothing left to tell"
    EXPIRED = "expired", "Too old to be of use"


class BillingNotice(models.Model):
    """One e-mail to one person. `about` is the number of the row that `kind` tells of."""

    kind = models.CharField(max_length=20, choices=BillingNoticeKind.choices)
    about = models.BigIntegerField()
    cause = models.CharField(max_length=100)
    recipient = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(help_text="Nobody takes it before; whoever takes it puts it off first.")
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.TextField(blank=True)
    outcome = models.CharField(max_length=7, choices=BillingNoticeOutcome.choices, default=BillingNoticeOutcome.DUE)
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "notice"
        indexes = (models.Index(fields=("due_at",), condition=Q(outcome="due"), name="billing_notice_due"),)
        constraints = (
            models.UniqueConstraint(fields=("cause", "recipient"), name="billing_notice_is_one"),
            models.CheckConstraint(condition=Q(kind__in=BillingNoticeKind.values), name="billing_notice_kind_is_known"),
            models.CheckConstraint(condition=Q(outcome__in=BillingNoticeOutcome.values), name="billing_notice_outcome_is_known"),
            models.CheckConstraint(condition=Q(outcome="due") ^ Q(done_at__isnull=False), name="billing_notice_done_is_whole"),
        )
        triggers = (
            pgtrigger.Trigger(
                name="is_sent_once",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__outcome__in=("sent", "moot", "expired")),
                func="RAISE EXCEPTION 'A notice that is done stays as it is.' USING ERRCODE = 'restrict_violation';",
            ),
        )

    def __str__(self) -> str:
        return f"Notice {self.pk}: {self.kind} to {self.recipient}"
