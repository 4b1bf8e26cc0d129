"""What all tests share: a database that is really committed to, caches emptied in between, the real input if it is there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver

from billing.queries import budget_book
from billing.services import keys
from pricing import price_book
from tests.stripe_desk import simulation, stripe_desk

__all__ = ("simulation", "stripe_desk")  # fixtures for all tests


@receiver(connection_created)
def _may_empty_tables(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Let the end of a test empty the tables that nobody else may empty."""
    with connection.cursor() as cursor:
        cursor.execute("SET meterdesk.may_truncate = 'on'")


@pytest.fixture(autouse=True)
def _empty_caches() -> Iterator[None]:
    """Forget what a process remembers: a database that is emptied between tests starts its generations anew."""
    keys.forget_all()
    price_book.forget()
    budget_book.forget()
    yield
    keys.forget_all()
    price_book.forget()
    budget_book.forget()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real traces, price feeds and payment objects, where the project has been given one."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no folder of real input beside the project")
    return folder
