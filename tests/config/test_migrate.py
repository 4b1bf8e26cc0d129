"""`manage.py migrate` beside a desk that is open: it takes its time, and keeps nobody waiting for a lock."""

import io
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.models.signals import pre_migrate

from config.base.live_migration import AddIndexBesideWriters
from config.management.commands import migrate

pytestmark = pytest.mark.django_db(transaction=True)
TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
INDEX = "entry_by_one_person"


@pytest.fixture
def somebody() -> Iterator[psycopg.Connection[Any]]:
    """Another session on the same database."""
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": psycopg.Cursor, "context": None}) as session:
        yield session


def timeouts() -> list[str]:
    with connection.cursor() as cursor:
        return [cursor.execute(f"SHOW {name}").fetchone()[0] for name in TIMEOUTS]


def index_is_valid() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [INDEX])
        return cursor.fetchone()


def test_a_release_has_no_statement_timeout_and_a_request_has_its_own_again() -> None:
    seen = []

    def look(**_: Any) -> None:
        seen.append(timeouts())

    before = timeouts()
    pre_migrate.connect(look)
    try:
        call_command("migrate", verbosity=0)
    finally:
        pre_migrate.disconnect(look)
    assert seen[0] == ["0", migrate.LOCK_TIMEOUT, "0"]
    assert timeouts() == before == ["5s", "3s", "10s"]


class TestALockThatSomebodyElseHas:
    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(migrate._TIMEOUTS, "lock_timeout", "50ms")
        monkeypatch.setattr(migrate, "LOCK_TIMEOUT", "50ms")
        monkeypatch.setattr(migrate, "ATTEMPTS", 2)
        monkeypatch.setattr(migrate, "PAUSE_SECONDS", 0)

    def test_is_given_up_on_with_words_that_name_who_has_it(self, somebody: psycopg.Connection[Any]) -> None:
        somebody.execute("LOCK TABLE django_migrations")
        with pytest.raises(CommandError) as refusal:
            call_command("migrate", verbosity=0, stderr=io.StringIO())
        assert "locked by somebody else, 2 times" in str(refusal.value)
        assert f"process {somebody.info.backend_pid} of" in str(refusal.value)
        assert timeouts() == ["5s", "3s", "10s"]

    def test_is_asked_for_again(self, somebody: psycopg.Connection[Any]) -> None:
        class Heard(io.StringIO):
            def write(self, text: str) -> int:
                somebody.rollback()  # who was in the way has read it, and lets go
                return super().write(text)

        somebody.execute("LOCK TABLE django_migrations")
        said = Heard()
        call_command("migrate", verbosity=0, stderr=said)
        assert "trying again" in said.getvalue()

    def test_other_failures_are_not_tried_again(self) -> None:
        def fail(**_: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = '1ms'; SELECT pg_sleep(1)")

        said = io.StringIO()
        pre_migrate.connect(fail)
        try:
            with pytest.raises(OperationalError, match="statement timeout"):
                call_command("migrate", verbosity=0, stderr=said)
        finally:
            pre_migrate.disconnect(fail)
        assert said.getvalue() == ""


class TestAnIndexBesideWriters:
    def build(self) -> None:
        loader = MigrationLoader(connection)
        migration = loader.get_migration("billing", "0011_large_tables")
        before = loader.project_state([("billing", "0010_entries_undone")])
        operation = migration.operations[-1]
        assert isinstance(operation, AddIndexBesideWriters)
        after = before.clone()
        operation.state_forwards("billing", after)
        with connection.schema_editor(atomic=False) as editor:
            operation.database_forwards("billing", editor, before, after)

    def test_that_was_broken_off_is_built_anew(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", [INDEX])
        assert index_is_valid() == (False,)
        self.build()
        assert index_is_valid() == (True,)
        assert timeouts() == ["5s", "3s", "10s"]

    def test_that_is_missing_is_built_and_one_that_is_there_stays(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX {INDEX}")
        self.build()
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s)::oid", [INDEX])
            (built,) = cursor.fetchone()
            self.build()
            cursor.execute("SELECT to_regclass(%s)::oid", [INDEX])
            assert cursor.fetchone() == (built,)


def test_tables_that_grow_with_every_charge_are_changed_beside_their_writers() -> None:
    """Since the first release: an index CONCURRENTLY, a constraint NOT VALID and validated in a migration of its own."""
    large = {"ledgerentry", "usagerecord", "idempotencykey", "payment", "lot", "wallet"}
    holding_up = [
        f"{name}: {operation.describe()}"
        for (app, name), migration in MigrationLoader(None).disk_migrations.items()
        for operation in migration.operations
        if app == "billing" and name > "0002_rerating"
        if type(operation).__name__ in {"AddIndex", "AddConstraint", "ValidateConstraint"} and migration.atomic
        if getattr(operation, "model_name", "").lower() in large
    ]
    assert holding_up == []
