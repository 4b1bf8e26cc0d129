"""Create the one workspace row, with the defaults that an operator changes in the admin."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def create(apps: StateApps, _editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("pricing", "Workspace").objects.get_or_create(pk=1)


class Migration(migrations.Migration):
    dependencies = [("pricing", "0001_workspace")]
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
