"""Guardrails: the limits that a suggested price has to keep, each with a name, in a fixed order.

A suggestion is one factor for all figures of the price in force. `floor` and `maximum_step` bound the factor; `rounding`
makes figures of it that people can say; `cooldown`, `minimum_sample` and `maximum_unpriced` are gates: it passes or not.

**Rounding** goes up, so that the target is met; where that would break the maximum step, down. A figure is rounded to
three significant digits. A flat price (no components, no tiers) and a minimum are also multiples of the rule's own
rounding step. A figure for which no such number lies between the price in force and the limit stays as it is.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from config.base.exact import CREDIT_PLACES, CREDIT_STEP, MAX_CREDITS, from_fraction
from pricing.advisor.evidence import Evidence, Window
from pricing.advisor.policy import Policy
from pricing.advisor.recommendation import Guardrail
from pricing.advisor.words import count, credits, percent
from pricing.definition import Definition

FACTOR_PLACES: Final = 6
SIGNIFICANT_DIGITS: Final = 3
UNCHANGED: Final = Fraction(1)


class Suggestion(NamedTuple):
    """A price within the limits; `factor` is what every figure that is charged moved by, at least."""

    definition: Definition
    factor: Fraction
    guardrails: tuple[Guardrail, ...]


class Gate(NamedTuple):
    """A gate, whether the evidence passes it, and a sentence on it."""

    name: str
    is_open: bool
    sentence: str

    def guardrail(self, factor: Fraction | None) -> Guardrail:
        """Return the gate as it is listed behind a suggestion of `factor`."""
        shown = shown_factor(factor)
        return Guardrail(self.name, clamped=not self.is_open, before=shown, after=shown if self.is_open else None, sentence=self.sentence)


def suggest(definition: Definition, candidate: Fraction, *, floor: Fraction, max_step: Decimal) -> Suggestion:
    """Return the price nearest to `candidate` (a factor of `definition`) that the limits allow.

    `floor` is the factor at which the price only just pays the provider. The maximum step wins over it: a price far
    below cost rises in several steps.
    """
    above = max(candidate, floor)
    lowest, highest = max(UNCHANGED - Fraction(max_step), Fraction(0)), UNCHANGED + Fraction(max_step)
    stepped = min(max(above, lowest), highest)
    suggested = _rounded(definition, stepped, highest)
    factor = _smallest(definition, suggested)
    guardrails = (
        _guardrail("floor", candidate, above, _floor_sentence(floor, is_clamped=above != candidate)),
        _guardrail("maximum_step", above, stepped, _step_sentence(above, stepped, floor, max_step)),
        _guardrail("rounding", stepped, factor, _rounding_sentence(definition, suggested, is_raise=stepped > UNCHANGED)),
    )
    return Suggestion(suggested, factor, guardrails)


def gates(evidence: Evidence, policy: Policy) -> tuple[Gate, Gate, Gate]:
    """Return cooldown, minimum sample and maximum unpriced share."""
    return _cooldown(evidence, policy.cooldown_days), *sample_gates(evidence.current, policy)


def sample_gates(window: Window, policy: Policy) -> tuple[Gate, Gate]:
    """Return minimum sample and maximum unpriced share of one window."""
    known, needed = window.costed, max(policy.minimum_events, 1)
    share = Fraction(window.unpriced, window.events) if window.events else Fraction(0)
    sample = f"{count(known)} events have a known provider cost; {count(needed)} are needed."
    unpriced = f"The provider cost of {percent(share)} of the events is unknown; at most {percent(policy.max_unpriced)} may be."
    return Gate("minimum_sample", known >= needed, sample), Gate("maximum_unpriced", share <= Fraction(policy.max_unpriced), unpriced)


def figures(definition: Definition) -> Iterator[tuple[str, Decimal]]:
    """Yield the figures that an event is charged by, with their names; the minimum only where there is no other."""
    named = [
        ("credits_per_event", definition.credits_per_event),
        *((f"components.{i}", component.credits) for i, component in enumerate(definition.components)),
        *((f"tiers.{i}", tier.credits_per_event) for i, tier in enumerate(definition.tiers)),
    ]
    charged = [(name, figure) for name, figure in named if figure]
    yield from charged or ([("minimum", definition.minimum)] if definition.minimum else [])


def is_flat(definition: Definition) -> bool:
    """Say whether the price is one figure per event."""
    return not definition.components and not definition.tiers


def shown_factor(factor: Fraction | None) -> Decimal | None:
    """Return `factor` as it is shown and stored."""
    return None if factor is None else from_fraction(factor, FACTOR_PLACES)


def _rounded(definition: Definition, factor: Fraction, highest: Fraction) -> Definition:
    def move(figure: Decimal, step: Decimal = CREDIT_STEP) -> Decimal:
        return _move(figure, factor, highest, Fraction(step))

    step = definition.rounding_step
    return replace(
        definition,
        credits_per_event=move(definition.credits_per_event, step if is_flat(definition) else CREDIT_STEP),
        components=tuple(replace(component, credits=move(component.credits)) for component in definition.components),
        tiers=tuple(replace(tier, credits_per_event=move(tier.credits_per_event)) for tier in definition.tiers),
        minimum=move(definition.minimum, step),
    )


def _move(figure: Decimal, factor: Fraction, highest: Fraction, step: Fraction) -> Decimal:
    """Return `figure` x `factor`, rounded as the module says; never on the other side of `figure`."""
    now = Fraction(figure)
    if not now or factor == UNCHANGED:
        return figure
    limit = min(now * highest, Fraction(MAX_CREDITS))
    goal = min(now * factor, limit)
    grid = _grid(goal, step)
    up = -(-goal // grid) * grid
    moved = min(up, now) if factor < UNCHANGED else max(up if up <= limit else goal // grid * grid, now)
    return from_fraction(moved, CREDIT_PLACES)


def _grid(goal: Fraction, step: Fraction) -> Fraction:
    """Return the distance of the figures to choose from near `goal`: three digits, or `step` where the two do not agree."""
    digits = Fraction(10) ** (_leading(goal) - SIGNIFICANT_DIGITS + 1)
    return digits if digits > step and (digits / step).denominator == 1 else step


def _leading(goal: Fraction) -> int:
    """Return the power of ten of the first digit of `goal`."""
    power = len(str(goal.numerator)) - len(str(goal.denominator))
    return power if Fraction(10) ** power <= goal else power - 1


def _smallest(before: Definition, after: Definition) -> Fraction:
    now = dict(figures(after))
    return min(Fraction(now[name]) / Fraction(figure) for name, figure in figures(before))


def _guardrail(name: str, before: Fraction, after: Fraction, sentence: str) -> Guardrail:
    return Guardrail(name, before != after, shown_factor(before), shown_factor(after), sentence)


def _cooldown(evidence: Evidence, days: int) -> Gate:
    changed_at = evidence.last_change_at
    if changed_at is None:
        return Gate("cooldown", is_open=True, sentence="The price has not been changed yet.")
    age = max((evidence.as_of - changed_at).days, 0)
    sentence = f"The price changed {age} {'day' if age == 1 else 'days'} ago; it rests for {days} days after a change."
    return Gate("cooldown", evidence.as_of - changed_at >= timedelta(days=days), sentence)


def _floor_sentence(floor: Fraction, *, is_clamped: bool) -> str:
    at = f"{percent(floor)} of the price in force would pay the provider and no more."
    return f"Raised to the provider's cost: {at}" if is_clamped else f"Not below the provider's cost: {at}"


def _step_sentence(wanted: Fraction, stepped: Fraction, floor: Fraction, max_step: Decimal) -> str:
    limit = f"A price moves by at most {percent(max_step)} at a time"
    if wanted == stepped:
        return f"{limit}; this is within it."
    sentence = f"{limit}; the target asks for {percent(abs(wanted - UNCHANGED))}."
    return f"{sentence} Until the next step, an event still costs more than it brings in." if stepped < floor else sentence


def _rounding_sentence(before: Definition, after: Definition, *, is_raise: bool) -> str:
    rule = f"{'Prices' if is_flat(before) else 'Figures'} have at most three digits that matter"
    if is_flat(before):
        rule += f" and are multiples of {credits(before.rounding_step)}"
    if before != after:
        to = f" to {credits(after.credits_per_event)}" if is_flat(after) and after.credits_per_event else ""
        return f"Rounded{to}, up where the maximum step allows it. {rule}."
    if not is_flat(before) or not before.credits_per_event:
        return f"{rule}: there is none between the price in force and the limits, so it stays."
    now = Fraction(before.credits_per_event)
    grid = _grid(now, Fraction(before.rounding_step))
    neighbour = (now // grid + 1) * grid if is_raise else (-(-now // grid) - 1) * grid
    beyond = "which is beyond the maximum step" if is_raise else "which would miss the target"
    return f"{rule}: the next is {credits(neighbour)}, {beyond}, so the price stays."
