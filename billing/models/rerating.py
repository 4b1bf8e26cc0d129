"""Re-rating: what usage cost, worked out again after the catalogue of provider rates was filled or corrected.

A usage record never changes. What its cost became is told by **cost adjustments**, each the difference to what was known
before: the cost of a record is its `cost_amount` plus the sum of its adjustments. They are numbered per record, and each
begins where the one before it ended. An adjustment is a new fact: it is recorded when it is found, and ledger entries
keep the provider cost that was known when they were posted.

A run goes through its records in the order of time, chunk by chunk, and remembers how far it is.
"""

from typing import Final

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from billing.models.fields import money_field
from billing.models.usage import CostStatus
from config.base.exact import plain
from config.base.models import append_only, never_truncated


class Basis(models.TextChoices):
    """Which records of the period a run looks at."""

    UNPRICED = "unpriced", "Unpriced records"
    RATES = "rates", "Records costed by certain rates"
    ALL = "all", "All records costed by the catalogue"


_SCOPE: Final = ("basis", "since", "until", "provider", "model", "rate_ids", "reason", "actor", "requested_at")


class Rerating(models.Model):
    """One run: its scope, who asked for it and why, how far it is, and what it has found so far."""

    basis = models.CharField(max_length=8, choices=Basis.choices)
    since = models.DateTimeField(help_text="Records that occurred from then on.")
    until = models.DateTimeField(help_text="And before then.")
    provider = models.CharField(max_length=64, null=True, blank=True, help_text="As apps report it. Empty: any.")  # noqa: DJ001 - '' is a provider that was not told
    model = models.CharField(max_length=128, null=True, blank=True, help_text="As apps report it. Empty: any.")  # noqa: DJ001 - as above
    rate_ids = ArrayField(models.BigIntegerField(), default=list, blank=True)
    reason = models.CharField(max_length=500)
    actor = models.CharField(max_length=80)
    requested_at = models.DateTimeField()
    # How far it is: all before (position_at, position_id) is done.
    position_at = models.DateTimeField()
    position_id = models.BigIntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    examined = models.BigIntegerField(default=0)
    adjusted = models.BigIntegerField(default=0)
    newly_priced = models.BigIntegerField(default=0)
    still_unpriced = models.BigIntegerField(default=0)
    kept = models.BigIntegerField(default=0, help_text="Records with a known cost for which the catalogue has no rate now.")
    by_model = models.JSONField(default=list, help_text="Per provider, model and currency: counts, cost before and after, why not.")

    class Meta:
        verbose_name = "re-rating"
        ordering = ("-id",)
        permissions = (("rerate_usage", "Can re-rate usage"),)
        indexes = (models.Index(fields=("id",), condition=Q(finished_at=None), name="rerating_unfinished"),)
        constraints = (
            models.CheckConstraint(name="rerating_basis_known", condition=Q(basis__in=Basis.values)),
            models.CheckConstraint(name="rerating_period_is_not_empty", condition=Q(until__gt=F("since"))),
            models.CheckConstraint(name="rerating_has_reason_and_actor", condition=~Q(reason="") & ~Q(actor="")),
            models.CheckConstraint(name="rerating_names_its_rates", condition=Q(basis="rates") ^ Q(rate_ids=[])),
        )
        triggers = (
            never_truncated(),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            pgtrigger.Trigger(
                name="only_goes_on",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "OLD.finished_at IS NOT NULL"
                    f" OR ({', '.join(f'OLD.{name}' for name in _SCOPE)}) IS DISTINCT FROM ({', '.join(f'NEW.{name}' for name in _SCOPE)})"
                    " OR (NEW.position_at, NEW.position_id) < (OLD.position_at, OLD.position_id)"
                ),
                func="RAISE EXCEPTION 'A re-rating keeps its scope, only goes on, and stays as it is once it has finished.';",
            ),
        )

    def __str__(self) -> str:
        return f"Re-rating {self.pk}"


_POST_ADJUSTMENTS = """
    IF EXISTS (
        SELECT FROM new_adjustments a
        LEFT JOIN billing_costadjustment p ON p.usage_record_id = a.usage_record_id AND p.number = a.number - 1
        LEFT JOIN billing_usagerecord u ON a.number = 1 AND u.id = a.usage_record_id AND u.occurred_at = a.occurred_at
        WHERE CASE WHEN a.number = 1
            THEN u.id IS NULL OR (u.cost_status, u.cost_amount) IS DISTINCT FROM (a.status_before, a.amount_before)
                OR u.cost_status = 'priced' AND u.cost_currency <> a.currency
            ELSE p.id IS NULL OR (p.status_after, p.amount_after, p.currency, p.occurred_at)
                IS DISTINCT FROM (a.status_before, a.amount_before, a.currency, a.occurred_at)
        END
    ) THEN
        RAISE EXCEPTION 'An adjustment begins where its record, or the adjustment before it, has ended.';
    END IF;
    IF EXISTS (
        SELECT FROM new_adjustments a
        WHERE a.amount_after <> (SELECT coalesce(sum((line->>'amount')::numeric), 0) FROM jsonb_array_elements(a.lines) line)
    ) THEN
        RAISE EXCEPTION 'The lines of an adjustment add up to the cost after it.';
    END IF;
    IF (SELECT min(recorded_at) FROM new_adjustments) < (SELECT max(ends_at) FROM billing_seal) THEN
        RAISE EXCEPTION 'This hour is sealed: an adjustment is recorded when it is found.'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NULL;
"""


class CostAdjustment(models.Model):
    """What a re-rating found that one record cost more, or less, than was known.

    It outlives its record, whose partition may be dropped: the ledger's entry of the charge stays as well.
    """

    rerating = models.ForeignKey(Rerating, on_delete=models.PROTECT, related_name="adjustments", db_index=False)
    usage_record_id = models.BigIntegerField()
    occurred_at = models.DateTimeField(help_text="Of the record.")
    provider = models.CharField(max_length=64, blank=True)
    model = models.CharField(max_length=128, blank=True)
    number = models.PositiveIntegerField()
    status_before = models.CharField(max_length=8, choices=CostStatus.choices)
    status_after = models.CharField(max_length=8, choices=CostStatus.choices)
    amount_before = money_field(null=True)
    amount_after = money_field()
    amount = money_field(help_text="The difference; of a record without a known cost, all of it.")
    currency = models.CharField(max_length=3)
    lines = models.JSONField(help_text="Per unit kind as it is costed now, with the rate.")
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(name="adjustment_number_is_one", fields=("usage_record_id", "number")),
            models.UniqueConstraint(name="adjustment_once_per_rerating", fields=("rerating", "usage_record_id")),
            models.CheckConstraint(name="adjustment_number_positive", condition=Q(number__gte=1)),
            models.CheckConstraint(
                name="adjustment_is_the_difference",
                condition=Q(amount=F("amount_after") - Coalesce(F("amount_before"), 0, output_field=money_field())),
            ),
            # What an app stated is left alone, and a known cost never becomes unknown.
            models.CheckConstraint(
                name="adjustment_of_the_catalogues_cost",
                condition=Q(status_after="priced")
                & (Q(status_before="unpriced", amount_before=None) | Q(status_before="priced", amount_before__isnull=False)),
            ),
            models.CheckConstraint(name="adjustment_changes_something", condition=~Q(amount=0) | Q(status_before="unpriced")),
        )
        triggers = (
            append_only(),
            never_truncated(),
            pgtrigger.Trigger(
                name="post_adjustments",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                referencing=pgtrigger.Referencing(new="new_adjustments"),
                func=_POST_ADJUSTMENTS,
            ),
        )

    def __str__(self) -> str:
        return f"evt_{self.usage_record_id} {plain(self.amount)} {self.currency}"
