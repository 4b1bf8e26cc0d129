"""Lots: the blocks of credits that a wallet consists of.

Every credit sits in a lot, which knows where it came from, what one credit of it is worth in the book currency, when it
expires and how soon it is spent. Burn order: priority, then soonest expiry, then promotional before paid, then oldest.

What a wallet owes is a lot as well: the overdraft lot goes negative, at most to its `credit_limit`, and the next
deposit settles it first.

`value_remaining` is the revenue still deferred on the lot. It starts as `value`, each entry takes its part, and the
entry that empties a lot takes the rest, so that no fraction is lost or left behind.
"""

import pgtrigger
from django.db import models
from django.db.models import ExpressionWrapper, Q

from billing.models.fields import credits_field, money_field
from billing.models.payment import Payment
from billing.models.wallet import Wallet
from config.base.models import never_truncated


class LotKind(models.TextChoices):
    PAID = "paid"  # bought: its value is deferred revenue until spent
    PROMOTIONAL = "promotional"  # given: worth nothing in the books
    OVERDRAFT = "overdraft"  # owed: zero or negative


class Lot(models.Model):
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="lots")
    kind = models.CharField(max_length=12, choices=LotKind.choices)
    granted = credits_field(help_text="Credits put into the lot when it was made.")
    remaining = credits_field(default=0, editable=False)
    credit_limit = credits_field(default=0, help_text="How far an overdraft lot may go below zero.")
    unit_value = money_field(help_text="Book currency per credit.")
    value = money_field(help_text="Book currency that the whole lot stands for.")
    value_remaining = money_field(default=0, editable=False)
    priority = models.PositiveSmallIntegerField(default=50, help_text="1 is spent first, 100 last.")
    expires_at = models.DateTimeField(null=True, blank=True)
    payment = models.ForeignKey(Payment, null=True, blank=True, on_delete=models.PROTECT, related_name="lots")
    note = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    # An index on `remaining` itself would make every charge write the index; this flips only when a lot runs empty.
    is_open = models.GeneratedField(
        expression=ExpressionWrapper(~Q(remaining=0), output_field=models.BooleanField()),
        output_field=models.BooleanField(),
        db_persist=True,
    )

    class Meta:
        indexes = (models.Index(fields=("expires_at",), condition=Q(is_open=True, expires_at__isnull=False), name="lot_to_expire"),)
        constraints = (
            models.CheckConstraint(condition=Q(kind__in=LotKind.values), name="lot_kind_is_known"),
            models.CheckConstraint(
                condition=Q(kind=LotKind.OVERDRAFT, remaining__lte=0, granted=0, value=0) & Q(remaining__gte=models.F("credit_limit") * -1)
                | ~Q(kind=LotKind.OVERDRAFT) & Q(remaining__gte=0, remaining__lte=models.F("granted"), credit_limit=0),
                name="lot_is_neither_overspent_nor_overfull",
            ),
            models.CheckConstraint(
                condition=Q(kind=LotKind.OVERDRAFT) | Q(remaining__gt=0) | Q(value_remaining=0),
                name="lot_empty_holds_no_value",
            ),
            models.CheckConstraint(
                condition=Q(kind=LotKind.OVERDRAFT) | Q(value_remaining__gte=0, value_remaining__lte=models.F("value")),
                name="lot_value_is_within_its_bounds",
            ),
            models.CheckConstraint(condition=Q(unit_value__gte=0), name="lot_unit_value_is_not_negative"),
            models.CheckConstraint(condition=Q(priority__gte=1, priority__lte=100), name="lot_priority_is_1_to_100"),
            models.UniqueConstraint(fields=("wallet",), condition=Q(kind=LotKind.OVERDRAFT), name="lot_one_overdraft_per_wallet"),
        )
        triggers = (
            pgtrigger.Trigger(
                name="remaining_moves_by_entries",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "((OLD.remaining, OLD.value_remaining) IS DISTINCT FROM (NEW.remaining, NEW.value_remaining)"
                    " AND pg_trigger_depth() = 0)"
                ),
                func="RAISE EXCEPTION 'What is left of a lot moves by ledger entries: write one of those.';",
            ),
            pgtrigger.Trigger(
                name="origin_is_kept",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "((OLD.wallet_id, OLD.kind, OLD.granted, OLD.unit_value, OLD.value, OLD.payment_id, OLD.created_at)"
                    " IS DISTINCT FROM"
                    " (NEW.wallet_id, NEW.kind, NEW.granted, NEW.unit_value, NEW.value, NEW.payment_id, NEW.created_at))"
                ),
                func="RAISE EXCEPTION 'Where a lot came from and what it is worth never changes: write an adjustment.';",
            ),
            pgtrigger.Trigger(
                name="starts_empty",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.remaining <> 0 OR NEW.value_remaining <> 0"),
                func="RAISE EXCEPTION 'A lot starts empty: its first ledger entry fills it.';",
            ),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            never_truncated(),
        )

    def __str__(self) -> str:
        return f"Lot {self.pk} ({self.get_kind_display()})"
