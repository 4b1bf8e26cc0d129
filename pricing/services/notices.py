"""Telling people by e-mail what they are asked to decide, and what became of what they proposed.

A notice is a row, written in the transaction of what it tells of; `send_due` works the rows off (`config.base.outbox`).
"""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.utils import timezone

from config.base import outbox
from pricing.models import NoticeKind, Proposal, ProposalEdit, ProposalNotice, ProposalState
from pricing.queries import deciders, proposal_page, timeline, workspace
from pricing.rating import explain


def of_proposal(proposal: Proposal, *, now: datetime) -> None:
    """Owe a notice to everyone who may decide and has an address, but to whoever proposed it."""
    asked = deciders.people().exclude(email="")
    _owe(proposal, NoticeKind.PROPOSED, [person for person in asked if person != proposal.created_by], now)


def of_edit(edit: ProposalEdit, *, now: datetime) -> None:
    """Owe a notice to everyone who may decide and has an address, but to those who had a hand in the price."""
    involved = proposal_page.involved(edit.proposal)
    _owe(edit.proposal, NoticeKind.EDITED, deciders.people().exclude(email="").exclude(pk__in=involved), now, edit)


def of_decision(proposal: Proposal, *, now: datetime) -> None:
    """Owe a notice to whoever proposed it; the Advisor has no address."""
    author = proposal.created_by
    _owe(proposal, NoticeKind.DECIDED, [author] if author and author.is_active and author.email else [], now)


def _owe(proposal: Proposal, kind: NoticeKind, people: Iterable[User], now: datetime, edit: ProposalEdit | None = None) -> None:
    ProposalNotice.objects.bulk_create(
        ProposalNotice(proposal=proposal, kind=kind, edit=edit, recipient=person, created_at=now, due_at=now) for person in people
    )


def send_due(*, now: datetime) -> int:
    """Send what is due, up to the first that the mail server refuses; return how many mails left."""
    return outbox.send_due(ProposalNotice.objects.select_related("recipient", "edit__edited_by"), write=partial(_write, now=now), now=now)


def _write(notice: ProposalNotice, *, now: datetime) -> EmailMessage | None:
    """Return the mail of a notice; nothing once there is nothing left to decide."""
    proposal = Proposal.objects.select_related("rule__event_type", "created_by", "decided_by", "version").get(pk=notice.proposal_id)
    if notice.kind != NoticeKind.DECIDED and proposal.state != ProposalState.PROPOSED:
        return None
    edit = notice.edit
    if edit is not None and proposal.edits.filter(pk__gt=edit.pk).exists():  # the notice of a later one tells what holds now
        return None
    return _message(notice, proposal, now)


def _message(notice: ProposalNotice, proposal: Proposal, now: datetime) -> EmailMessage:
    rule = proposal.rule
    current = timeline.in_force(rule.versions.select_related("rule__event_type"), at=now).first()
    facts: dict[str, Any] = {
        "proposal": proposal,
        "rule": rule,
        "now_charged": explain(current.as_price()) if current else "",
        "proposed": explain(proposal.as_price()),
        "edit": notice.edit,
        # Of the price that stands there now, which somebody may have edited before the mail left.
        "reason": edited.reason if (edited := proposal.edits.order_by("-id").first()) else proposal.reason,
        "recipient": notice.recipient,
        "site_url": settings.SITE_URL,
    }
    subjects = {
        NoticeKind.PROPOSED: f"A price for {rule} waits for your decision",
        NoticeKind.EDITED: f"The proposed price for {rule} is another one now",
        NoticeKind.DECIDED: f"Your price for {rule} was {proposal.state}",
    }
    with timezone.override(workspace.load().time_zone):
        body = render_to_string(f"pricing/mail/{notice.kind}.txt", facts)
    return outbox.mail(to=notice.recipient.email, subject=subjects[NoticeKind(notice.kind)], body=body, name=f"proposal-notice-{notice.pk}")
