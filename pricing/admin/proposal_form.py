"""The form in which a proposed price is edited: that of a new version, beginning with what was proposed."""

from datetime import datetime
from typing import Any

from pricing.admin.publish_form import PublishForm
from pricing.models import PriceVersion, Proposal


class EditForm(PublishForm):
    """A whole price; its start may be left to whoever applies it."""

    def __init__(self, data: Any = None, *, proposal: Proposal, now: datetime) -> None:
        proposed = PriceVersion(rule=proposal.rule, number=0, effective_from=now, **_figures(proposal))
        super().__init__(data, rule=proposal.rule, latest=proposed, now=now, is_proposal=True)
        self.initial["effective_from"] = proposal.effective_from
        self.fields["reason"].help_text = "Why another price than the proposed one. It is kept for good."


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
