"""Who pays: customers, projects, keys, wallets, the ledger, metering."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class BillingConfig(AppConfig):
    name = "billing"
    verbose_name = "Billing"

    def ready(self) -> None:
        post_migrate.connect(_make_partitions, sender=self)


def _make_partitions(**_: Any) -> None:
    """Leave every migrated database with room for the months to come; a task does it from then on."""
    from django.utils import timezone

    from billing.services import partitions

    partitions.ensure_ahead(now=timezone.now())
