"""Proposals: which wait for a decision, which belong to a rule, which have been overtaken."""

from django.db.models import BooleanField, ExpressionWrapper, F, OuterRef, Q, QuerySet, Subquery

from pricing.models import OPEN, PriceRule, PriceVersion, Proposal, ProposalState
from pricing.queries import grounds

_PEOPLE = ("created_by", "edited_by", "decided_by")


def open_proposals() -> "QuerySet[Proposal]":
    """Return what waits for a decision, the longest-waiting first, stale ones among them; drafts are not among them."""
    return with_staleness().filter(state=ProposalState.PROPOSED).order_by("id")


def drafts() -> "QuerySet[Proposal]":
    """Return what has not been submitted yet, the newest first."""
    return with_staleness().filter(state=ProposalState.DRAFT)


def of_rule(rule: PriceRule) -> "QuerySet[Proposal]":
    """Return all proposals of `rule`, decided ones too, the newest first."""
    return with_staleness().filter(rule=rule)


def is_stale(proposal: Proposal) -> bool:
    """Say whether a proposal of these queries is stale."""
    return bool(getattr(proposal, "is_stale"))  # noqa: B009 - annotated by `with_staleness`


def with_staleness() -> "QuerySet[Proposal]":
    """Return all proposals with their rule and people; each has `is_stale`.

    It is open, and the rule has another version since, or something that its evidence was made from has changed.
    """
    latest = PriceVersion.objects.filter(rule=OuterRef("rule")).order_by("-number").values("pk")[:1]
    overtaken = Q(latest_version__isnull=False) & (Q(base_version=None) | ~Q(base_version=F("latest_version")))
    return (
        grounds.with_changes(Proposal.objects.select_related("rule__event_type", "base_version", "undoes", "version", *_PEOPLE))
        .alias(latest_version=Subquery(latest))
        .annotate(is_stale=ExpressionWrapper(Q(state__in=OPEN) & (overtaken | Q(has_changed_grounds=True)), output_field=BooleanField()))
    )
