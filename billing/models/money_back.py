"""Money that goes back to buyers: refunds of top-ups, and disputes that their banks opened.

Both take credits out of the wallet as soon as the money leaves our balance at Stripe, and both put back exactly those
when it returns: a refund that fails, a dispute that is won. `withdrawal` names the ledger's transaction, and what gave
the credits back reverses its entries.
"""

import pgtrigger
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from billing.models.fields import credits_field
from billing.models.topup import TopUp
from billing.models.unapplied_payment import UnappliedPayment
from config.base.models import never_truncated


class RefundState(models.TextChoices):
    REQUESTED = "requested", "Waits for approval"
    APPROVED = "approved", "To be sent"  # decided; Stripe has not answered yet
    PENDING = "pending", "Under way"  # the credits have left the wallet
    SUCCEEDED = "succeeded", "Paid back"
    FAILED = "failed", "Failed"  # the credits are back in the wallet
    REJECTED = "rejected", "Rejected"


class TopUpRefund(models.Model):
    """Money given back for a top-up, whole or in part. One that was made in Stripe's own dashboard has no requester."""

    topup = models.ForeignKey(TopUp, on_delete=models.PROTECT, related_name="refunds")
    unapplied = models.ForeignKey(
        UnappliedPayment,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="refunds",
        help_text="The payment outside the order that goes back; empty: the order's own.",
    )
    stripe_id = models.CharField(max_length=255, blank=True)
    amount_minor = models.BigIntegerField(help_text="In the smallest unit of the payment's currency.")
    credits = credits_field(default=0, help_text="Taken out of the wallet for it, what is owed since included.")
    state = models.CharField(max_length=9, choices=RefundState.choices)
    reason = models.CharField(max_length=500, blank=True)
    failure = models.CharField(max_length=500, blank=True)
    withdrawal = models.BigIntegerField(null=True, blank=True, help_text="The ledger's transaction that took the credits.")
    given_back = models.BigIntegerField(null=True, blank=True, help_text="The one that put them back.")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    decision_reason = models.CharField(max_length=500, blank=True)
    needs_approval = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        verbose_name = "refund of a top-up"
        verbose_name_plural = "refunds of top-ups"
        permissions = (("approve_refund", "Can approve refunds of top-ups"),)
        indexes = (
            models.Index(fields=("changed_at",), condition=Q(state__in=["approved", "pending"]), name="topup_refund_under_way"),
            models.Index(fields=("id",), condition=Q(state="requested"), name="topup_refund_requested"),
        )
        constraints = (
            models.CheckConstraint(condition=Q(state__in=RefundState.values), name="topup_refund_state_is_known"),
            models.CheckConstraint(condition=Q(amount_minor__gt=0, credits__gte=0), name="topup_refund_is_positive"),
            models.UniqueConstraint(fields=("stripe_id",), condition=~Q(stripe_id=""), name="topup_refund_is_known_once"),
            models.CheckConstraint(
                condition=Q(decided_by__isnull=True) | Q(requested_by__isnull=True) | ~Q(decided_by=F("requested_by")),
                name="topup_refund_decider_did_not_request",
            ),
            models.CheckConstraint(
                condition=Q(needs_approval=False) | Q(state__in=["requested", "rejected"]) | Q(decided_by__isnull=False),
                name="topup_refund_above_the_limit_is_approved",
            ),
            models.CheckConstraint(
                condition=Q(given_back__isnull=True) | Q(withdrawal__isnull=False), name="topup_refund_gives_back_what_it_took"
            ),
            # What was never credited takes no credits along.
            models.CheckConstraint(
                condition=Q(unapplied__isnull=True) | Q(withdrawal__isnull=True), name="topup_refund_takes_what_it_gave"
            ),
        )
        triggers = (
            pgtrigger.Trigger(
                name="amount_is_kept",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "((OLD.topup_id, OLD.unapplied_id, OLD.amount_minor, OLD.needs_approval, OLD.requested_by_id, OLD.created_at)"
                    " IS DISTINCT FROM"
                    " (NEW.topup_id, NEW.unapplied_id, NEW.amount_minor, NEW.needs_approval, NEW.requested_by_id, NEW.created_at)"
                    " OR OLD.withdrawal IS NOT NULL AND NEW.withdrawal IS DISTINCT FROM OLD.withdrawal"
                    " OR OLD.given_back IS NOT NULL AND NEW.given_back IS DISTINCT FROM OLD.given_back)"
                ),
                func="RAISE EXCEPTION 'What was refunded, and what it moved in the ledger, never changes.';",
            ),
            pgtrigger.Trigger(
                name="is_of_what_was_not_credited",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("(NEW.unapplied_id IS NOT NULL)"),
                func="""
                    IF NOT EXISTS (
                        SELECT FROM billing_unappliedpayment
                        WHERE id = NEW.unapplied_id AND topup_id = NEW.topup_id AND state <> 'credited'
                    ) THEN
                        RAISE EXCEPTION 'This payment was credited: refund the top-up.';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            never_truncated(),
        )

    def __str__(self) -> str:
        return f"Refund {self.pk} of {self.topup}"

    @property
    def currency(self) -> str:
        """The currency of the payment that goes back."""
        return self.unapplied.currency if self.unapplied else self.topup.currency

    @property
    def payment_intent(self) -> str:
        """Stripe's id of the payment that goes back."""
        return self.unapplied.payment_intent if self.unapplied else self.topup.payment_intent

    @property
    def withdrawals(self) -> list[int]:
        """The ledger's transactions that took credits for it: at most one, since a refund that failed never comes back."""
        return [] if self.withdrawal is None else [self.withdrawal]

    def took(self, transaction_id: int) -> None:
        """Name what took its credits."""
        self.withdrawal = transaction_id


class DisputeState(models.TextChoices):
    WARNING = "warning", "Inquiry"  # the bank asks; no money has moved
    OPEN = "open", "Open"  # the money is gone for now, and the credits with it
    WON = "won", "Won"  # both are back
    LOST = "lost", "Lost"  # both stay gone
    CLOSED = "closed", "Closed without loss"  # prevented, or an inquiry that came to nothing


class Dispute(models.Model):
    """A payment that a bank took back: as Stripe had it at `told_at`.

    `withdrawal` and `given_back` are the last ones: a dispute that was won and is lost later takes its credits again.
    """

    stripe_id = models.CharField(max_length=255, unique=True)
    topup = models.ForeignKey(TopUp, on_delete=models.PROTECT, related_name="disputes")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    stripe_status = models.CharField(max_length=40, help_text="In Stripe's own word.")
    reason = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=7, choices=DisputeState.choices)
    credits = credits_field(default=0, help_text="Taken out of the wallet for it, what is owed since included.")
    has_frozen = models.BooleanField(default=False, help_text="The wallet was frozen for it, and is released with it.")
    withdrawal = models.BigIntegerField(null=True, blank=True)
    given_back = models.BigIntegerField(null=True, blank=True)
    earlier_withdrawals = ArrayField(models.BigIntegerField(), default=list, blank=True)
    told_at = models.DateTimeField(help_text="By Stripe's clock. What it said before counts no more.")
    movement_count = models.PositiveSmallIntegerField(default=0, help_text="Of the money, that Stripe knew of by then.")
    evidence_due_at = models.DateTimeField(null=True, blank=True)
    opened_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=("id",), condition=Q(state__in=["warning", "open"]), name="dispute_open"),)
        constraints = (
            models.CheckConstraint(condition=Q(state__in=DisputeState.values), name="dispute_state_is_known"),
            models.CheckConstraint(condition=Q(amount_minor__gte=0, credits__gte=0), name="dispute_is_not_negative"),
            models.CheckConstraint(
                condition=Q(given_back__isnull=True) | Q(withdrawal__isnull=False), name="dispute_gives_back_what_it_took"
            ),
        )
        triggers = (
            pgtrigger.Trigger(
                name="withdrawals_are_kept",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "((OLD.stripe_id, OLD.topup_id, OLD.opened_at) IS DISTINCT FROM (NEW.stripe_id, NEW.topup_id, NEW.opened_at)"
                    " OR NEW.earlier_withdrawals IS DISTINCT FROM CASE"
                    " WHEN OLD.withdrawal IS NULL OR NEW.withdrawal IS NOT DISTINCT FROM OLD.withdrawal THEN OLD.earlier_withdrawals"
                    " ELSE OLD.earlier_withdrawals || OLD.withdrawal END"
                    " OR OLD.withdrawal IS NOT NULL AND NEW.withdrawal IS NULL"
                    " OR NEW.told_at < OLD.told_at)"
                ),
                func="RAISE EXCEPTION 'What a dispute moved in the ledger never changes, and it only follows later news.';",
            ),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            never_truncated(),
        )

    def __str__(self) -> str:
        return f"Dispute {self.stripe_id}"

    @property
    def withdrawals(self) -> list[int]:
        """The ledger's transactions that took credits for it, the last one last."""
        return [*self.earlier_withdrawals, *([] if self.withdrawal is None else [self.withdrawal])]

    def took(self, transaction_id: int) -> None:
        """Name what took its credits, again perhaps."""
        self.earlier_withdrawals = self.withdrawals
        self.withdrawal = transaction_id
