"""Idempotency keys: what makes every retry safe, for ever.

A key is unique per project and stored in the same transaction as its effect, with a hash of the body that it came with.
It has a table of its own because usage records are partitioned by time, and a unique key over partitions would need the
time in it. Only successes are stored: what was refused may be tried again.
"""

from django.db import models

from config.base.models import append_only, never_truncated


class Operation(models.TextChoices):
    EVENT = "event"
    REFUND = "refund"
    DEPOSIT = "deposit"
    HOLD = "hold"
    TOPUP = "topup"


class IdempotencyKey(models.Model):
    pk = models.CompositePrimaryKey("project_id", "key")
    project_id = models.BigIntegerField()
    key = models.CharField(max_length=128)
    operation = models.CharField(max_length=8, choices=Operation.choices)
    body_hash = models.BinaryField(max_length=16)
    # The usage record, transaction or hold that the key brought about, and when it occurred (the partition of a record).
    effect_id = models.BigIntegerField()
    occurred_at = models.DateTimeField()

    class Meta:
        triggers = (append_only(), never_truncated())

    def __str__(self) -> str:
        return self.key
