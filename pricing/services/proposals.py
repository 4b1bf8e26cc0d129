"""Deciding about prices: a price in force changes only by a proposal that a second person approves.

draft → proposed → approved | rejected | withdrawn | superseded. Every step takes the row of the rule first, so that two
people who decide at once find each other's decision, and then, where it publishes, the lock that charges share.
"""

from datetime import datetime, timedelta
from typing import Any, NoReturn, Protocol

from django.contrib.auth.models import User
from django.db import transaction

from pricing.advisor.evidence import Evidence, digest
from pricing.advisor.policy import Policy
from pricing.definition import Definition
from pricing.models import OPEN, PriceRule, PriceVersion, Proposal, ProposalEdit, ProposalSource, ProposalState
from pricing.queries import timeline, workspace
from pricing.services import notices, prices
from pricing.services.refusals import (
    FourEyesError,
    InvalidPriceError,
    MissingStartError,
    NeedsApprovalError,
    NothingToUndoError,
    NotTheAuthorError,
    OpenProposalError,
    ProposalDecidedError,
    ProposalIsDraftError,
    StaleProposalError,
    StartsTooSoonError,
    UnchangedPriceError,
)

_CHANGES_THE_PRICE = frozenset({"raise", "lower"})
# As long as a publication waits for its lock at most, and a little more.
_WAIT_FOR_CHARGES = timedelta(seconds=5)


class Advice(Protocol):
    """What the Advisor recommends, as `pricing.advisor.recommend` returns it."""

    @property
    def verdict(self) -> str: ...

    @property
    def definition(self) -> Definition | None: ...

    @property
    def headline(self) -> str: ...

    def as_json(self) -> dict[str, Any]: ...


@transaction.atomic
def propose(
    *, rule: PriceRule, definition: Definition, reason: str, effective_from: datetime | None = None, actor: User, now: datetime
) -> Proposal:
    """Ask for a decision on a new price of `rule`; one of the Advisor's that is open is superseded, and so is a stale one.

    Raises:
        InvalidPriceError: the price could not be published, or there is no reason.
        UnchangedPriceError: it is the price that the rule has.
        OpenProposalError: another person's proposal, or one of one's own, waits for a decision.
        StartsTooSoonError, LaterVersionError, RuleEndedLaterError: it could not start then, were it approved at once.
    """
    made = _new(_lock(rule.pk), definition, reason, effective_from, actor, now)
    return _ask(made, now=now)


@transaction.atomic
def save_draft(
    *, rule: PriceRule, definition: Definition, reason: str, effective_from: datetime | None = None, actor: User, now: datetime
) -> Proposal:
    """Keep a price that its author is not sure of yet; `edit` rewrites it, `submit` proposes it, `withdraw` throws it away.

    Raises:
        InvalidPriceError, UnchangedPriceError: as `propose`.
    """
    made = _new(_lock(rule.pk), definition, reason, effective_from, actor, now)
    made.save()
    return made


@transaction.atomic
def submit(*, proposal: Proposal, actor: User, now: datetime) -> Proposal:
    """Ask for a decision on a draft.

    Raises:
        ProposalDecidedError: it is no draft any more.
        NotTheAuthorError: it is somebody else's.
        StaleProposalError: the rule has another version since.
        OpenProposalError, StartsTooSoonError, LaterVersionError, RuleEndedLaterError: as `propose`.
    """
    row = _open(proposal)
    if row.state != ProposalState.DRAFT:
        raise ProposalDecidedError(f"{row} was submitted already: it waits for a decision.")
    _only_its_author(row, actor, "submit a draft")
    _refuse_stale(row)
    return _ask(row, now=now)


@transaction.atomic
def advise(
    *, rule: PriceRule, evidence: Evidence, policy: Policy, recommendation: Advice, backtest: dict[str, Any] | None, now: datetime
) -> Proposal | None:
    """Let the Advisor propose what it recommends; return its open proposal, None where it has nothing to propose.

    It never stands beside a proposal that a person made or edited, repeats no proposal that stands on the same evidence, and after a
    rejection it rests as long as after a change. What it does not recommend any more is superseded.

    Raises:
        InvalidPriceError: the recommended price could not be published.
    """
    locked = _lock(rule.pk)
    latest = timeline.latest(locked)
    standing = _proposed(locked)
    if standing is not None and _is_in_hand(standing) and (latest is None or standing.base_version_id == latest.pk):
        return None
    wanted = recommendation.definition if recommendation.verdict in _CHANGES_THE_PRICE else None
    if wanted is None or latest is None or latest.number != evidence.version:
        # With another version since, or one that is scheduled, the evidence is about a price that goes anyway.
        _supersede(standing, "The Advisor does not recommend it any more.", now)
        return None
    said = (latest.pk, evidence.hash, wanted.as_json())
    if standing is not None and (standing.base_version_id, standing.evidence_hash, standing.definition) == said:
        return standing
    if standing is None and _rests(locked, policy, now):
        return None
    _supersede(standing, "The Advisor has newer evidence.", now)
    prices.check(wanted, recommendation.headline)
    made = Proposal(
        rule=locked,
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
    return _ask(made, now=now, is_news=standing is None or standing.definition != made.definition)


@transaction.atomic
def edit(
    *, proposal: Proposal, definition: Definition, effective_from: datetime | None, reason: str, actor: User, now: datetime
) -> Proposal:
    """Put another price in the place of the proposed one; who does so cannot decide on it any more.

    A draft is its author's own and rewritten as it stands. Of a submitted one the first price is kept, and every edit.

    Raises:
        ProposalDecidedError, StaleProposalError: there is nothing left to edit.
        InvalidPriceError, UnchangedPriceError, StartsTooSoonError, LaterVersionError, RuleEndedLaterError: as `propose`.
        NotTheAuthorError: the draft is somebody else's.
    """
    row = _open(proposal)
    _refuse_stale(row)
    prices.check(definition, reason)
    _refuse_unchanged(row.base_version, definition)
    row.effective_from = effective_from
    if row.state == ProposalState.DRAFT:
        _only_its_author(row, actor, "change a draft")
        row.reason = reason
    else:
        _check_start(row, now)
        ProposalEdit.objects.create(
            proposal=row, definition=definition.as_json(), effective_from=effective_from, reason=reason, edited_by=actor, edited_at=now
        )
        row.original = row.original or row.definition
        row.edited_by, row.edited_at = actor, now
    if row.definition != definition.as_json():
        row.definition, row.backtest = definition.as_json(), None
    row.save()
    return row


@transaction.atomic
def record_backtest(*, proposal: Proposal, definition: Definition, backtest: dict[str, Any]) -> Proposal:
    """Keep what `definition` would have charged with an open proposal; one that was edited meanwhile is left as it is.

    Raises:
        ProposalDecidedError: it is not open any more.
    """
    row = _open(proposal)
    if row.backtest is None and row.definition == definition.as_json():
        row.backtest = backtest
        row.save(update_fields=["backtest"])
    return row


@transaction.atomic
def approve(
    *, proposal: Proposal, effective_from: datetime | None = None, reason: str, actor: User, seen: str = "", now: datetime
) -> PriceVersion:
    """Publish the proposed price; without `effective_from` it starts when the proposal says.

    `seen` is the `fingerprint` of the price that `actor` read, so that an edit in between is not approved unseen.

    The version is by its proposer, or by who edited it last, and approved by `actor`.

    Raises:
        ProposalDecidedError, ProposalIsDraftError: it does not wait for a decision.
        FourEyesError: `actor` proposed or edited it.
        StaleProposalError: the rule has another version since, or the proposal another price.
        MissingStartError: neither the proposal nor `effective_from` says when it starts.
        InvalidPriceError: there is no reason.
        StartsTooSoonError, LaterVersionError, RuleEndedLaterError: as `prices.publish_version`.
    """
    row = _to_decide(proposal, reason, actor)
    _refuse_stale(row)
    if seen and seen != fingerprint(row):
        raise StaleProposalError(f"{row} was edited since you opened it: read the page again before you decide.")
    edited = row.edits.order_by("-id").first()
    starts = effective_from or row.effective_from
    if starts is None:
        raise MissingStartError("The proposal names no start: say from when on the price holds.")
    author = row.edited_by or row.created_by
    row.version = _publish(
        row.rule,
        row.as_definition(),
        effective_from=starts,
        reason=edited.reason if edited else row.reason,
        actor=author,
        approved_by=actor,
        now=now,
    )
    _decide(row, ProposalState.APPROVED, reason, actor, now)
    return row.version


@transaction.atomic
def reject(*, proposal: Proposal, reason: str, actor: User, now: datetime) -> Proposal:
    """Decide that the price stays as it is.

    Raises:
        ProposalDecidedError, ProposalIsDraftError, FourEyesError, InvalidPriceError: as `approve`.
    """
    row = _to_decide(proposal, reason, actor)
    _decide(row, ProposalState.REJECTED, reason, actor, now)
    return row


@transaction.atomic
def withdraw(*, proposal: Proposal, reason: str = "", actor: User, now: datetime) -> Proposal:
    """Take one's own proposal or draft back.

    Raises:
        ProposalDecidedError: it is not open any more.
        NotTheAuthorError: it is somebody else's, or the Advisor's.
    """
    row = _open(proposal)
    _only_its_author(row, actor, "withdraw a proposal")
    _close(row, ProposalState.WITHDRAWN, reason, now)
    return row


@transaction.atomic
def undo(*, version: PriceVersion, reason: str, actor: User, now: datetime) -> Proposal:
    """Propose the price that was in force before `version`; it takes the same road as any other.

    Raises:
        NothingToUndoError: it is the rule's first version, or not its latest.
        UnchangedPriceError, OpenProposalError, InvalidPriceError: as `propose`.
    """
    rule = _lock(version.rule_id)
    latest = timeline.latest(rule)
    before = rule.versions.filter(number__lt=version.number).order_by("-number").first()
    if latest != version:
        raise NothingToUndoError(f"{version} has been followed by {latest}: undo that one, or propose the price that you want.")
    if before is None:
        raise NothingToUndoError(f"{version} is the rule's first price, so there is none to go back to: propose the price that you want.")
    made = _new(rule, before.definition(), reason, None, actor, now)
    made.undoes = version
    return _ask(made, now=now)


@transaction.atomic
def publish_directly(
    *, rule: PriceRule, definition: Definition, effective_from: datetime, reason: str, actor: User | None, now: datetime
) -> PriceVersion:
    """Publish a rule's first price, which nobody was charged by, or any where the workspace asks for no approval.

    Raises:
        NeedsApprovalError: the rule has a price, and prices need approval.
        InvalidPriceError, StartsTooSoonError, LaterVersionError, RuleEndedLaterError: as `prices.publish_version`.
    """
    locked = _lock(rule.pk)
    if needs_approval(locked):
        raise NeedsApprovalError(f"{locked} has a price, and a price changes only with a second person's approval: propose it instead.")
    return _publish(locked, definition, effective_from=effective_from, reason=reason, actor=actor, now=now)


def fingerprint(proposal: Proposal) -> str:
    """Return what stands for the price as it is proposed now."""
    return digest(proposal.definition)


def needs_approval(rule: PriceRule) -> bool:
    """Say whether the next price of `rule` has to be proposed: once its event type has a price, for whomever, people are charged."""
    return workspace.load().prices_need_approval and _is_priced(rule)


def _is_priced(rule: PriceRule) -> bool:
    return PriceVersion.objects.filter(rule__event_type=rule.event_type_id).exists()


def _publish(rule: PriceRule, definition: Definition, **decisions: Any) -> PriceVersion:
    _refuse_a_late_exception(rule, decisions["effective_from"], decisions["now"])
    return prices.publish_version(
        rule=rule,
        credits_per_event=definition.credits_per_event,
        components=definition.components,
        tiers=definition.tiers,
        minimum=definition.minimum,
        rounding_step=definition.rounding_step,
        rounding_mode=definition.rounding_mode,
        **decisions,
    )


def in_the_way(rule: PriceRule) -> Proposal | None:
    """Return the proposal that lets no other stand beside it: one that a person made or edited and that is not stale."""
    standing = _proposed(rule)
    if standing is None or not _is_in_hand(standing) or standing.base_version != timeline.latest(rule):
        return None
    return standing


def _lock(rule_id: int) -> PriceRule:
    """Take the rule for this transaction: of all that is proposed and decided about it, one thing happens at a time."""
    return PriceRule.objects.select_for_update(of=("self",), no_key=True).select_related("event_type").get(pk=rule_id)


def _open(proposal: Proposal) -> Proposal:
    """Take its rule, and return the proposal as it is by now."""
    rule = _lock(proposal.rule_id)
    row = Proposal.objects.select_related("base_version", "created_by", "edited_by", "decided_by").get(pk=proposal.pk)
    row.rule = rule
    if row.state not in OPEN:
        _refuse_decided(row)
    return row


def _to_decide(proposal: Proposal, reason: str, actor: User) -> Proposal:
    row = _open(proposal)
    if row.state == ProposalState.DRAFT:
        raise ProposalIsDraftError(f"{row} is a draft: {row.created_by} submits it first.")
    if actor == row.created_by:
        raise FourEyesError("You proposed this price, so another person decides on it. You can withdraw it.")
    if row.edits.filter(edited_by=actor).exists():
        raise FourEyesError("You edited this price, so another person decides on it.")
    if not reason.strip():
        raise InvalidPriceError("reason must say why you decided so", (("reason", "must say why you decided so"),))
    return row


def _refuse_decided(row: Proposal) -> NoReturn:
    who = f" by {row.decided_by}" if row.decided_by else ""
    raise ProposalDecidedError(
        f"{row} was {row.state}{who} meanwhile: nothing is left to do with it. Propose anew if you want another price."
    )


def _refuse_stale(row: Proposal) -> None:
    latest = timeline.latest(row.rule)
    if latest != row.base_version:
        raise StaleProposalError(
            f"{latest} has come since this was proposed, so it was thought of for another price: withdraw or reject it, and propose anew."
        )


def _only_its_author(row: Proposal, actor: User, what: str) -> None:
    if row.created_by != actor:
        author = row.created_by or "the Pricing Advisor"
        raise NotTheAuthorError(f"Only its author can {what}, and this is by {author}: ask them, or reject it once it is submitted.")


def _new(rule: PriceRule, definition: Definition, reason: str, effective_from: datetime | None, actor: User, now: datetime) -> Proposal:
    """Return a draft of a person, not written yet."""
    prices.check(definition, reason)
    latest = timeline.latest(rule)
    _refuse_unchanged(latest, definition)
    return Proposal(
        rule=rule,
        base_version=latest,
        source=ProposalSource.PERSON,
        state=ProposalState.DRAFT,
        definition=definition.as_json(),
        effective_from=effective_from,
        reason=reason,
        created_by=actor,
        created_at=now,
    )


def _ask(row: Proposal, *, now: datetime, is_news: bool = True) -> Proposal:
    """Let the proposal wait for a decision, and tell those who may decide."""
    _check_start(row, now)
    _make_room(row, now)
    row.state = ProposalState.PROPOSED
    row.save()
    if is_news:
        notices.of_proposal(row, now=now)
    return row


def _check_start(row: Proposal, now: datetime) -> None:
    if row.effective_from is None:
        return
    if row.base_version is not None:
        prices.check_follows(row.base_version, row.effective_from, now + prices.LEAD_TIME)
    else:
        _refuse_a_late_exception(row.rule, row.effective_from, now)


def _refuse_a_late_exception(rule: PriceRule, starts: datetime, now: datetime) -> None:
    """A rule's first price takes events from a wider or narrower rule, which may have been charged already."""
    if timeline.latest(rule) is None and _is_priced(rule) and starts < now + prices.LEAD_TIME + _WAIT_FOR_CHARGES:
        raise StartsTooSoonError(f"{rule.event_type.name} is charged by another rule already: let this price start two minutes from now.")


def _make_room(row: Proposal, now: datetime) -> None:
    """Supersede the open proposal of the rule, unless it is in the way."""
    if (standing := in_the_way(row.rule)) is not None:
        author = standing.edited_by or standing.created_by
        raise OpenProposalError(f"{standing} by {author} waits for a decision: edit, decide or withdraw that one first.")
    _supersede(_proposed(row.rule), f"{row.created_by or 'The Pricing Advisor'} proposed another price.", now)


def _is_in_hand(row: Proposal) -> bool:
    """Say whether a person made or edited it; what is the Advisor's alone may be replaced."""
    return row.source == ProposalSource.PERSON or row.edited_by is not None


def _proposed(rule: PriceRule) -> Proposal | None:
    return (
        Proposal.objects.select_related("rule__event_type", "base_version", "created_by", "edited_by")
        .filter(rule=rule, state=ProposalState.PROPOSED)
        .first()
    )


def _supersede(row: Proposal | None, reason: str, now: datetime) -> None:
    if row is not None:
        _close(row, ProposalState.SUPERSEDED, reason, now)
        notices.of_decision(row, now=now)


def _rests(rule: PriceRule, policy: Policy, now: datetime) -> bool:
    """Say whether a person said no to the Advisor so lately that it does not ask again."""
    refused = Proposal.objects.filter(rule=rule, source=ProposalSource.ADVISOR, state=ProposalState.REJECTED)
    last = refused.order_by("-decided_at").values_list("decided_at", flat=True).first()
    return last is not None and (now - last).days < policy.cooldown_days


def _close(row: Proposal, state: ProposalState, reason: str, now: datetime) -> None:
    row.state, row.decision_reason, row.decided_at = state, reason, now
    row.save()


def _decide(row: Proposal, state: ProposalState, reason: str, actor: User, now: datetime) -> None:
    row.decided_by = actor
    _close(row, state, reason, now)
    notices.of_decision(row, now=now)


def _refuse_unchanged(latest: PriceVersion | None, definition: Definition) -> None:
    if latest is not None and latest.definition().as_json() == definition.as_json():
        raise UnchangedPriceError(f"{latest} is this very price already: change a figure, or leave it as it is.")
