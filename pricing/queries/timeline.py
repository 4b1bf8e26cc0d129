"""A rule's prices as a time line: what is thought of, what is proposed, what will be charged, is charged and was charged."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from django.contrib.auth.models import User
from django.db.models import Model, Q, QuerySet

from pricing.models import OPEN, PriceRule, PriceVersion, Proposal, ProposalSource
from pricing.queries import proposals
from pricing.rating import explain

M = TypeVar("M", bound=Model)


class Phase(StrEnum):
    """Where a price stands at a moment; the first two are proposals, the others versions."""

    DRAFT = "draft"
    PROPOSED = "proposed"
    SCHEDULED = "scheduled"
    ACTIVE = "active"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One open proposal on the time line of its rule; `effective_from` is None where whoever approves decides."""

    proposal_id: int
    phase: Phase
    sentence: str
    effective_from: datetime | None
    reason: str
    created_by: str
    edited_by: str
    created_at: datetime
    is_stale: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """One version on the time line of its rule, with the decision that it came of; `proposal_id` is None without one."""

    id: int
    number: int
    phase: Phase
    sentence: str
    effective_from: datetime
    effective_to: datetime | None
    reason: str
    created_by: str
    approved_by: str
    created_at: datetime
    proposal_id: int | None
    decision_reason: str


def of_rule(rule: PriceRule, *, now: datetime) -> "tuple[Waiting | Stop, ...]":
    """Return the open proposals of `rule`, then its versions, each the newest first."""
    open_ones = proposals.of_rule(rule).filter(state__in=OPEN).order_by("state", "-id")
    versions = with_decisions(rule.versions.all()).order_by("-effective_from")
    return (*map(_waiting, open_ones), *(stop(version, now=now) for version in versions))


def with_decisions(versions: "QuerySet[PriceVersion]") -> "QuerySet[PriceVersion]":
    """Read along what `stop` tells of a version."""
    return versions.select_related("rule__event_type", "created_by", "approved_by", "proposal")


def latest(rule: PriceRule) -> PriceVersion | None:
    """Return the version with the highest number: the one in force, or the last that is scheduled."""
    return rule.versions.select_related("rule__event_type").order_by("-number").first()


def stop(version: PriceVersion, *, now: datetime) -> Stop:
    """Return one version as it stands at `now`."""
    proposal: Proposal | None = getattr(version, "proposal", None)
    return Stop(
        id=version.pk,
        number=version.number,
        phase=phase(version, now=now),
        sentence=explain(version.as_price()),
        effective_from=version.effective_from,
        effective_to=version.effective_to,
        reason=version.reason,
        created_by=_name(version.created_by) or (str(ProposalSource.ADVISOR.label) if proposal else ""),
        approved_by=_name(version.approved_by),
        created_at=version.created_at,
        proposal_id=proposal.pk if proposal else None,
        decision_reason=proposal.decision_reason if proposal else "",
    )


def _waiting(proposal: Proposal) -> Waiting:
    return Waiting(
        proposal_id=proposal.pk,
        phase=Phase(proposal.state),
        sentence=explain(proposal.as_price()),
        effective_from=proposal.effective_from,
        reason=_reason(proposal),
        created_by=_name(proposal.created_by) or str(ProposalSource.ADVISOR.label),
        edited_by=_name(proposal.edited_by),
        created_at=proposal.created_at,
        is_stale=proposals.is_stale(proposal),
    )


def _reason(proposal: Proposal) -> str:
    """Return why the price is what it is: whoever edited it gave a reason of their own."""
    edited = proposal.edits.order_by("-id").first() if proposal.original else None
    return edited.reason if edited else proposal.reason


def _name(person: User | None) -> str:
    return person.get_username() if person else ""


def phase(row: PriceVersion, *, now: datetime) -> Phase:
    """Say where `row` stands at `now`."""
    if row.effective_from > now:
        return Phase.SCHEDULED
    return Phase.ACTIVE if row.effective_to is None or now < row.effective_to else Phase.RETIRED


def in_force(rows: "QuerySet[M]", *, at: datetime) -> "QuerySet[M]":
    """Keep the versions or rates that are valid at `at`; periods are half-open."""
    return rows.filter(Q(effective_from__lte=at) & (Q(effective_to__isnull=True) | Q(effective_to__gt=at)))
