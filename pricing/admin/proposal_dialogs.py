"""The dialogs in which a proposal is decided: when the price starts, and why."""

from datetime import datetime, timedelta
from typing import Any, Final

from django import forms
from django.utils import timezone
from django.utils.html import format_html

from config.base.admin import Dialog, Moment, ReasonDialog
from pricing.admin import proposal_view
from pricing.models import PriceVersion, Proposal
from pricing.services import proposal_steps
from pricing.services.prices import LEAD_TIME

# As for a price that is published: one day is enough for people to be told.
_USUAL_NOTICE: Final = timedelta(days=1)


class ApplyDialog(ReasonDialog):
    """When the proposed price starts."""

    effective_from = Moment(label="Starts")
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, subject: Any, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        field = self.fields["effective_from"]
        field.initial = start(subject, now=timezone.now())
        self.fields["seen"].initial = proposal_steps.fingerprint(subject)
        zone = timezone.get_current_timezone_name()
        field.help_text = format_html("From then on: {}. In {} time, at least a minute ahead.", proposal_view.summary(subject), zone)


class RejectDialog(ReasonDialog):
    """Why the price stays as it is."""


class WithdrawDialog(ReasonDialog):
    """Why its author takes a proposal back."""


class AdviseAgainDialog(Dialog):
    """The Advisor looks again at what is stale."""


class SubmitDialog(Dialog):
    """A draft goes to those who decide."""


def start(proposal: Proposal, *, now: datetime) -> datetime:
    """Return when the price would sensibly start: as wished while that lies ahead, else after the usual notice."""
    wished, base = proposal.effective_from, proposal.base_version
    if wished is not None and wished > now + LEAD_TIME:
        return wished
    return after_notice(base, now=now)


def after_notice(base: PriceVersion | None, *, now: datetime) -> datetime:
    """Return when a price that follows `base` would sensibly start: at a full hour, a day after people could be told."""
    told = max(now, base.effective_from if base else now) + _USUAL_NOTICE
    return told.replace(minute=0, second=0, microsecond=0)
