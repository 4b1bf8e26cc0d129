"""Work that happens by itself, safe to run twice, late, or beside itself; `config.celery` says when."""

from celery import shared_task
from django.utils import timezone

from pricing.feeds import files
from pricing.services import notices, rate_imports


@shared_task
def send_notices() -> None:
    """Send the e-mails that people are owed about proposals."""
    notices.send_due(now=timezone.now())


@shared_task
def compare_installed_rates() -> None:
    """Compare the prices of the installed genai-prices with the catalogue; people accept. The same release twice adds nothing."""
    now = timezone.now()
    rate_imports.import_feed(feed=files.installed(), as_of=now, actor=None, now=now)
