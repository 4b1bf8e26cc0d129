"""A notice: an e-mail that somebody is owed about a proposal, until it was sent or there is nothing left to tell.

The row is written with what it tells of, in the same transaction; a task works the rows off. A row that is claimed and
not done falls due again, so that a worker that was killed in between delays a mail and loses none.
"""

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q

from pricing.models.proposal import Proposal
from pricing.models.proposal_edit import ProposalEdit


class NoticeKind(models.TextChoices):
    """What it tells."""

    PROPOSED = "proposed", "A decision is asked for"
    EDITED = "edited", "Another price was put in its place"
    DECIDED = "decided", "It was decided"


class NoticeOutcome(models.TextChoices):
    """What became of it."""

    DUE = "due", "Due"
    SENT = "sent", "Sent"
    MOOT = "moot", "Nothing left to decide"
    EXPIRED = "expired", "Too old to be of use"


class ProposalNotice(models.Model):
    """One e-mail to one person."""

    proposal = models.ForeignKey(Proposal, on_delete=models.PROTECT, related_name="notices")
    kind = models.CharField(max_length=8, choices=NoticeKind.choices)
    edit = models.ForeignKey(
        ProposalEdit, on_delete=models.PROTECT, null=True, blank=True, related_name="notices", help_text="The edit that it tells of."
    )
    recipient = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(help_text="Nobody takes it before; whoever takes it puts it off first.")
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.TextField(blank=True, default="")
    outcome = models.CharField(max_length=7, choices=NoticeOutcome.choices, default=NoticeOutcome.DUE)
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("id",)
        indexes = (models.Index(name="proposal_notice_due", fields=("due_at",), condition=Q(outcome="due")),)
        constraints = (
            models.UniqueConstraint(name="proposal_notice_is_one", fields=("proposal", "kind", "recipient"), condition=Q(edit=None)),
            models.UniqueConstraint(name="proposal_notice_of_an_edit_is_one", fields=("edit", "recipient")),
            models.CheckConstraint(name="proposal_notice_names_its_edit", condition=Q(kind="edited") ^ Q(edit=None)),
            models.CheckConstraint(name="proposal_notice_kind_known", condition=Q(kind__in=NoticeKind.values)),
            models.CheckConstraint(name="proposal_notice_outcome_known", condition=Q(outcome__in=NoticeOutcome.values)),
            models.CheckConstraint(name="proposal_notice_done_is_whole", condition=Q(outcome="due") ^ Q(done_at__isnull=False)),
        )
        triggers = (
            pgtrigger.Trigger(
                name="is_sent_once",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__outcome__in=("sent", "moot", "expired")),
                func="RAISE EXCEPTION 'A notice that is done stays as it is.' USING ERRCODE = 'restrict_violation';",
            ),
        )

    def __str__(self) -> str:
        return f"Notice {self.pk}: {self.kind} to {self.recipient}"
