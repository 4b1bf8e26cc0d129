"""Work that happens by itself, safe to run twice, late, or beside itself; `config.celery` says when."""

from celery import shared_task
from django.utils import timezone

from reports import scorecards


@shared_task
def keep_scorecards() -> None:
    """Write down how new prices did in their first days."""
    scorecards.keep_due(now=timezone.now())
