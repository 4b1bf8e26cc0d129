"""Unapplied payments: money that came in for an order and was not credited, because it was not what was ordered.

Either something else was paid than was ordered, or what was ordered was paid a second time. A person decides: the money
goes back, or, where the currency is the order's, credits are given in proportion and the order becomes what was paid.
"""

from typing import Final

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing.models.fields import credits_field, history, money_field
from billing.models.topup import TopUp
from config.base.models import never_truncated


class UnappliedKind(models.TextChoices):
    OTHERWISE = "otherwise", "Paid otherwise"  # another amount or currency; the order has no deposit
    AGAIN = "again", "Paid again"  # by another payment, after the order had its own


class UnappliedState(models.TextChoices):
    OPEN = "open", "Waits for a decision"  # also while its refund is on the way
    ASKED = "asked", "Credit waits for approval"
    CREDITED = "credited", "Credited"  # the end: it is the order's payment now
    RETURNED = "returned", "Sent back"  # open again should the refund fail
    CLOSED = "closed", "Closed"  # there was no money to send back


# What came in, and what had been ordered: the columns that never change.
_FACTS: Final = (
    *("topup_id", "kind", "payment_intent", "amount_minor", "currency", "arrived_at"),
    *("ordered_minor", "ordered_credits", "ordered_bonus_credits", "ordered_value"),
)


class UnappliedPayment(models.Model):
    """One such payment. The figures of the order are those before it became what was paid."""

    topup = models.ForeignKey(TopUp, on_delete=models.PROTECT, related_name="unapplied")
    kind = models.CharField(max_length=9, choices=UnappliedKind.choices)
    payment_intent = models.CharField(max_length=255, blank=True, help_text="Empty where Stripe named no payment.")
    charge = models.CharField(max_length=255, blank=True)
    amount_minor = models.BigIntegerField(help_text="What came in, in the smallest unit of its currency.")
    currency = models.CharField(max_length=3)
    arrived_at = models.DateTimeField(help_text="When it was heard of here.")
    ordered_minor = models.BigIntegerField()
    ordered_credits = credits_field()
    ordered_bonus_credits = credits_field()
    ordered_value = money_field()
    state = models.CharField(max_length=8, choices=UnappliedState.choices, default=UnappliedState.OPEN)
    credits = credits_field(null=True, blank=True, help_text="What is credited for it, in proportion to the order.")
    bonus_credits = credits_field(null=True, blank=True)
    book_value = money_field(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    needs_approval = models.BooleanField(default=False)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_reason = models.CharField(max_length=500, blank=True)
    changed_at = models.DateTimeField()
    history = history()

    class Meta:
        indexes = (
            models.Index(fields=("id",), condition=Q(state__in=["open", "asked"]), name="unapplied_waiting"),
            models.Index(fields=("charge",), condition=~Q(charge=""), name="unapplied_by_charge"),
        )
        constraints = (
            models.CheckConstraint(condition=Q(kind__in=UnappliedKind.values), name="unapplied_kind_is_known"),
            models.CheckConstraint(condition=Q(state__in=UnappliedState.values), name="unapplied_state_is_known"),
            models.CheckConstraint(condition=Q(amount_minor__gte=0), name="unapplied_is_not_negative"),
            models.UniqueConstraint(fields=("payment_intent",), condition=~Q(payment_intent=""), name="unapplied_payment_is_known_once"),
            models.UniqueConstraint(fields=("topup",), condition=Q(kind="otherwise"), name="unapplied_otherwise_is_one"),
            models.CheckConstraint(
                condition=~Q(state__in=["asked", "credited"])
                | Q(
                    kind="otherwise",
                    credits__gt=0,
                    bonus_credits__gte=0,
                    book_value__gt=0,
                    requested_by__isnull=False,
                    requested_at__isnull=False,
                )
                & ~Q(reason=""),
                name="unapplied_credit_is_asked_for",
            ),
            models.CheckConstraint(
                condition=~Q(state="credited") | Q(needs_approval=False) | Q(decided_by__isnull=False, decided_at__isnull=False),
                name="unapplied_above_the_limit_is_approved",
            ),
            # An empty `decided_by` makes this unknown, which a check lets pass.
            models.CheckConstraint(condition=~Q(decided_by=F("requested_by")), name="unapplied_decider_did_not_ask"),
        )
        triggers = (
            pgtrigger.Trigger(
                name="facts_are_kept",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    f"(ROW({', '.join(f'OLD.{name}' for name in _FACTS)})"
                    f" IS DISTINCT FROM ROW({', '.join(f'NEW.{name}' for name in _FACTS)})"
                    " OR OLD.charge <> '' AND NEW.charge <> OLD.charge"
                    " OR OLD.state IN ('credited', 'closed') AND NEW.state <> OLD.state)"
                ),
                func="RAISE EXCEPTION 'What came in never changes, and what was decided about it is decided once.';",
            ),
            pgtrigger.Trigger(
                name="is_credited_or_returned",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                condition=pgtrigger.Condition("(NEW.state IN ('asked', 'credited'))"),
                func="""
                    IF EXISTS (
                        SELECT FROM billing_topuprefund WHERE unapplied_id = NEW.id AND state NOT IN ('failed', 'rejected')
                    ) THEN
                        RAISE EXCEPTION 'This money goes back already: it cannot be credited as well.';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            never_truncated(),
        )

    def __str__(self) -> str:
        return f"Payment {self.payment_intent or self.pk} outside {self.topup}"
