"""The versions of a rule as a time line: what was charged, what is charged, what will be."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from django.db.models import Model, Q, QuerySet

from pricing.models import PriceRule, PriceVersion
from pricing.rating import explain

M = TypeVar("M", bound=Model)


class Phase(StrEnum):
    """Where a version stands at a moment."""

    SCHEDULED = "scheduled"
    CURRENT = "current"
    PAST = "past"


@dataclass(frozen=True, slots=True)
class Stop:
    """One version on the time line of its rule."""

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


def of_rule(rule: PriceRule, *, now: datetime) -> tuple[Stop, ...]:
    """Return all versions of `rule`, the newest first."""
    versions = rule.versions.select_related("rule__event_type", "created_by", "approved_by").order_by("-effective_from")
    return tuple(stop(version, now=now) for version in versions)


def latest(rule: PriceRule) -> PriceVersion | None:
    """Return the version with the highest number: the one in force, or the last that is scheduled."""
    return rule.versions.select_related("rule__event_type").order_by("-number").first()


def stop(version: PriceVersion, *, now: datetime) -> Stop:
    """Return one version as it stands at `now`."""
    return Stop(
        id=version.pk,
        number=version.number,
        phase=phase(version, now=now),
        sentence=explain(version.as_price()),
        effective_from=version.effective_from,
        effective_to=version.effective_to,
        reason=version.reason,
        created_by=version.created_by.get_username() if version.created_by else "",
        approved_by=version.approved_by.get_username() if version.approved_by else "",
        created_at=version.created_at,
    )


def phase(row: PriceVersion, *, now: datetime) -> Phase:
    """Say where `row` stands at `now`."""
    if row.effective_from > now:
        return Phase.SCHEDULED
    return Phase.CURRENT if row.effective_to is None or now < row.effective_to else Phase.PAST


def in_force(rows: "QuerySet[M]", *, at: datetime) -> "QuerySet[M]":
    """Keep the versions or rates that are valid at `at`; periods are half-open."""
    return rows.filter(Q(effective_from__lte=at) & (Q(effective_to__isnull=True) | Q(effective_to__gt=at)))
