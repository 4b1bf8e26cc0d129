"""The Advisor's road: what it proposes, when it rests, and what it takes back. People decide (`pricing.services.proposals`)."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from django.db import transaction
from django.db.models import Q

from pricing.advisor.evidence import Evidence
from pricing.advisor.policy import Policy
from pricing.definition import Definition
from pricing.models import GivenAdvice, PriceRule, PriceVersion, Proposal, ProposalSource, ProposalState
from pricing.queries import timeline
from pricing.services import prices, proposal_steps
from pricing.services.refusals import EvidenceHoldsError

_CHANGES_THE_PRICE: Final = frozenset({"raise", "lower"})


class Advice(Protocol):
    """What the Advisor recommends, as `pricing.advisor.recommend` returns it."""

    @property
    def verdict(self) -> str: ...

    @property
    def definition(self) -> Definition | None: ...

    @property
    def headline(self) -> str: ...

    @property
    def because(self) -> str: ...

    def as_json(self) -> dict[str, Any]: ...


@transaction.atomic
def advise(
    *, rule: PriceRule, evidence: Evidence, policy: Policy, recommendation: Advice, backtest: dict[str, Any] | None, now: datetime
) -> Proposal | None:
    """Let the Advisor propose what it recommends; return its open proposal, None where it has nothing to propose.

    It never stands beside a proposal that a person made or edited, unless that is stale; repeats no proposal whose evidence holds;
    and rests after a rejection as long as after a change. What it does not recommend any more is superseded. Whatever it says
    is kept as its latest word on the rule.

    Raises:
        InvalidPriceError: the recommended price could not be published.
    """
    locked = proposal_steps.lock(rule.pk)
    made, why_not = _propose(locked, evidence, policy, recommendation, backtest, now)
    told = recommendation.verdict in _CHANGES_THE_PRICE
    GivenAdvice.objects.update_or_create(
        rule=locked,
        defaults={
            "version_number": evidence.version,
            "verdict": recommendation.verdict,
            "because": recommendation.because,
            "headline": recommendation.headline,
            "proposal": made if told else None,
            "not_proposed": why_not if told else "",
            "given_at": now,
        },
    )
    return made


def _propose(
    rule: PriceRule, evidence: Evidence, policy: Policy, recommendation: Advice, backtest: dict[str, Any] | None, now: datetime
) -> tuple[Proposal | None, str]:
    """Return the open proposal, or none and why."""
    latest, standing = timeline.latest(rule), proposal_steps.standing_of(rule)
    if (other := proposal_steps.in_the_way(rule)) is not None:
        return None, f"proposal {other.pk} by {other.edited_by or other.created_by} waits for a decision"
    wanted = recommendation.definition if recommendation.verdict in _CHANGES_THE_PRICE else None
    if wanted is None or latest is None or latest.number != evidence.version:
        # With another version since, or one that is scheduled, the evidence is about a price that goes anyway.
        proposal_steps.supersede(standing, "The Advisor does not recommend it any more.", now)
        return None, "another version follows it"
    said = (latest.pk, evidence.hash, wanted.as_json())
    is_said = standing is not None and (standing.base_version_id, standing.evidence_hash, standing.definition) == said
    if standing is not None and is_said and not proposal_steps.is_stale(standing):
        return standing, ""
    if standing is None and _rests(rule, policy, now):
        return None, f"its last proposal was rejected; it rests for {policy.cooldown_days} days after that"
    proposal_steps.supersede(standing, "The Advisor has newer evidence.", now)
    prices.check(wanted, recommendation.headline)
    made = Proposal(
        rule=rule,
        base_version=latest,
        source=ProposalSource.ADVISOR,
        definition=wanted.as_json(),
        reason=recommendation.headline,
        evidence=evidence.as_json(),
        evidence_hash=evidence.hash,
        policy=policy.as_json(),
        recommendation=recommendation.as_json(),
        backtest=backtest,
        created_at=now,
    )
    # Whoever was asked about this price already is not asked again each morning.
    return proposal_steps.ask(made, now=now, is_news=standing is None or standing.definition != made.definition), ""


def claim_backtest(*, proposal: Proposal, again_after: timedelta, now: datetime) -> bool:
    """Say whether the caller is the one to backtest the price as it stands; of all that ask within `again_after` one is."""
    waiting = Proposal.objects.filter(pk=proposal.pk, state=ProposalState.PROPOSED, backtest__isnull=True, definition=proposal.definition)
    untried = Q(backtest_tried_at=None) | Q(backtest_tried_at__lte=now - again_after)
    return waiting.filter(untried).update(backtest_tried_at=now) == 1


@transaction.atomic
def outdated(*, proposal: Proposal) -> Proposal:
    """Return the Advisor's proposal as it is by now, if asking again would give another one.

    Raises:
        ProposalDecidedError: it is not open any more.
        EvidenceHoldsError: it is a person's, or nothing has changed under it.
    """
    row = proposal_steps.still_open(proposal)
    if row.source != ProposalSource.ADVISOR or not proposal_steps.is_stale(row):
        raise EvidenceHoldsError(f"Nothing that {row} stands on has changed: decide on it as it is.")
    return row


@transaction.atomic
def record_backtest(*, proposal: Proposal, definition: Definition, backtest: dict[str, Any]) -> Proposal:
    """Keep what `definition` would have charged with an open proposal; one that was edited meanwhile is left as it is.

    Raises:
        ProposalDecidedError: it is not open any more.
    """
    row = proposal_steps.still_open(proposal)
    if row.backtest is None and row.definition == definition.as_json():
        row.backtest = backtest
        row.save(update_fields=["backtest"])
    return row


@transaction.atomic
def note_recosted(*, charged: Collection[tuple[int, datetime]], now: datetime) -> int:
    """Mark the open proposals whose evidence counts usage that was costed again; return how many.

    `charged` says by which price version and when each of them was charged. Call it in the transaction that writes the new
    costs: it takes the rules, so that advice that is given beside it is either marked, or comes after these costs.
    """
    rules = PriceVersion.objects.filter(pk__in={version for version, _ in charged}).values("rule")
    taken = list(PriceRule.objects.filter(pk__in=rules).order_by("pk").select_for_update(of=("self",), no_key=True))
    standing = Proposal.objects.filter(rule__in=taken, state=ProposalState.PROPOSED, evidence__isnull=False, recosted_at=None)
    marked = [row.pk for row in standing if _counts(Evidence.from_json(row.evidence or {}), charged)]
    return Proposal.objects.filter(pk__in=marked).update(recosted_at=now)


def _counts(evidence: Evidence, charged: Collection[tuple[int, datetime]]) -> bool:
    versions, windows = set(evidence.price_version_ids), [window for window in (evidence.baseline, evidence.current) if window]
    return any(version in versions and any(window.start <= at < window.end for window in windows) for version, at in charged)


def _rests(rule: PriceRule, policy: Policy, now: datetime) -> bool:
    """Say whether a person said no to the Advisor so lately that it does not ask again."""
    refused = Proposal.objects.filter(rule=rule, source=ProposalSource.ADVISOR, state=ProposalState.REJECTED)
    last = refused.order_by("-decided_at").values_list("decided_at", flat=True).first()
    return last is not None and (now - last).days < policy.cooldown_days
