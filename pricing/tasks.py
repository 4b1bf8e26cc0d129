"""Work that happens by itself, safe to run twice, late, or beside itself; `config.celery` says when."""

from celery import shared_task
from django.utils import timezone

from pricing.services import notices


@shared_task
def send_notices() -> None:
    """Send the e-mails that people are owed about proposals."""
    notices.send_due(now=timezone.now())
