"""A company whose app calls the API: a project with a key, an event type at 4 credits, a customer with 100 credits.

The flusher has a connection of its own and sees only what is committed. So these tests commit, each to a project of its
own, and the tables are emptied once, behind the last of them.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from billing.models import Environment, LedgerEntry, Project, Scope, UsageRecord, Wallet
from billing.services import keys
from tests.api.client import Api
from tests.api.live import web  # noqa: F401 - a fixture of these tests
from tests.billing.factories import ProjectFactory, a_caller, a_price, a_wallet


@pytest.fixture(scope="package")
def committed_db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Let the tests of this folder commit; empty the database when they are done, and send the flusher's session home.

    It is the test database where other tests of the run have made one, else the throw-away server's own.
    """
    with django_db_blocker.unblock():
        call_command("migrate", verbosity=0, interactive=False)
        a_price("4", now=timezone.now())
        yield
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        call_command("flush", verbosity=0, interactive=False)


@pytest.fixture
def project(committed_db: None) -> Project:
    return ProjectFactory.create()


@pytest.fixture
def key_for(project: Project) -> Callable[..., Api]:
    """Make a key of the project and speak with it."""

    def make(*scopes: Scope, environment: Environment = Environment.PRODUCTION, **options: Any) -> Api:
        issued = keys.issue(
            project=project, name="tests", scopes=list(scopes or Scope), environment=environment, now=timezone.now(), **options
        )
        return Api(issued.token)

    return make


@pytest.fixture
def wallet(project: Project) -> Wallet:
    return a_wallet(a_caller(project), credits="100", now=timezone.now())


@pytest.fixture
def api(key_for: Callable[..., Api], wallet: Wallet) -> Api:
    """The app of the company, in production, with every scope."""
    return key_for()


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def an_event(key: str, **fields: Any) -> dict[str, Any]:
    """The body of one chat.reply of user_42."""
    return {"event": "chat.reply", "customer": "user_42", "idempotency_key": key} | fields


def charges(project: Project) -> int:
    """How often the project was charged; each charge has its record."""
    count = LedgerEntry.objects.filter(project=project, kind="charge").values("transaction_id").distinct().count()
    assert UsageRecord.objects.filter(project=project, customer__isnull=False).count() == count
    return count


def counts() -> dict[str, int]:
    """Rows per table, of all tables of ours."""
    found = {}
    with connection.cursor() as cursor:
        for model in apps.get_models():
            if model._meta.app_label in {"billing", "pricing", "base"} and model._meta.managed:
                cursor.execute(f'SELECT count(*) FROM "{model._meta.db_table}"')
                found[model._meta.db_table] = cursor.fetchone()[0]
    return found
