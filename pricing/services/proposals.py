"""Deciding about prices: a price in force changes only by a proposal that a second person approves.

draft → proposed → approved | rejected | withdrawn | superseded. Every step takes the row of the rule first, so that two
people who decide at once find each other's decision, and then, where it publishes, the lock that charges share. The
Advisor's own road is `advising`.
"""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from pricing.definition import Definition
from pricing.models import PriceRule, PriceVersion, Proposal, ProposalEdit, ProposalSource, ProposalState
from pricing.queries import timeline, workspace
from pricing.services import notices, prices, proposal_steps
from pricing.services.refusals import (
    FourEyesError,
    InvalidPriceError,
    MissingStartError,
    NeedsApprovalError,
    NothingToUndoError,
    NotTheAuthorError,
    PriceRefusedError,
    ProposalDecidedError,
    ProposalIsDraftError,
    UnchangedPriceError,
)


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
    made = _new(proposal_steps.lock(rule.pk), definition, reason, effective_from, actor, now)
    return proposal_steps.ask(made, now=now)


@transaction.atomic
def save_draft(
    *, rule: PriceRule, definition: Definition, reason: str, effective_from: datetime | None = None, actor: User, now: datetime
) -> Proposal:
    """Keep a price that its author is not sure of yet; `edit` rewrites it, `submit` proposes it, `withdraw` throws it away.

    Raises:
        InvalidPriceError, UnchangedPriceError: as `propose`.
    """
    made = _new(proposal_steps.lock(rule.pk), definition, reason, effective_from, actor, now)
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
    row = proposal_steps.still_open(proposal)
    if row.state != ProposalState.DRAFT:
        raise ProposalDecidedError(f"{row} was submitted already: it waits for a decision.")
    _only_its_author(row, actor, "submit a draft")
    proposal_steps.refuse_stale(row)
    return proposal_steps.ask(row, now=now)


@transaction.atomic
def edit(
    *, proposal: Proposal, definition: Definition, effective_from: datetime | None, reason: str, actor: User, seen: str = "", now: datetime
) -> Proposal:
    """Put another price in the place of the proposed one; who does so cannot decide on it any more.

    `seen` is the `fingerprint` of the price that `actor` read, so that nobody's edit is replaced unseen.
    A draft is its author's own and rewritten as it stands. Of a submitted one the first price is kept, and every edit, and
    those who may still decide are told.

    Raises:
        ProposalDecidedError, StaleProposalError: there is nothing left to edit.
        UnseenEditError: somebody else edited it meanwhile.
        InvalidPriceError, UnchangedPriceError, StartsTooSoonError, LaterVersionError, RuleEndedLaterError: as `propose`.
        NotTheAuthorError: the draft is somebody else's.
    """
    row = proposal_steps.still_open(proposal)
    proposal_steps.refuse_stale(row)
    if row.state == ProposalState.DRAFT:
        _only_its_author(row, actor, "change a draft")
    proposal_steps.refuse_unseen(row, seen)
    prices.check(definition, reason)
    _refuse_unchanged(row.base_version, definition)
    row.effective_from = effective_from
    if row.state == ProposalState.DRAFT:
        row.reason = reason
    else:
        _keep_edit(row, definition, reason, actor, now)
    if row.definition != definition.as_json():
        row.definition, row.backtest, row.backtest_tried_at = definition.as_json(), None, None
    row.save()
    return row


def _keep_edit(row: Proposal, definition: Definition, reason: str, actor: User, now: datetime) -> None:
    """Write down what was edited, and owe a notice to those who may still decide."""
    proposal_steps.check_start(row, now)
    kept = ProposalEdit.objects.create(
        proposal=row, definition=definition.as_json(), effective_from=row.effective_from, reason=reason, edited_by=actor, edited_at=now
    )
    row.original = row.original or row.definition
    row.edited_by, row.edited_at = actor, now
    notices.of_edit(kept, now=now)


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
        StaleProposalError: the rule has another version since, or what the Advisor looked at has changed.
        UnseenEditError: the proposal has another price since.
        MissingStartError: neither the proposal nor `effective_from` says when it starts.
        InvalidPriceError: there is no reason.
        StartsTooSoonError, LaterVersionError, RuleEndedLaterError: as `prices.publish_version`.
    """
    row = _to_decide(proposal, reason, actor)
    proposal_steps.refuse_stale(row)
    proposal_steps.refuse_unseen(row, seen)
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
    row = proposal_steps.still_open(proposal)
    _only_its_author(row, actor, "withdraw a proposal")
    proposal_steps.close(row, ProposalState.WITHDRAWN, reason, now)
    return row


@transaction.atomic
def undo(*, version: PriceVersion, reason: str, effective_from: datetime | None = None, actor: User, now: datetime) -> Proposal:
    """Propose the price that was in force before `version`; it takes the same road as any other.

    Raises:
        NothingToUndoError: it is the rule's first version, or not its latest, or nobody approves prices here.
        UnchangedPriceError, OpenProposalError, InvalidPriceError, StartsTooSoonError, LaterVersionError: as `propose`.
    """
    rule = proposal_steps.lock(version.rule_id)
    before = _before(rule, version)
    made = _new(rule, before.definition(), reason, effective_from, actor, now)
    made.undoes = version
    return proposal_steps.ask(made, now=now)


def against_undoing(version: PriceVersion) -> str:
    """Say why `undo` would refuse `version` just now; empty where it would not."""
    try:
        before = _before(version.rule, version)
        _refuse_unchanged(version, before.definition())
        proposal_steps.refuse_in_the_way(version.rule)
    except PriceRefusedError as refusal:
        return refusal.detail
    return ""


def _before(rule: PriceRule, version: PriceVersion) -> PriceVersion:
    """Return the price that `version` of `rule` followed. Raises NothingToUndoError."""
    latest = timeline.latest(rule)
    if latest != version:
        raise NothingToUndoError(f"{version} has been followed by {latest}: undo that one, or propose the price that you want.")
    before = rule.versions.filter(number__lt=version.number).order_by("-number").first()
    if before is None:
        raise NothingToUndoError(f"{version} is the rule's first price, so there is none to go back to: propose the price that you want.")
    if not needs_approval(rule):
        raise NothingToUndoError("Prices need no approval here, so nobody decides on proposals: publish the price that you want.")
    return before


@transaction.atomic
def publish_directly(
    *, rule: PriceRule, definition: Definition, effective_from: datetime, reason: str, actor: User | None, now: datetime
) -> PriceVersion:
    """Publish a rule's first price, which nobody was charged by, or any where the workspace asks for no approval.

    Raises:
        NeedsApprovalError: the rule has a price, and prices need approval.
        InvalidPriceError, StartsTooSoonError, LaterVersionError, RuleEndedLaterError: as `prices.publish_version`.
    """
    locked = proposal_steps.lock(rule.pk)
    if needs_approval(locked):
        raise NeedsApprovalError(f"{locked} has a price, and a price changes only with a second person's approval: propose it instead.")
    return _publish(locked, definition, effective_from=effective_from, reason=reason, actor=actor, now=now)


def needs_approval(rule: PriceRule) -> bool:
    """Say whether the next price of `rule` has to be proposed: once its event type has a price, for whomever, people are charged."""
    return workspace.load().prices_need_approval and proposal_steps.is_priced(rule)


def _publish(rule: PriceRule, definition: Definition, **decisions: Any) -> PriceVersion:
    proposal_steps.refuse_a_late_exception(rule, decisions["effective_from"], decisions["now"])
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


def _to_decide(proposal: Proposal, reason: str, actor: User) -> Proposal:
    row = proposal_steps.still_open(proposal)
    if row.state == ProposalState.DRAFT:
        raise ProposalIsDraftError(f"{row} is a draft: {row.created_by} submits it first.")
    if actor == row.created_by:
        raise FourEyesError("You proposed this price, so another person decides on it. You can withdraw it.")
    if row.edits.filter(edited_by=actor).exists():
        raise FourEyesError("You edited this price, so another person decides on it.")
    if not reason.strip():
        raise InvalidPriceError("reason must say why you decided so", (("reason", "must say why you decided so"),))
    return row


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


def _decide(row: Proposal, state: ProposalState, reason: str, actor: User, now: datetime) -> None:
    row.decided_by = actor
    proposal_steps.close(row, state, reason, now)
    notices.of_decision(row, now=now)


def _refuse_unchanged(latest: PriceVersion | None, definition: Definition) -> None:
    if latest is not None and latest.definition().as_json() == definition.as_json():
        raise UnchangedPriceError(f"{latest} is this very price already: change a figure, or leave it as it is.")
