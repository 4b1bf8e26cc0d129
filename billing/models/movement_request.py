"""Requests: movements by hand that are above what one person may move, and wait for a second one.

A request says what is to be moved, for whom and why, and how much its author had moved on that wallet before. Approved, it
is a transaction of the ledger, made in its author's name and naming who approved it; rejected or withdrawn, it is nothing.
"""

from typing import Final

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing.models.fields import balance_field, credits_field
from billing.models.wallet import Wallet
from config.base.exact import grouped
from config.base.models import never_truncated


class MovementKind(models.TextChoices):
    """What people move by hand; the values are those of the entries that come of it."""

    GRANT = "grant", "Grant"
    ADJUSTMENT = "adjustment", "Adjustment"
    TRANSFER = "transfer", "Transfer"
    REFUND = "refund", "Refund of a charge"


class RequestState(models.TextChoices):
    REQUESTED = "requested", "Waiting for a decision"
    APPROVED = "approved", "Approved"  # the credits have moved
    REJECTED = "rejected", "Rejected"
    WITHDRAWN = "withdrawn", "Withdrawn"  # by whoever asked


# What was asked for: the columns that never change.
_FACTS: Final = (
    *("kind", "wallet_id", "to_wallet_id", "credits", "expires_at", "usage_record_id", "reason"),
    *("limit_credits", "moved_credits", "requested_by_id", "requested_at"),
)
_KEEPS_TO_ITS_ROAD: Final = f"""
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'requested' THEN
            RAISE EXCEPTION 'A request begins by waiting for a decision.' USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF ROW({", ".join(f"NEW.{name}" for name in _FACTS)}) IS DISTINCT FROM ROW({", ".join(f"OLD.{name}" for name in _FACTS)}) THEN
        RAISE EXCEPTION 'What was asked for never changes: withdraw it, and ask anew.' USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.state <> 'requested' THEN
        RAISE EXCEPTION 'A request is decided once.' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.state = 'approved' AND NOT EXISTS (
        SELECT FROM billing_ledgerentry e JOIN auth_user author ON author.id = NEW.requested_by_id
        WHERE e.transaction_id = NEW.transaction_id
        HAVING sum(e.credits) FILTER (WHERE e.wallet_id = NEW.wallet_id) = NEW.credits * CASE NEW.kind WHEN 'transfer' THEN -1 ELSE 1 END
           AND coalesce(sum(e.credits) FILTER (WHERE e.wallet_id IS DISTINCT FROM NEW.wallet_id), 0)
               = CASE NEW.kind WHEN 'transfer' THEN NEW.credits ELSE 0 END
           AND bool_and(e.wallet_id = NEW.wallet_id OR e.wallet_id IS NOT DISTINCT FROM NEW.to_wallet_id)
           AND bool_and(e.approved_by_id IS NOT DISTINCT FROM NEW.decided_by_id)
           AND bool_and(e.actor = left('user:' || author.username, 80))
           AND bool_or(e.kind = NEW.kind)
    ) THEN
        RAISE EXCEPTION 'An approved request names the transaction that moved just what was asked for, by its two people.'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
"""


class MovementRequest(models.Model):
    """One movement that waits for a second person, or did."""

    kind = models.CharField(max_length=10, choices=MovementKind.choices)
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="requests")
    to_wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    credits = credits_field(help_text="What is to be moved; of an adjustment that takes credits, negative.")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Of a grant: when its credits end. Empty: never.")
    usage_record_id = models.BigIntegerField(null=True, blank=True, help_text="Of a refund: the event that was charged.")
    reason = models.CharField(max_length=500)
    limit_credits = credits_field(help_text="What one person might move within 24 hours, when this was asked for.")
    moved_credits = balance_field(help_text="What its author had moved on this wallet in the 24 hours before.")
    state = models.CharField(max_length=9, choices=RequestState.choices, default=RequestState.REQUESTED)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    requested_at = models.DateTimeField()
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_reason = models.CharField(max_length=500, blank=True)
    transaction_id = models.BigIntegerField(null=True, blank=True, help_text="The ledger's transaction that it became.")

    class Meta:
        verbose_name = "request"
        permissions = (("decide_movement", "Can approve or reject movements of credits that another person asked for"),)
        indexes = (models.Index(fields=("id",), condition=Q(state="requested"), name="movement_request_waiting"),)
        constraints = (
            models.CheckConstraint(condition=Q(kind__in=MovementKind.values), name="movement_request_kind_is_known"),
            models.CheckConstraint(condition=Q(state__in=RequestState.values), name="movement_request_state_is_known"),
            models.CheckConstraint(condition=Q(credits__gt=0) | Q(kind="adjustment", credits__lt=0), name="movement_request_moves_credits"),
            models.CheckConstraint(
                condition=Q(kind="transfer", to_wallet__isnull=False) & ~Q(to_wallet=F("wallet"))
                | ~Q(kind="transfer") & Q(to_wallet__isnull=True),
                name="movement_request_transfer_names_its_wallets",
            ),
            models.CheckConstraint(
                condition=Q(kind="refund") ^ Q(usage_record_id__isnull=True), name="movement_request_refund_names_its_event"
            ),
            models.CheckConstraint(condition=Q(kind="grant") | Q(expires_at__isnull=True), name="movement_request_grants_expire"),
            models.CheckConstraint(condition=~Q(reason=""), name="movement_request_has_a_reason"),
            # Four eyes. An empty `decided_by` makes this unknown, which a check lets pass; the next one asks for it.
            models.CheckConstraint(condition=~Q(decided_by=F("requested_by")), name="movement_request_decider_did_not_ask"),
            models.CheckConstraint(
                condition=Q(state="requested", decided_by__isnull=True, decided_at__isnull=True, decision_reason="")
                | Q(state="withdrawn", decided_by__isnull=True, decided_at__isnull=False) & ~Q(decision_reason="")
                | Q(state__in=("approved", "rejected"), decided_by__isnull=False, decided_at__isnull=False) & ~Q(decision_reason=""),
                name="movement_request_decision_is_whole",
            ),
            models.CheckConstraint(
                condition=Q(state="approved") ^ Q(transaction_id__isnull=True), name="movement_request_approved_is_in_the_ledger"
            ),
            models.UniqueConstraint(fields=("transaction_id",), name="movement_request_becomes_one_transaction"),
        )
        triggers = (
            pgtrigger.Trigger(
                name="keeps_to_its_road",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                func=_KEEPS_TO_ITS_ROAD,
            ),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            never_truncated(),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {grouped(self.credits)} credits"
