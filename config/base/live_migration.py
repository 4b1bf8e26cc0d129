"""Migration operations for tables that are never quiet: what Django's own lack when they are broken off, or made to wait."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState


class AddIndexBesideWriters(AddIndexConcurrently):
    """Django's own, which can be run again. Needs `atomic = False` on the migration, as that one does.

    A build that was broken off leaves an invalid index under the name; it is dropped and built anew, and a valid one is
    left as it is. A build waits for every transaction that is older than itself, a long report too, and holds nobody up
    while it waits; so `lock_timeout` is not for it.
    """

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Build the index, unless it is there."""
        self._ensure_not_in_transaction(schema_editor)
        name = self.index.name
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(quote_ident(%s))", [name])
            found = cursor.fetchone()
            if found == (True,):
                return
            cursor.execute("SELECT current_setting('lock_timeout')")
            (lock_timeout,) = cursor.fetchone()
            cursor.execute("SET lock_timeout = 0")
            try:
                if found:
                    cursor.execute(f"DROP INDEX CONCURRENTLY {schema_editor.quote_name(name)}")
                super().database_forwards(app_label, schema_editor, from_state, to_state)
            finally:
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", [lock_timeout])
