"""Holds: credits set aside for an action that is still running.

A hold is captured by the event that ends the action, released by the app, or expires by itself. While it is open its
credits count as held in the wallet and cannot be spent by anything else; they do not expire either.
"""

import pgtrigger
from django.db import models
from django.db.models import Q

from billing.models.api_key import ApiKey
from billing.models.fields import balance_field, credits_field
from billing.models.owner import Project
from billing.models.wallet import Wallet
from config.base.models import never_truncated


class HoldStatus(models.TextChoices):
    OPEN = "open"
    CAPTURED = "captured"  # ended by an event, for less, the same or more than was held
    RELEASED = "released"  # given back by the app or an operator
    EXPIRED = "expired"  # given back by time


_MOVE_HELD = """
    UPDATE billing_wallet w SET held = w.held + d.credits
    FROM ({deltas}) d WHERE w.id = d.wallet_id AND d.credits <> 0;
    RETURN NULL;
"""
_OPEN_CREDITS = "SELECT wallet_id, sum(credits) FILTER (WHERE status = 'open') AS credits FROM {table} GROUP BY wallet_id"


class Hold(models.Model):
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    api_key = models.ForeignKey(ApiKey, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="holds")
    event_type = models.ForeignKey("pricing.EventType", on_delete=models.PROTECT, related_name="+")
    quantity = credits_field(null=True, blank=True)
    credits = credits_field()
    status = models.CharField(max_length=8, choices=HoldStatus.choices, default=HoldStatus.OPEN)
    captured_credits = credits_field(null=True, blank=True)
    usage_record_id = models.BigIntegerField(null=True, blank=True)
    # What the wallet had left when the hold was placed: the answer to a repeated call.
    available_after = balance_field()
    request_id = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    # A repeated call answers what the first one did, so an extension is kept apart from the first term.
    first_expires_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        permissions = (("release_hold", "Can release a hold"),)
        indexes = (models.Index(fields=("wallet", "expires_at"), condition=Q(status="open"), name="hold_open_by_expiry"),)
        constraints = (
            models.CheckConstraint(condition=Q(status__in=HoldStatus.values), name="hold_status_is_known"),
            models.CheckConstraint(condition=Q(credits__gt=0), name="hold_sets_credits_aside"),
            models.CheckConstraint(
                condition=Q(status=HoldStatus.OPEN, ended_at__isnull=True) | ~Q(status=HoldStatus.OPEN) & Q(ended_at__isnull=False),
                name="hold_ends_when_it_is_not_open",
            ),
            models.CheckConstraint(
                condition=Q(status=HoldStatus.CAPTURED, usage_record_id__isnull=False, captured_credits__isnull=False)
                | ~Q(status=HoldStatus.CAPTURED) & Q(usage_record_id__isnull=True, captured_credits__isnull=True),
                name="hold_captured_names_its_record",
            ),
        )
        triggers = (
            pgtrigger.Trigger(
                name="sets_aside",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                referencing=pgtrigger.Referencing(new="new_holds"),
                func=_MOVE_HELD.format(deltas=_OPEN_CREDITS.format(table="new_holds")),
            ),
            pgtrigger.Trigger(
                name="gives_back",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Update,
                referencing=pgtrigger.Referencing(old="old_holds", new="new_holds"),
                func=_MOVE_HELD.format(
                    deltas="SELECT wallet_id, sum(credits) AS credits FROM ("
                    "SELECT wallet_id, credits FROM new_holds WHERE status = 'open' UNION ALL "
                    "SELECT wallet_id, -credits FROM old_holds WHERE status = 'open') moves GROUP BY wallet_id"
                ),
            ),
            pgtrigger.Trigger(
                name="ends_once",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "(OLD.status <> 'open' OR (OLD.wallet_id, OLD.credits, OLD.created_at) IS DISTINCT FROM"
                    " (NEW.wallet_id, NEW.credits, NEW.created_at))"
                ),
                func="RAISE EXCEPTION 'A hold that has ended stays as it is, and an open one keeps its credits.';",
            ),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            never_truncated(),
        )

    def __str__(self) -> str:
        return f"Hold {self.pk}"
