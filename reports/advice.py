"""Taking the Advisor's advice: evidence, recommendation, backtest, and the proposal that comes of them, rule by rule.

Safe to run at any time and beside itself: the proposal is opened under a lock of its rule, and the same evidence opens
nothing twice.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import DatabaseError, transaction
from django.db.models import Q

from billing.queries import recosted
from config.base.errors import DomainError
from pricing.advisor.evidence import Evidence
from pricing.advisor.recommend import recommend
from pricing.advisor.recommendation import Recommendation
from pricing.definition import Definition
from pricing.models import PriceRule, Proposal, ProposalState
from pricing.queries import workspace
from pricing.services import advising
from reports.queries.advisor_evidence import evidence_for, last_days
from reports.queries.backtest import backtest

log = logging.getLogger(__name__)
_LATELY: Final = timedelta(days=7)
_AGAIN: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Advice:
    """What came of one rule: what the Advisor says and what was made of it, or why it could not say anything."""

    rule: str
    version: int | None = None
    recommendation: Recommendation | None = None
    proposal: int | None = None
    outcome: str = ""
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        """Write the advice as plain JSON."""
        said = self.recommendation.as_json() if self.recommendation else None
        names = ("rule", "version", "proposal", "outcome", "error")
        return {name: getattr(self, name) for name in names} | {"recommendation": said}


def rules_in_force(*, now: datetime) -> list[PriceRule]:
    """Return the rules that price something at `now`, by name."""
    in_force = Q(versions__effective_from__lte=now) & (Q(versions__effective_to=None) | Q(versions__effective_to__gt=now))
    rules = PriceRule.objects.filter(in_force, event_type__is_active=True).select_related("event_type").distinct()
    return sorted(rules, key=str)


def advise_all(rules: Iterable[PriceRule], *, now: datetime, is_dry: bool = False) -> Iterator[Advice]:
    """Yield the advice on each of `rules` as it is given; one that fails is told, and the others go on."""
    for rule in rules:
        try:
            yield advise(rule, now=now, is_dry=is_dry)
        except DomainError as refusal:
            yield Advice(str(rule), error=str(refusal))
        except (DatabaseError, ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
            log.exception("no advice on %s", rule)
            yield Advice(str(rule), error=f"{type(error).__name__}: {error}")


def advise(rule: PriceRule, *, now: datetime, is_dry: bool = False) -> Advice:
    """Look at one rule, and propose what there is to propose unless `is_dry`.

    Raises NoPriceInForceError, TooMuchUsageError, InvalidPriceError.
    """
    known = recosted.newest()
    evidence, terms = evidence_for(rule, now=now), workspace.policy(workspace.load())
    said = recommend(evidence, terms)
    if is_dry:
        return Advice(str(rule), evidence.version, said, outcome="Nothing was proposed: this was a dry run.")
    tested = None
    if said.definition is not None and not _is_proposed(rule, evidence, said.definition):
        tested = backtest(rule, said.definition, start=evidence.current.start, end=evidence.current.end, now=now)
    with transaction.atomic():
        made = advising.advise(rule=rule, evidence=evidence, policy=terms, recommendation=said, backtest=tested, now=now)
        if made is not None:
            _note_recosted_meanwhile(evidence, known, now)
    return Advice(str(rule), evidence.version, said, made.pk if made else None, _outcome(said, made, now))


def _note_recosted_meanwhile(evidence: Evidence, known: int, now: datetime) -> None:
    """Mark what was advised on costs that a re-rating changed while they were read."""
    for window in filter(None, (evidence.baseline, evidence.current)):
        period = {"start": window.start, "end": window.end}
        charged = recosted.charged_since(known, known_at=now, version_ids=evidence.price_version_ids, **period)
        if charged:
            advising.note_recosted(charged=charged, now=now)


def backtest_open(*, now: datetime) -> int:
    """Backtest the proposals of the last week that have none: those of people, and edited ones. Return how many it did.

    What a worker has tried, all of them leave alone for an hour.
    """
    lately = Q(created_at__gte=now - _LATELY) | Q(edited_at__gte=now - _LATELY)
    waiting = Proposal.objects.filter(lately, state=ProposalState.PROPOSED, backtest__isnull=True).select_related("rule__event_type")
    start, end = last_days(now=now)
    done = 0
    for proposal in waiting:
        definition = proposal.as_definition()
        if not advising.claim_backtest(proposal=proposal, again_after=_AGAIN, now=now):
            continue
        try:
            tested = backtest(proposal.rule, definition, start=start, end=end, now=now)
            advising.record_backtest(proposal=proposal, definition=definition, backtest=tested)
        except DomainError as refusal:  # decided meanwhile, or too much to read
            log.warning("no backtest of %s: %s", proposal, refusal)
        except Exception:  # one price that cannot be tested holds up no other
            log.exception("no backtest of %s", proposal)
        else:
            done += 1
    return done


def _is_proposed(rule: PriceRule, evidence: Evidence, definition: Definition) -> bool:
    same = Proposal.objects.filter(rule=rule, state=ProposalState.PROPOSED, evidence_hash=evidence.hash, definition=definition.as_json())
    return same.exists()


def _outcome(said: Recommendation, made: Proposal | None, now: datetime) -> str:
    if made is not None:
        return f"{made} was opened." if made.created_at == now else f"{made} is open already."
    if said.definition is None:
        return "There is nothing to propose."
    return "Nothing was proposed: a person's proposal is open, another version is scheduled, or the Advisor was refused lately."
