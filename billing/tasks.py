"""Work that happens by itself. Each task is safe to run twice, late, or beside itself; `config.schedule` says when."""

import logging

from celery import shared_task
from django.utils import timezone

from billing.services import checking, holds, partitions, rerating, seals, sweeping, unpriced
from config.base.database import clock

log = logging.getLogger(__name__)


@shared_task
def expire_lots() -> None:
    """Write off credits past their date."""
    sweeping.expire_due_lots(now=timezone.now())


@shared_task
def expire_holds() -> None:
    """Give back what overdue holds set aside."""
    holds.expire_due(now=timezone.now())


@shared_task
def make_partitions() -> None:
    """Have a place for the usage records of the months to come."""
    partitions.ensure_ahead(now=timezone.now())


@shared_task
def seal_ledger() -> None:
    """Seal the hours that are over."""
    seals.seal_due(now=clock())


@shared_task
def check_ledger(actor: str = "system:schedule") -> None:
    """Prove the money rules and keep the result; a break is an error in the log as well as a red badge."""
    run = checking.check(now=timezone.now(), actor=actor)
    if not run.is_clean:
        log.error("the ledger check found breaks: %s", [rule["rule"] for rule in run.rules if rule["breaks"]])


@shared_task
def rerate() -> None:
    """Finish every re-rating that was requested, the oldest first, and count again what is still unpriced."""
    if rerating.run_waiting(clock=timezone.now):
        unpriced.count(now=timezone.now())


@shared_task
def count_unpriced() -> None:
    """Bring the queue of unpriced usage up to date."""
    unpriced.count(now=timezone.now())
