"""Speaking to the database behind the program's back, as a superuser with psql would."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction


def execute(statement: str, *values: Any) -> int:
    """Run one statement; return how many rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)


@contextmanager
def refused(reason: str) -> Iterator[None]:
    """Expect the database to refuse what is inside, and to say `reason`."""
    with pytest.raises(DatabaseError, match=reason), transaction.atomic():
        yield


def is_superuser() -> bool:
    """Say whether these tests prove what they claim: that a superuser is refused as well."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        return bool(cursor.fetchone()[0])
