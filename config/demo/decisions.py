"""What the demo company decided about prices on the Advisor's advice: real advice, from its own usage up to that day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.contrib.auth.models import User

from config.demo.shape import Day
from pricing.models import PriceRule, Proposal, Segment
from pricing.services import proposals
from reports import advice


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody answered to the Advisor, `days_ago` days before the last one; an approved price starts two days later."""

    days_ago: int
    event: str
    by: str
    is_approved: bool
    reason: str


DECISIONS: Final = (
    Decision(44, "agent.run", "finance", True, "Half of what a run brings in goes to the providers; the contract customer keeps its price"),
    Decision(9, "image.generate", "finance", False, "The campaign price was announced until the end of the year"),
)
_STARTS_AFTER: Final = timedelta(days=2)


def begin(day: Day, users: Mapping[str, User]) -> None:
    """Let the Advisor look in the morning, and somebody answer at noon."""
    for decision in DECISIONS:
        if decision.days_ago == day.ago:
            rule = PriceRule.objects.get(event_type__name=decision.event, segment=Segment.DEFAULT)
            given = advice.advise(rule, now=day.starts + timedelta(hours=5))
            if given.proposal is None:
                continue  # another seed's usage may leave nothing to advise
            asked = Proposal.objects.get(pk=given.proposal)
            answer = {"proposal": asked, "reason": decision.reason, "actor": users[decision.by], "now": day.starts + timedelta(hours=12)}
            if decision.is_approved:
                proposals.approve(effective_from=day.starts + _STARTS_AFTER, **answer)  # type: ignore[arg-type]
            else:
                proposals.reject(**answer)  # type: ignore[arg-type]
