"""The form in which a proposed price is edited: that of a new version, beginning with what was proposed."""

from datetime import datetime
from typing import Any

from django import forms
from django.http import QueryDict

from pricing.admin.publish_form import PublishForm
from pricing.models import PriceVersion, Proposal
from pricing.services import proposal_steps


class EditForm(PublishForm):
    """A whole price; its start may be left to whoever applies it. `seen` stands for the price that it was typed over."""

    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, proposal: Proposal, now: datetime) -> None:
        proposed = PriceVersion(rule=proposal.rule, number=0, effective_from=now, **_figures(proposal))
        super().__init__(data, rule=proposal.rule, latest=proposed, now=now, is_proposal=True)
        self._proposal = proposal
        self.initial["effective_from"] = proposal.effective_from
        self.initial["seen"] = proposal_steps.fingerprint(proposal)
        self.fields["reason"].help_text = "Why another price than the proposed one. It is kept for good."

    def see_again(self) -> None:
        """Let the form be sent once more, over the price that its reader has now been told of."""
        self._proposal.refresh_from_db()
        data: QueryDict = self.data.copy()  # type: ignore[attr-defined] # the form was sent
        data["seen"] = proposal_steps.fingerprint(self._proposal)
        self.data = data


def _figures(proposal: Proposal) -> dict[str, Any]:
    price = proposal.as_definition()
    return {
        "credits_per_event": price.credits_per_event,
        "components": proposal.definition["components"],
        "tiers": proposal.definition["tiers"],
        "minimum": price.minimum,
        "rounding_step": price.rounding_step,
        "rounding_mode": price.rounding_mode.value,
    }
