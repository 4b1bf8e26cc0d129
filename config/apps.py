"""Makes Celery known to every process, so that `@shared_task` publishes to our Redis, and keeps the roles in step."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ConfigApp(AppConfig):
    name = "config"

    def ready(self) -> None:
        from config import celery, roles  # noqa: F401 - it reads the settings, so not before they are there

        post_migrate.connect(roles.after_migrate, dispatch_uid="roles")
