"""Idempotency of calls that are not events: one key, one effect, stored in the transaction of the effect.

The wallet is locked before the key is looked up, so a retry of a call that is still under way waits for it and then
finds it. Keys of two different wallets can still meet; then the second claim fails and `retrying` looks again.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, connection, transaction

from billing.errors import IdempotencyMismatch
from billing.models import IdempotencyKey, Operation
from billing.services.charging import KeyTaken
from billing.services.replay import MISMATCH


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an app that may be sent again."""

    project_id: int
    key: str
    operation: Operation
    body_hash: bytes


def find_effect(call: Call) -> IdempotencyKey | None:
    """Return what `call` brought about before, or None. Raises IdempotencyMismatch when its key was used for another."""
    found = IdempotencyKey.objects.filter(project_id=call.project_id, key=call.key).first()
    if found and (found.operation != call.operation or bytes(found.body_hash) != call.body_hash):
        raise IdempotencyMismatch(MISMATCH.detail)
    return found


def claim(call: Call, *, effect_id: int, occurred_at: datetime) -> None:
    """Store the key with its effect. Raises KeyTaken when another transaction was first: run the whole call again."""
    try:
        with transaction.atomic():
            IdempotencyKey.objects.create(
                project_id=call.project_id,
                key=call.key,
                operation=call.operation,
                body_hash=call.body_hash,
                effect_id=effect_id,
                occurred_at=occurred_at,
            )
    except IntegrityError as error:
        raise KeyTaken from error


def next_effect_id() -> int:
    """Take a number for a transaction or a hold from the sequence that usage records share."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('billing_effect_seq')")
        return int(cursor.fetchone()[0])
