"""The steps that every proposal takes, whoever had the idea: its rule is taken first, one of a rule waits, and what was decided stays."""

from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

from pricing.advisor.evidence import digest
from pricing.models import OPEN, PriceRule, PriceVersion, Proposal, ProposalSource, ProposalState
from pricing.queries import grounds, timeline
from pricing.rating import explain
from pricing.services import notices, prices
from pricing.services.refusals import OpenProposalError, ProposalDecidedError, StaleProposalError, StartsTooSoonError, UnseenEditError

# As long as a publication waits for its lock at most, and a little more.
_WAIT_FOR_CHARGES: Final = timedelta(seconds=5)


def fingerprint(proposal: Proposal) -> str:
    """Return what stands for the price as it is proposed now, and for its start."""
    starts = proposal.effective_from
    return digest({"definition": proposal.definition, "effective_from": starts.astimezone(UTC).isoformat() if starts else None})


def refuse_unseen(row: Proposal, seen: str) -> None:
    """Raise UnseenEditError if `row` is not as it was when somebody took its fingerprint; an empty one was not taken."""
    if seen and seen != fingerprint(row):
        who = row.edited_by or row.created_by or "The Pricing Advisor"
        raise UnseenEditError(
            f"{row} was edited since you opened it. By {who} it is now: {explain(row.as_price())}. Read it before you go on."
        )


def refuse_in_the_way(rule: PriceRule) -> None:
    """Raise OpenProposalError if a proposal of `rule` lets no other stand beside it."""
    if (standing := in_the_way(rule)) is not None:
        author = standing.edited_by or standing.created_by
        raise OpenProposalError(f"{standing} by {author} waits for a decision: edit, decide or withdraw that one first.")


def lock(rule_id: int) -> PriceRule:
    """Take the rule for this transaction: of all that is proposed and decided about it, one thing happens at a time."""
    return PriceRule.objects.select_for_update(of=("self",), no_key=True).select_related("event_type").get(pk=rule_id)


def still_open(proposal: Proposal) -> Proposal:
    """Take its rule, and return the proposal as it is by now."""
    rule = lock(proposal.rule_id)
    row = Proposal.objects.select_related("base_version", "created_by", "edited_by", "decided_by").get(pk=proposal.pk)
    row.rule = rule
    if row.state not in OPEN:
        _refuse_decided(row)
    return row


def _refuse_decided(row: Proposal) -> NoReturn:
    who = f" by {row.decided_by}" if row.decided_by else ""
    raise ProposalDecidedError(
        f"{row} was {row.state}{who} meanwhile: nothing is left to do with it. Propose anew if you want another price."
    )


def refuse_stale(row: Proposal) -> None:
    """Raise StaleProposalError if the rule has another version than `row` was thought of for, or its evidence has changed."""
    latest = timeline.latest(row.rule)
    if latest != row.base_version:
        raise StaleProposalError(
            f"{latest} has come since this was proposed, so it was thought of for another price: withdraw or reject it, and propose anew."
        )
    if changed := grounds.changes(row):
        raise StaleProposalError(f"What this was advised on has changed. {' '.join(changed)} Let the Advisor advise again, or reject it.")


def is_stale(row: Proposal) -> bool:
    """Say whether `refuse_stale` would refuse it."""
    return timeline.latest(row.rule) != row.base_version or bool(grounds.changes(row))


def standing_of(rule: PriceRule) -> Proposal | None:
    """Return the one proposal of `rule` that waits for a decision."""
    return (
        Proposal.objects.select_related("rule__event_type", "base_version", "created_by", "edited_by")
        .filter(rule=rule, state=ProposalState.PROPOSED)
        .first()
    )


def in_the_way(rule: PriceRule) -> Proposal | None:
    """Return the proposal that lets no other stand beside it: one that a person made or edited and that is not stale."""
    standing = standing_of(rule)
    if standing is None or not is_in_hand(standing) or is_stale(standing):
        return None
    return standing


def is_in_hand(row: Proposal) -> bool:
    """Say whether a person made or edited it; what is the Advisor's alone may be replaced."""
    return row.source == ProposalSource.PERSON or row.edited_by is not None


def ask(row: Proposal, *, now: datetime, is_news: bool = True) -> Proposal:
    """Let the proposal wait for a decision, and tell those who may decide."""
    check_start(row, now)
    _make_room(row, now)
    row.state = ProposalState.PROPOSED
    row.save()
    if is_news:
        notices.of_proposal(row, now=now)
    return row


def check_start(row: Proposal, now: datetime) -> None:
    """Raise StartsTooSoonError, LaterVersionError or RuleEndedLaterError if it could not start when it says, were it approved at once."""
    if row.effective_from is None:
        return
    if row.base_version is not None:
        prices.check_follows(row.base_version, row.effective_from, now + prices.LEAD_TIME)
    else:
        refuse_a_late_exception(row.rule, row.effective_from, now)


def refuse_a_late_exception(rule: PriceRule, starts: datetime, now: datetime) -> None:
    """A rule's first price takes events from a wider or narrower rule, which may have been charged already."""
    if timeline.latest(rule) is None and is_priced(rule) and starts < now + prices.LEAD_TIME + _WAIT_FOR_CHARGES:
        raise StartsTooSoonError(f"{rule.event_type.name} is charged by another rule already: let this price start two minutes from now.")


def is_priced(rule: PriceRule) -> bool:
    """Say whether the event type of `rule` has a price, for whomever."""
    return PriceVersion.objects.filter(rule__event_type=rule.event_type_id).exists()


def _make_room(row: Proposal, now: datetime) -> None:
    """Supersede the open proposal of the rule, unless it is in the way."""
    refuse_in_the_way(row.rule)
    supersede(standing_of(row.rule), f"{row.created_by or 'The Pricing Advisor'} proposed another price.", now)


def supersede(row: Proposal | None, reason: str, now: datetime) -> None:
    """Let another proposal take its place."""
    if row is not None:
        close(row, ProposalState.SUPERSEDED, reason, now)
        notices.of_decision(row, now=now)


def close(row: Proposal, state: ProposalState, reason: str, now: datetime) -> None:
    """Give it the last of its states."""
    row.state, row.decision_reason, row.decided_at = state, reason, now
    row.save()
