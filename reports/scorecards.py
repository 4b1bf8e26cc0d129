"""Writing scorecards down: what a price did in its first days, before retention drops the records that tell."""

import logging
from datetime import datetime

from pricing.models import Proposal, ProposalState
from reports.models import RealisedMargin
from reports.queries import scorecard
from reports.queries.recorded_usage import TooMuchUsageError

log = logging.getLogger(__name__)


def keep_due(*, now: datetime) -> int:
    """Write down every period that is over and settled, each once; return how many that were."""
    due = 0
    latest_start = now - scorecard.SETTLES
    approved = Proposal.objects.filter(state=ProposalState.APPROVED, version__effective_from__lt=latest_start)
    for days in scorecard.PERIODS:
        written = RealisedMargin.objects.filter(days=days).values("version_id")
        for proposal in approved.exclude(version__in=written).select_related("version__rule__event_type"):
            version = proposal.version
            assert version is not None, "an approved proposal names its version"
            end = scorecard.end_of(version, days)
            if end + scorecard.SETTLES <= now:
                try:
                    due += _keep(scorecard.realised(version, end=end, now=now), version.pk, days, now)
                except TooMuchUsageError as refusal:
                    log.warning("no scorecard of %s: %s", version, refusal)
    return due


def _keep(found: scorecard.Realised, version_id: int, days: int, now: datetime) -> int:
    figures = {name: getattr(found, name) for name in ("start", "end", "events", "unpriced", "credits", "value", "cost", "currency")}
    # Whoever comes second, in another process, finds it written.
    _, is_new = RealisedMargin.objects.get_or_create(version_id=version_id, days=days, defaults=figures | {"recorded_at": now})
    return int(is_new)
