"""Effective-dated rows that never change: what PostgreSQL enforces about them, for superusers too.

A price that was charged and a rate that was paid are facts. The one change that such a row allows is to end it: its
`effective_to` goes from null to a moment, once. Two rows of one owner are never valid at the same time.
"""

from functools import reduce
from operator import and_

import pgtrigger
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import BigIntegerRangeField, DateTimeRangeField, RangeOperators
from django.db.models import CheckConstraint, F, Func, Q, Value

from config.base.database import EARLIEST, LATEST


def immutable(noun: str, remedy: str) -> pgtrigger.Trigger:
    """Build the trigger that refuses every delete, and every update but the one that ends the row."""
    return pgtrigger.Trigger(
        name="immutable",
        when=pgtrigger.Before,
        operation=pgtrigger.Update | pgtrigger.Delete,
        func=f"""
            IF TG_OP = 'UPDATE' AND OLD.effective_to IS NULL AND NEW.effective_to IS NOT NULL
                AND to_jsonb(NEW) - 'effective_to' = to_jsonb(OLD) - 'effective_to'
            THEN RETURN NEW; END IF;
            RAISE EXCEPTION 'A {noun} never changes: only its open end may be set, once.'
                USING ERRCODE = 'restrict_violation', HINT = '{remedy}';
        """,
    )


def no_overlap(name: str, owner: str, *, condition: Q | None = None) -> ExclusionConstraint:
    """Build the constraint that two rows of one `owner` are never valid at the same moment; with `condition`, of such rows.

    The owner's id goes in as a range of one, because equality in a GiST index would need the extension btree_gist.
    """
    identity = Func(F(owner), F(owner), Value("[]"), function="int8range", output_field=BigIntegerRangeField())
    period = Func(F("effective_from"), F("effective_to"), function="tstzrange", output_field=DateTimeRangeField())
    return ExclusionConstraint(
        name=name,
        expressions=[(identity, RangeOperators.OVERLAPS), (period, RangeOperators.OVERLAPS)],
        condition=condition,
        violation_error_message="Another one is already valid in this period.",
    )


def is_in_range(name: str, *fields: str) -> CheckConstraint:
    """Build the constraint that times are in years that everything can read."""
    return CheckConstraint(
        name=name,
        condition=reduce(and_, (Q(**{field: None}) | Q(**{f"{field}__gte": EARLIEST, f"{field}__lt": LATEST}) for field in fields)),
    )


def ends_after_start(name: str) -> CheckConstraint:
    """Build the constraint that a period is open or longer than nothing."""
    return CheckConstraint(name=name, condition=Q(effective_to=None) | Q(effective_to__gt=F("effective_from")))
