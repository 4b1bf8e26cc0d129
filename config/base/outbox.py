"""Messages that are owed: rows that are written with what they tell of, and sent by a task.

A row is put off before it is sent and marked afterwards; no two workers hold the same row. A worker that is killed in
between delays its message by a pause and loses none. A receiver that took a message and could not say so gets it again,
under the same id (an e-mail's Message-ID, a webhook's delivery id), by which a double is known.

The rows of an outbox have `created_at`, `due_at`, `attempts`, `last_error`, `outcome` (one of the words below), `done_at`.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from smtplib import SMTPRecipientsRefused
from typing import Any, Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import QuerySet

log = logging.getLogger(__name__)

DUE, SENT, MOOT, EXPIRED = "due", "sent", "moot", "expired"
# Longer than a run goes on taking rows, and one message takes after that: no row is taken while it is being sent.
_FIRST_PAUSE: Final = timedelta(minutes=2)
_LONGEST_PAUSE: Final = timedelta(hours=2)
RUN_SECONDS: Final = 60.0
USELESS_AFTER: Final = timedelta(days=3)


class NotTaken(Exception):
    """The receiver refused this message; it may take others. `said` is for the row and not for the log."""

    def __init__(self, why: str, said: str = "") -> None:
        super().__init__(why)
        self.said = said


class Away(NotTaken):
    """The receiver takes nothing now: what else is for it waits."""


def send_due(rows: "QuerySet[Any]", *, write: Callable[[Any], EmailMessage | None], now: datetime) -> int:
    """Send the mails that are due, as long as the mail server answers; return how many left.

    `write` makes the mail of a row, or nothing where there is nothing left to tell. Without a mail server (`EMAIL_URL`)
    nothing is sent, and rows expire.
    """
    expire(rows, now=now)
    return work_off(rows, send=partial(send_mail, write=write), now=now) if settings.EMAIL_URL else 0


def send_mail(row: Any, *, write: Callable[[Any], EmailMessage | None]) -> str:
    """Send the mail of one row. Raises NotTaken, Away."""
    message = write(row)
    if message is None:
        return MOOT
    try:
        message.send()
    except (SMTPRecipientsRefused, ValueError) as error:  # this address, or one that is none
        raise NotTaken(f"{type(error).__name__}: {error}") from error
    except OSError as error:  # SMTP's errors are OSErrors
        raise Away(f"{type(error).__name__}: {error}") from error
    return SENT


def mail(*, to: str, subject: str, body: str, name: str) -> EmailMessage:
    """Return a mail whose Message-ID is made of `name`: sent again, mail programs know it as a double."""
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">")
    return EmailMessage(
        subject=" ".join(subject.split()),  # a customer's name may hold a line break
        body=body,
        to=[to],
        headers={"Message-ID": f"<{name}@{domain}>", "Auto-Submitted": "auto-generated"},
    )


def expire(rows: "QuerySet[Any]", *, now: datetime) -> None:
    """Give up what is too old to be of use."""
    rows.filter(outcome=DUE, created_at__lte=now - USELESS_AFTER).update(outcome=EXPIRED, done_at=now)


def work_off(
    rows: "QuerySet[Any]", *, send: Callable[[Any], str], now: datetime, until: float | None = None, most_attempts: int | None = None
) -> int:
    """Take and send what is due until the receiver is away or the time is over; return how many messages left.

    `send` returns SENT or MOOT, or raises NotTaken or Away. `until` is of the monotonic clock, at most RUN_SECONDS from
    when `now` was read. A row that failed `most_attempts` times is given up.
    """
    until = time.monotonic() + RUN_SECONDS if until is None else until
    sent = 0
    while time.monotonic() < until and (row := _take(rows, now)) is not None:
        try:
            outcome = send(row)
        except NotTaken as error:
            log.warning("%s was not sent (attempt %s): %s", row, row.attempts, error)
            row.last_error = f"{error}: {error.said}"[:500] if error.said else str(error)[:500]
            row.save(update_fields=["last_error"])
            if most_attempts and row.attempts >= most_attempts:
                _done(row, EXPIRED, now)
            if isinstance(error, Away):
                break
            continue
        _done(row, outcome, now)
        sent += outcome == SENT
    return sent


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


def _done(row: Any, outcome: str, now: datetime) -> None:
    row.outcome, row.done_at = outcome, now
    row.save(update_fields=["outcome", "done_at"])
