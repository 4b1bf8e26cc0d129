"""From evidence and policy to a recommendation: first what is known, then why it changed, and only then a price.

1. Too few events, or too many without a known cost: **withhold**.
2. The margin is near its target, or the price is not made for its cost: **keep**.
3. The margin is below its target and mostly faults made it fall: **fix**.
4. Else the price at which the current window would have met the target, within the guardrails: **raise** or **lower**;
   **keep** where no allowed price is left, **withhold** while the last change is fresh.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from config.base.exact import CONTEXT, CREDIT_PLACES, MONEY_PLACES, from_fraction
from pricing.advisor.diagnosis import Diagnosis, diagnose
from pricing.advisor.drift import decompose
from pricing.advisor.drift_in_words import tell
from pricing.advisor.evidence import Evidence, Window
from pricing.advisor.guardrails import UNCHANGED, Gate, Suggestion, figures, gates, is_flat, sample_gates, shown_factor, suggest
from pricing.advisor.policy import Policy
from pricing.advisor.recommendation import Drift, Margins, PerEvent, Recommendation, Verdict
from pricing.advisor.words import count, credits, money, percent
from pricing.definition import Definition, check

__all__ = ["Recommendation", "Verdict", "recommend"]

MARGIN_PLACES: Final = 6
_HALF: Final = Decimal("0.5")


def recommend(evidence: Evidence, policy: Policy) -> Recommendation:
    """Return what `evidence` says about its price under `policy`; the same two always give the same answer.

    Raises ValueError for evidence that contradicts itself, and for a target of 100 % or more, which no price meets.
    """
    if policy.target_margin >= 1:
        raise ValueError("no price meets a target margin of 100 %: the target must be below 1")
    facts = _gather(evidence, policy)
    decision = _decide(facts)
    suggestion = decision.suggestion
    is_priced = decision.verdict in {Verdict.RAISE, Verdict.LOWER}
    factor = suggestion.factor if suggestion else None
    return Recommendation(
        verdict=decision.verdict,
        headline=decision.headline,
        rationale=tuple(_rationale(facts, decision)),
        margin=Margins(
            baseline=_margin(facts.baseline),
            current=_margin(facts.current),
            target=policy.target_margin,
            suggested=_share(facts.current.margin_at(factor)) if facts.current and factor and is_priced else None,
        ),
        baseline=facts.baseline.rounded() if facts.baseline else None,
        current=facts.current.rounded() if facts.current else None,
        drift=facts.drift,
        diagnosis=facts.diagnosis.findings,
        guardrails=(*(suggestion.guardrails if suggestion else ()), *(gate.guardrail(factor) for gate in facts.gates)),
        definition=suggestion.definition if suggestion and is_priced else None,
        factor=shown_factor(factor) if is_priced else None,
        evidence_hash=evidence.hash,
    )


@dataclass(frozen=True, slots=True)
class _Averages:
    """One window per event of known cost."""

    value: Fraction
    cost: Fraction
    credits: Fraction
    is_valued_by_policy: bool

    @property
    def margin(self) -> Fraction | None:
        return self.margin_at(UNCHANGED)

    def margin_at(self, factor: Fraction) -> Fraction | None:
        """Return the share of the value that is left when every price is multiplied by `factor`."""
        value = self.value * factor
        return (value - self.cost) / value if value > 0 else None

    def rounded(self) -> PerEvent:
        return PerEvent(
            from_fraction(self.value, MONEY_PLACES), from_fraction(self.cost, MONEY_PLACES), from_fraction(self.credits, CREDIT_PLACES)
        )


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the evidence says, before anything is decided. A window with too little evidence says nothing."""

    evidence: Evidence
    policy: Policy
    definition: Definition
    gates: tuple[Gate, Gate, Gate]  # cooldown, sample, unpriced
    current: _Averages | None
    baseline: _Averages | None
    drift: Drift | None
    diagnosis: Diagnosis


class _Decision(NamedTuple):
    verdict: Verdict
    headline: str
    suggestion: Suggestion | None = None


def _gather(evidence: Evidence, policy: Policy) -> _Facts:
    current, current_averages = _averages(evidence.current, policy)
    baseline, baseline_averages = _averages(evidence.baseline, policy) if evidence.baseline else (None, None)
    drift, diagnosis = None, Diagnosis()
    if baseline and baseline_averages and current_averages:
        change = decompose(baseline, current)
        drift = tell(change, evidence.currency)
        diagnosis = diagnose(drift, change, baseline, current)
    return _Facts(
        evidence=evidence,
        policy=policy,
        definition=Definition.from_json(evidence.definition),
        gates=gates(evidence, policy),
        current=current_averages,
        baseline=baseline_averages,
        drift=drift,
        diagnosis=diagnosis,
    )


def _averages(window: Window, policy: Policy) -> tuple[Window, _Averages | None]:
    """Return the averages of `window`, and the window with a value for credits of which none was paid for.

    Free credits beside paid ones are worth nothing. Where all of them were free, nothing says what customers would pay,
    and the workspace's credit value stands in.
    """
    is_unpaid = not window.value and window.credits > 0
    if is_unpaid:
        window = replace(window, value=CONTEXT.multiply(window.credits, policy.credit_value))
    if not all(gate.is_open for gate in sample_gates(window, policy)):
        return window, None
    value, cost, charged = (Fraction(total) / window.costed for total in (window.value, window.cost, window.credits))
    return window, _Averages(value, cost, charged, is_unpaid)


def _decide(facts: _Facts) -> _Decision:
    rule, current = facts.evidence.rule, facts.current
    if current is None:
        closed = next(gate for gate in facts.gates[1:] if not gate.is_open)
        return _Decision(Verdict.WITHHOLD, f"No advice on {rule}: {_inside(closed.sentence)}")
    if not any(figures(facts.definition)):
        return _Decision(Verdict.KEEP, f"Leave {rule} free: the Advisor moves prices and does not invent them.")
    if problems := check(facts.definition):
        field, message = problems[0]
        return _Decision(Verdict.WITHHOLD, f"No advice on {rule}: its price could not be published as it is, {field} {message}.")
    if (margin := current.margin) is None:
        return _Decision(Verdict.WITHHOLD, f"No advice on {rule}: its events brought in no credits.")
    return _weigh(facts, current, margin)


def _weigh(facts: _Facts, current: _Averages, margin: Fraction) -> _Decision:
    """Decide on a price that has a margin."""
    rule, policy = facts.evidence.rule, facts.policy
    if current.cost <= 0:
        return _Decision(Verdict.KEEP, f"Keep the price of {rule}: no provider charges for it, so cost does not speak for another price.")
    margins = f"its margin is {percent(margin)}, the target {percent(policy.target_margin)}"
    gap = margin - Fraction(policy.target_margin)
    if abs(gap) <= Fraction(policy.tolerance):
        return _Decision(Verdict.KEEP, f"Keep the price of {rule}: {margins}.")
    if gap < 0 and _is_broken(facts, margin):
        share = percent(facts.diagnosis.faults)
        return _Decision(Verdict.FIX, f"Repair before you raise {rule}: {margins}, and {share} of the fall comes from faults.")
    return _price(facts, current, margins)


def _is_broken(facts: _Facts, margin: Fraction) -> bool:
    """Say whether the margin fell by more than the tolerance, and more than half of that is due to faults."""
    before = facts.baseline.margin if facts.baseline else None
    return before is not None and before - margin > Fraction(facts.policy.tolerance) and facts.diagnosis.faults > _HALF


def _price(facts: _Facts, current: _Averages, margins: str) -> _Decision:
    floor = current.cost / current.value
    candidate = floor / (1 - Fraction(facts.policy.target_margin))
    suggestion = suggest(facts.definition, candidate, floor=floor, max_step=facts.policy.max_step)
    assert not check(suggestion.definition), "a suggestion can be published"
    rule, cooldown = facts.evidence.rule, facts.gates[0]
    if suggestion.definition == facts.definition:
        return _Decision(Verdict.KEEP, f"Keep the price of {rule}: {margins}, but no allowed price is nearer.", suggestion)
    if not cooldown.is_open:
        return _Decision(Verdict.WITHHOLD, f"No advice on {rule} yet: {_inside(cooldown.sentence)}", suggestion)
    verdict = Verdict.RAISE if candidate > UNCHANGED else Verdict.LOWER
    return _Decision(verdict, f"{_move(facts, suggestion, verdict)}: {margins}.", suggestion)


def _move(facts: _Facts, suggestion: Suggestion, verdict: Verdict) -> str:
    word = "Raise" if verdict == Verdict.RAISE else "Lower"
    by = f"{percent(abs(suggestion.factor - UNCHANGED))} {'more' if verdict == Verdict.RAISE else 'less'}"
    before, after = facts.definition, suggestion.definition
    if is_flat(before) and before.credits_per_event:
        return f"{word} {facts.evidence.rule} from {count(before.credits_per_event, 7)} to {credits(after.credits_per_event)} ({by})"
    return f"{word} the figures of {facts.evidence.rule} ({by})"


def _rationale(facts: _Facts, decision: _Decision) -> Iterator[str]:
    current, currency = facts.current, facts.evidence.currency
    if current:
        window = facts.evidence.current
        yield f"{count(window.costed, 9)} events: on average one {_earned(current, currency)}."
        yield f"Half of them cost at most {money(window.cost_p50, currency)}, 95 in 100 at most {money(window.cost_p95, currency)}."
        yield from _comparison(facts)
        if current.is_valued_by_policy:
            value = money(facts.policy.credit_value, currency)
            yield f"None of these credits was paid for: each is taken at {value}, the credit value of the workspace."
    if facts.drift and facts.baseline:
        moved = sorted((part for part in facts.drift.parts if part.amount), key=lambda part: -abs(part.amount))
        yield from (part.sentence for part in moved)
    if decision.verdict == Verdict.FIX:
        yield from (finding.remedy for finding in facts.diagnosis.findings)
    if decision.suggestion:
        yield from _steps(facts, decision.suggestion)
    if decision.verdict != Verdict.WITHHOLD or current:
        yield from (gate.sentence for gate in facts.gates if not gate.is_open)
    yield from facts.evidence.notes


def _comparison(facts: _Facts) -> Iterator[str]:
    baseline = facts.baseline
    if baseline:
        yield f"Before, one {_earned(baseline, facts.evidence.currency)}."
    elif facts.evidence.baseline:
        yield "The time before has too few events of known cost to compare with, so nothing is said about why the margin changed."
    else:
        yield "There is nothing to compare with, so nothing is said about why the margin changed."


def _earned(averages: _Averages, currency: str) -> str:
    margin = averages.margin
    share = f"a margin of {percent(margin)}" if margin is not None else "no margin"
    return f"brought in {money(averages.value, currency)} and cost {money(averages.cost, currency)}, {share}"


def _steps(facts: _Facts, suggestion: Suggestion) -> Iterator[str]:
    candidate = suggestion.guardrails[0].before
    assert candidate is not None
    if candidate != 1:
        yield f"A price {percent(abs(candidate - 1))} {'higher' if candidate > 1 else 'lower'} would have met the target."
    yield from (guardrail.sentence for guardrail in suggestion.guardrails if guardrail.clamped)
    if not is_flat(facts.definition):
        yield "The minimum and the rounding of each event are not in this estimate; the backtest counts them."


def _margin(averages: _Averages | None) -> Decimal | None:
    return _share(averages.margin) if averages else None


def _share(margin: Fraction | None) -> Decimal | None:
    return None if margin is None else from_fraction(margin, MARGIN_PLACES)


def _inside(sentence: str) -> str:
    """Return `sentence` as the second half of another."""
    return sentence[0].lower() + sentence[1:]
