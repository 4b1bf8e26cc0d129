"""An edit of a proposal: the price that somebody put in the place of the proposed one before it was decided.

All of them are kept, because everyone who had a hand in a price is kept from approving it.
"""

from django.conf import settings
from django.db import models
from django.db.models import Q

from config.base.models import append_only, never_truncated
from pricing.models.proposal import Proposal


class ProposalEdit(models.Model):
    """One edit: what was proposed from then on."""

    proposal = models.ForeignKey(Proposal, on_delete=models.PROTECT, related_name="edits")
    definition = models.JSONField()
    effective_from = models.DateTimeField(null=True, blank=True)
    reason = models.TextField()
    edited_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    edited_at = models.DateTimeField()

    class Meta:
        ordering = ("id",)
        constraints = (models.CheckConstraint(name="proposal_edit_has_a_reason", condition=~Q(reason="")),)
        triggers = (append_only(), never_truncated())

    def __str__(self) -> str:
        return f"Edit {self.pk} of proposal {self.proposal_id}"
