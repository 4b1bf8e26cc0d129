"""Taking the Advisor's advice: evidence, recommendation, backtest, and the proposal that comes of them, rule by rule.

Safe to run at any time and beside itself: the proposal is opened under a lock of its rule, and the same evidence opens
nothing twice.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.core.cache import cache
from django.db import DatabaseError
from django.db.models import Q

from config.base.errors import DomainError
from pricing.advisor.evidence import Evidence
from pricing.advisor.recommend import recommend
from pricing.advisor.recommendation import Recommendation
from pricing.definition import Definition
from pricing.models import PriceRule, Proposal, ProposalState
from pricing.services import proposals
from reports.queries.advisor_evidence import evidence_for, last_days, policy
from reports.queries.backtest import backtest

log = logging.getLogger(__name__)
_LATELY: Final = timedelta(days=7)
_AGAIN_SECONDS: Final = 3600


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
    evidence, terms = evidence_for(rule, now=now), policy()
    said = recommend(evidence, terms)
    if is_dry:
        return Advice(str(rule), evidence.version, said, outcome="Nothing was proposed: this was a dry run.")
    tested = None
    if said.definition is not None and not _is_proposed(rule, evidence, said.definition):
        tested = backtest(rule, said.definition, start=evidence.current.start, end=evidence.current.end, now=now)
    made = proposals.advise(rule=rule, evidence=evidence, policy=terms, recommendation=said, backtest=tested, now=now)
    return Advice(str(rule), evidence.version, said, made.pk if made else None, _outcome(said, made, now))


def backtest_open(*, now: datetime) -> int:
    """Backtest the proposals of the last week that have none: those of people, and edited ones. Return how many it did.

    What this worker has tried, it leaves alone for an hour.
    """
    lately = Q(created_at__gte=now - _LATELY) | Q(edited_at__gte=now - _LATELY)
    waiting = Proposal.objects.filter(lately, state=ProposalState.PROPOSED, backtest__isnull=True).select_related("rule__event_type")
    start, end = last_days(now=now)
    done = 0
    for proposal in waiting:
        definition = proposal.as_definition()
        if not cache.add(f"backtest-{proposal.pk}-{proposals.fingerprint(proposal)}", "tried", _AGAIN_SECONDS):
            continue
        try:
            tested = backtest(proposal.rule, definition, start=start, end=end, now=now)
            proposals.record_backtest(proposal=proposal, definition=definition, backtest=tested)
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
