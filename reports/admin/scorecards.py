"""The scorecard on the pages of a proposal and of a rule: how the price has done since, beside what was predicted."""

from collections.abc import Sequence

from django.template.loader import render_to_string
from django.utils import timezone

from pricing.models import PriceRule, Proposal
from reports.queries import scorecard
from reports.queries.scorecard import Score


def of_proposal(proposal: Proposal) -> str:
    """Return the section about the price of an approved proposal; nothing where it has not begun."""
    return _section(scorecard.of_proposal(proposal, now=timezone.now()))


def of_rule(rule: PriceRule) -> str:
    """Return the section about the latest proposed prices of a rule."""
    return _section(scorecard.of_rule(rule, now=timezone.now()))


def _section(scores: Sequence[Score]) -> str:
    return render_to_string("reports/scorecard.html", {"scores": scores}) if scores else ""
