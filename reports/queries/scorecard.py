"""The scorecard of a price that was proposed: the margin that was predicted beside the one that came."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from config.base.exact import CONTEXT, Rounding, round_to
from pricing.models import PriceRule, PriceVersion, Proposal, ProposalState
from reports.models import RealisedMargin
from reports.queries import recorded_usage
from reports.queries.recorded_usage import TooMuchUsageError

PERIODS: Final = (7, 30)  # days
# Late events and refunds are waited for so long before a period is written down.
SETTLES: Final = timedelta(days=3)
_PAGE_PATIENCE: Final = "3s"
_SHARE_STEP: Final = Decimal("0.000001")
_MOST: Final = 3  # versions that a rule's page tells about


@dataclass(frozen=True, slots=True)
class Realised:
    """What came in `[start, end)`; money in `currency`, of events with a known cost."""

    start: datetime
    end: datetime
    events: int
    unpriced: int
    credits: Decimal
    value: Decimal
    cost: Decimal
    currency: str

    @property
    def margin(self) -> Decimal | None:
        """The share of the value that was left; None where nothing was earned."""
        return round_to(CONTEXT.divide(self.value - self.cost, self.value), _SHARE_STEP, Rounding.HALF_EVEN) if self.value else None


@dataclass(frozen=True, slots=True)
class Score:
    """One period of one version. `realised` is None where the usage was too much to read for a page."""

    version: PriceVersion
    days: int
    predicted: Decimal | None
    realised: Realised | None
    is_final: bool  # it is written down and will not change
    is_cut_short: bool  # the next version came before the period was over

    @property
    def difference(self) -> Decimal | None:
        """How much better it went than predicted, as a share of 1."""
        came = self.realised.margin if self.realised else None
        return came - self.predicted if came is not None and self.predicted is not None else None


def predicted_margin(proposal: Proposal) -> Decimal | None:
    """Return the margin that was expected of the price as it was approved; None where nothing told it.

    The backtest is of that very price, with its minimum and its rounding, and is what those who decided read. Without one
    it is what the Advisor expected, unless somebody edited the price that it spoke of.
    """
    if proposal.backtest:
        share = proposal.backtest["margin_after"]
    elif proposal.recommendation and proposal.original is None:
        share = proposal.recommendation["margin"]["suggested"]
    else:
        share = None
    return Decimal(share) if share is not None else None


def of_proposal(proposal: Proposal, *, now: datetime) -> tuple[Score, ...]:
    """Return the periods of an approved proposal that have begun: from what was written down, else as far as they are."""
    version = proposal.version
    if version is None or version.effective_from >= now:
        return ()
    kept = {row.days: row for row in RealisedMargin.objects.filter(version=version)}
    scores = []
    for days in PERIODS:
        end = end_of(version, days)
        row = kept.get(days)
        is_cut_short = end < version.effective_from + timedelta(days=days)
        realised = _kept(row) if row else _so_far(version, end, now)
        scores.append(Score(version, days, predicted_margin(proposal), realised, row is not None, is_cut_short))
    return tuple(scores)


def of_rule(rule: PriceRule, *, now: datetime) -> tuple[Score, ...]:
    """Return the scores of the rule's latest versions that came of proposals, the newest first."""
    approved = Proposal.objects.filter(rule=rule, state=ProposalState.APPROVED, version__effective_from__lt=now)
    latest = approved.select_related("version__rule__event_type").order_by("-version__number")[:_MOST]
    return tuple(score for proposal in latest for score in of_proposal(proposal, now=now))


def end_of(version: PriceVersion, days: int) -> datetime:
    """Return when the first `days` of `version` are over, or the version itself."""
    end = version.effective_from + timedelta(days=days)
    return min(end, version.effective_to) if version.effective_to else end


def realised(version: PriceVersion, *, end: datetime, now: datetime, patience: str = recorded_usage.PATIENCE) -> Realised:
    """Add up what `version` brought in and cost from its start to `end`. Raises TooMuchUsageError."""
    with recorded_usage.reading(patience):
        scope = recorded_usage.scope_of(version.rule, versions=[version], start=version.effective_from, end=end, known_at=now)
        window = recorded_usage.window(scope).window
    return Realised(window.start, window.end, window.events, window.unpriced, window.credits, window.value, window.cost, scope.currency)


def _so_far(version: PriceVersion, end: datetime, now: datetime) -> Realised | None:
    try:
        return realised(version, end=min(end, now), now=now, patience=_PAGE_PATIENCE)
    except TooMuchUsageError:
        return None


def _kept(row: RealisedMargin) -> Realised:
    return Realised(row.start, row.end, row.events, row.unpriced, row.credits, row.value, row.cost, row.currency)
