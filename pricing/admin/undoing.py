"""Undoing a price, from wherever people look for it: its rule's page, its own, and that of the proposal that it came of.

The button proposes the price before, which takes the same road as any other. It is there where it works; where it does
not, a sentence says why.
"""

from typing import Any, Final

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from config.base.admin import Led, Moment, ReasonDialog, dialog
from pricing.admin.proposal_dialogs import after_notice
from pricing.models import PriceRule, PriceVersion, Proposal
from pricing.queries import timeline
from pricing.rating import explain
from pricing.services import proposals
from pricing.services.refusals import NothingToUndoError

PROPOSE: Final = "pricing.propose_price"


class UndoDialog(ReasonDialog):
    """When the price before comes back, and why."""

    effective_from = Moment(label="Starts", required=False)

    def __init__(self, *args: Any, subject: Any, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        version, now = version_of(subject), timezone.now()
        before = version.rule.versions.filter(number__lt=version.number).order_by("-number").first() if version else None
        field, zone = self.fields["effective_from"], timezone.get_current_timezone_name()
        field.initial = after_notice(version, now=now)
        again = format_html("From then on again: {}. ", explain(version.rule.price(before.definition()))) if version and before else ""
        field.help_text = format_html("{}In {} time; empty: whoever approves it decides.", again, zone)


class UndoButton:
    """Gives an admin class of rules, versions or proposals the button; name `undo` in its `actions_detail`."""

    @dialog(
        "Undo this price",
        form=UndoDialog,
        permission=PROPOSE,
        submit="Propose the price before",
        description="The price before is proposed again. Nothing changes until another person approves it.",
        icon="undo",
    )
    def undo(self, request: HttpRequest, form: UndoDialog, row: PriceRule | PriceVersion | Proposal) -> Led:
        version = version_of(row)
        if version is None:
            raise NothingToUndoError("No price came of this, so there is none to undo.")
        assert isinstance(request.user, User)
        typed = form.cleaned_data
        made = proposals.undo(
            version=version, reason=typed["reason"], effective_from=typed["effective_from"], actor=request.user, now=timezone.now()
        )
        words = f"{made} waits for a decision: {explain(made.as_price())}. Nothing changes until another person approves it."
        return Led(words, reverse("admin:pricing_proposal_change", args=[made.pk]))


def version_of(row: PriceRule | PriceVersion | Proposal) -> PriceVersion | None:
    """Return the version that the button on the page of `row` is about: of a rule the latest."""
    if isinstance(row, PriceVersion):
        return row
    return timeline.latest(row) if isinstance(row, PriceRule) else row.version


def is_offered(request: HttpRequest, row: PriceRule | PriceVersion | Proposal | None) -> bool:
    """Say whether the button would work for this person."""
    version = version_of(row) if row is not None else None
    return version is not None and request.user.has_perm(PROPOSE) and not proposals.against_undoing(version)


def why_not(request: HttpRequest, row: PriceRule | PriceVersion | Proposal | None) -> str:
    """Say why it would not; empty where it would, where there is nothing to undo, and to whoever proposes no prices."""
    version = version_of(row) if row is not None else None
    if version is None or not request.user.has_perm(PROPOSE):
        return ""
    return proposals.against_undoing(version)
