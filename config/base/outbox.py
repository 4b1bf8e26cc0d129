"""Mails that are owed: rows that are written with what they tell of, and sent by a task.

A row is put off before it is sent and marked afterwards. A worker that is killed in between has put off one mail by a
pause; no two workers hold the same row. A mail server that took a mail and could not say so gets it again, with the same
Message-ID.

The rows of an outbox have `created_at`, `due_at`, `attempts`, `last_error`, `outcome` (one of the words below), `done_at`.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import QuerySet

log = logging.getLogger(__name__)

DUE, SENT, MOOT, EXPIRED = "due", "sent", "moot", "expired"
# Longer than the mail server may take for one mail, so that a row is never taken while it is being sent.
_FIRST_PAUSE: Final = timedelta(minutes=2)
_LONGEST_PAUSE: Final = timedelta(hours=2)
USELESS_AFTER: Final = timedelta(days=3)


def send_due(rows: "QuerySet[Any]", *, write: Callable[[Any], EmailMessage | None], now: datetime) -> int:
    """Send what is due, up to the first that the mail server refuses; return how many mails left.

    `write` makes the mail of a row, or nothing where there is nothing left to tell. Without a mail server (`EMAIL_URL`)
    nothing is sent, and rows expire.
    """
    rows.filter(outcome=DUE, created_at__lte=now - USELESS_AFTER).update(outcome=EXPIRED, done_at=now)
    sent = 0
    while settings.EMAIL_URL and (row := _take(rows, now)) is not None:
        outcome = _work_off(row, write, now)
        if outcome == DUE:
            break
        sent += outcome == SENT
    return sent


def mail(*, to: str, subject: str, body: str, name: str) -> EmailMessage:
    """Return a mail whose Message-ID is made of `name`: sent again, mail programs know it as a double."""
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">")
    return EmailMessage(
        subject=" ".join(subject.split()),  # a customer's name may hold a line break
        body=body,
        to=[to],
        headers={"Message-ID": f"<{name}@{domain}>", "Auto-Submitted": "auto-generated"},
    )


@transaction.atomic
def _take(rows: "QuerySet[Any]", now: datetime) -> Any:
    """Put the next due row off, so that nobody else takes it, and return it."""
    due = rows.filter(outcome=DUE, due_at__lte=now).order_by("due_at", "id")
    row = due.select_for_update(skip_locked=True, of=("self",)).first()
    if row is not None:
        row.due_at = now + min(_FIRST_PAUSE * 2**row.attempts, _LONGEST_PAUSE)
        row.attempts += 1
        row.save(update_fields=["due_at", "attempts"])
    return row


def _work_off(row: Any, write: Callable[[Any], EmailMessage | None], now: datetime) -> str:
    """Send one mail; the row stays due when it could not leave."""
    message = write(row)
    if message is None:
        return _done(row, MOOT, now)
    try:
        message.send()
    except (OSError, ValueError) as error:  # the mail server, or an address that is none; SMTP's errors are OSErrors
        log.warning("%s was not sent (attempt %s): %s", row, row.attempts, error)
        row.last_error = f"{type(error).__name__}: {error}"[:500]
        row.save(update_fields=["last_error"])
        return DUE
    return _done(row, SENT, now)


def _done(row: Any, outcome: str, now: datetime) -> str:
    row.outcome, row.done_at = outcome, now
    row.save(update_fields=["outcome", "done_at"])
    return outcome
