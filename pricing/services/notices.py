"""Telling people by e-mail what they are asked to decide, and what became of what they proposed.

A notice is a row, written in the transaction of what it tells of. `send_due` works the rows off: it puts a row off
before it sends, and marks it afterwards. A worker that is killed in between has put off one mail by `_pause`; no two
workers hold the same row. A mail server that took a mail and could not say so gets it again, with the same Message-ID.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import timezone

from pricing.models import NoticeKind, NoticeOutcome, Proposal, ProposalNotice, ProposalState
from pricing.queries import timeline, workspace
from pricing.rating import explain

log = logging.getLogger(__name__)

MAY_DECIDE: Final = "pricing.decide_proposal"
# Longer than the mail server may take for one mail, so that a row is never taken while it is being sent.
_FIRST_PAUSE: Final = timedelta(minutes=2)
_LONGEST_PAUSE: Final = timedelta(hours=2)
USELESS_AFTER: Final = timedelta(days=3)


def of_proposal(proposal: Proposal, *, now: datetime) -> None:
    """Owe a notice to everyone who may decide and has an address, but to whoever proposed it."""
    deciders = (
        User.objects.with_perm(MAY_DECIDE, backend="django.contrib.auth.backends.ModelBackend").filter(is_staff=True).exclude(email="")
    )
    _owe(proposal, NoticeKind.PROPOSED, [person for person in deciders if person != proposal.created_by], now)


def of_decision(proposal: Proposal, *, now: datetime) -> None:
    """Owe a notice to whoever proposed it; the Advisor has no address."""
    author = proposal.created_by
    _owe(proposal, NoticeKind.DECIDED, [author] if author and author.is_active and author.email else [], now)


def _owe(proposal: Proposal, kind: NoticeKind, people: Iterable[User], now: datetime) -> None:
    ProposalNotice.objects.bulk_create(
        ProposalNotice(proposal=proposal, kind=kind, recipient=person, created_at=now, due_at=now) for person in people
    )


def send_due(*, now: datetime) -> int:
    """Send what is due, up to the first that the mail server refuses; return how many mails left.

    Without a mail server (`EMAIL_URL`) nothing is sent, and notices expire.
    """
    ProposalNotice.objects.filter(outcome=NoticeOutcome.DUE, created_at__lte=now - USELESS_AFTER).update(
        outcome=NoticeOutcome.EXPIRED, done_at=now
    )
    sent = 0
    while settings.EMAIL_URL and (notice := _take(now)) is not None:
        outcome = _work_off(notice, now)
        if outcome == NoticeOutcome.DUE:
            break
        sent += outcome == NoticeOutcome.SENT
    return sent


@transaction.atomic
def _take(now: datetime) -> ProposalNotice | None:
    """Put the next due notice off, so that nobody else takes it, and return it."""
    due = ProposalNotice.objects.filter(outcome=NoticeOutcome.DUE, due_at__lte=now).order_by("due_at", "id")
    notice = due.select_for_update(skip_locked=True, of=("self",)).select_related("recipient").first()
    if notice is not None:
        notice.due_at = now + min(_FIRST_PAUSE * 2**notice.attempts, _LONGEST_PAUSE)
        notice.attempts += 1
        notice.save(update_fields=["due_at", "attempts"])
    return notice


def _work_off(notice: ProposalNotice, now: datetime) -> NoticeOutcome:
    """Send one notice; it stays due when it could not leave."""
    proposal = Proposal.objects.select_related("rule__event_type", "created_by", "decided_by", "version").get(pk=notice.proposal_id)
    if notice.kind == NoticeKind.PROPOSED and proposal.state != ProposalState.PROPOSED:
        return _done(notice, NoticeOutcome.MOOT, now)
    try:
        _message(notice, proposal, now).send()
    except (OSError, ValueError) as error:  # the mail server, or an address that is none; SMTP's errors are OSErrors
        log.warning("notice %s was not sent (attempt %s): %s", notice.pk, notice.attempts, error)
        notice.last_error = f"{type(error).__name__}: {error}"[:500]
        notice.save(update_fields=["last_error"])
        return NoticeOutcome.DUE
    return _done(notice, NoticeOutcome.SENT, now)


def _done(notice: ProposalNotice, outcome: NoticeOutcome, now: datetime) -> NoticeOutcome:
    notice.outcome, notice.done_at = outcome, now
    notice.save(update_fields=["outcome", "done_at"])
    return outcome


def _message(notice: ProposalNotice, proposal: Proposal, now: datetime) -> EmailMessage:
    rule = proposal.rule
    current = timeline.in_force(rule.versions.select_related("rule__event_type"), at=now).first()
    facts: dict[str, Any] = {
        "proposal": proposal,
        "rule": rule,
        "now_charged": explain(current.as_price()) if current else "",
        "proposed": explain(proposal.as_price()),
        "recipient": notice.recipient,
        "site_url": settings.SITE_URL,
    }
    subjects = {
        NoticeKind.PROPOSED: f"A price for {rule} waits for your decision",
        NoticeKind.DECIDED: f"Your price for {rule} was {proposal.state}",
    }
    with timezone.override(workspace.load().time_zone):
        body = render_to_string(f"pricing/mail/{notice.kind}.txt", facts)
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">")
    return EmailMessage(
        subject=" ".join(subjects[NoticeKind(notice.kind)].split()),  # a customer's key may hold a line break
        body=body,
        to=[notice.recipient.email],
        headers={"Message-ID": f"<proposal-notice-{notice.pk}@{domain}>", "Auto-Submitted": "auto-generated"},
    )
