"""Generations: how a process knows, inside a transaction, that what it has cached is still so.

Prices, keys and event types are read on every charge and change a few times a week, so processes cache them. A cache
remembers the generation that it was loaded at; the database sets a new one in the very transaction that changes a row (a
trigger, so nothing can forget it), and the charge compares before it writes. A generation never comes again, not even after
a fail-over to a replica that had missed the last one: it is a random number, not a count.
"""

import pgtrigger
from django.db import models


class Generation(models.Model):
    """The present generation of the tables that share a name."""

    name = models.CharField(primary_key=True, max_length=32)
    value = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name} {self.value}"


def raises_generation(name: str, *, of: tuple[str, ...] = ()) -> pgtrigger.Trigger:
    """Build the trigger that raises generation `name` when a row of the model changes (an update only `of` these columns)."""
    changes = pgtrigger.Insert | pgtrigger.Delete | (pgtrigger.UpdateOf(*of) if of else pgtrigger.Update)
    return pgtrigger.Trigger(
        name=f"raises_{name}",
        level=pgtrigger.Statement,
        when=pgtrigger.After,
        operation=changes,
        func=f"""
            INSERT INTO base_generation (name, value) VALUES ('{name}', hashtextextended(gen_random_uuid()::text, 0))
            ON CONFLICT (name) DO UPDATE SET value = excluded.value;
            RETURN NULL;
        """,
    )


def append_only() -> pgtrigger.Protect:
    """Build the trigger that refuses to change or delete a row, for superusers too."""
    return pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)


def never_truncated() -> pgtrigger.Trigger:
    """Build the trigger that refuses to empty the table, which no row trigger would see.

    A session that says `SET meterdesk.may_truncate = 'on'` first may: tests empty their own database.
    """
    return pgtrigger.Trigger(
        name="never_truncated",
        level=pgtrigger.Statement,
        when=pgtrigger.Before,
        operation=pgtrigger.Truncate,
        func="""
            IF current_setting('meterdesk.may_truncate', true) IS DISTINCT FROM 'on' THEN
                RAISE EXCEPTION 'These rows are kept for good: the table is never emptied.';
            END IF;
            RETURN NULL;
        """,
    )
