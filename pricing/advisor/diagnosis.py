"""Diagnosis: what a fall of the margin is a sign of, before anybody talks about the price.

Prices answer for costs that are there to stay. Calls that fail and are repeated, and prompts that the provider's cache
no longer knows, are faults: customers should not be charged for them. Another model is a decision about routing, longer
prompts and answers are decisions about the product; they are named as such, and the price may follow them.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from config.base.exact import ZERO
from pricing.advisor.drift import NOTHING, Change
from pricing.advisor.evidence import Window
from pricing.advisor.recommendation import Drift, Finding, Part
from pricing.advisor.words import count, instead_of, percent

# What is mended by engineers and not by a price.
_FAULTS: Final = frozenset({"retries", "failures", "cache"})
_WORTH_NAMING: Final = Decimal("0.05")  # of the fall
_HALF: Final = Fraction(1, 2)

_REMEDIES: Final = {
    "provider_price": "The provider's new prices are here to stay: pass them on, or look for a model that does the same for less.",
    "model_mix": "This is a decision about routing: check that the dearer models are wanted for this action before its price follows them.",
    "tokens": "This is a decision about the product: shorten prompts and answers, or find them worth a higher price.",
    "calls": "This is a decision about the product: limit the calls, or find them worth a higher price.",
    "cache": "Find out why prompts are no longer served from the cache, such as text that changes at their beginning or a cache that "
    "expires too early, and put it right.",
    "retries": "Find out why calls have to be repeated or passed on to other models, and put that right; limit the repeats and wait longer "
    "between them.",
    "failures": "Find out why actions fail, and put that right: their credits went back to the customers, their cost stayed.",
    "credits": "Customers are charged fewer credits for this action: check the mix of what they do, refunds, and changes of the price.",
    "credit_value": "Customers pay less for a credit: check packs, discounts and free credits. A higher price per action makes up for it, "
    "and hits those who pay in full as well.",
}


class Diagnosis(NamedTuple):
    """What a fall of the margin comes from, the greatest first, and the share of it that is due to faults."""

    findings: tuple[Finding, ...] = ()
    faults: Decimal = ZERO


def diagnose(drift: Drift, change: Change, baseline: Window, current: Window) -> Diagnosis:
    """Name the causes of a fall; there are none where the margin did not fall."""
    if drift.total >= 0:
        return Diagnosis()
    named = [part for part in drift.parts if part.share is not None and part.share >= _WORTH_NAMING]
    named.sort(key=lambda part: part.amount)
    found = [(part, _finding(part, change, baseline, current)) for part in named]
    faults = sum((part.share or ZERO for part, finding in found if finding.cause in _FAULTS), ZERO)
    return Diagnosis(tuple(finding for _, finding in found), faults)


def _finding(part: Part, change: Change, baseline: Window, current: Window) -> Finding:
    cause, more = part.name, ""
    if part.name == "retries":
        cause, more = _repeats(change, baseline, current)
    if part.name == "credits":
        cause, more = _failures(change, baseline, current)
    return Finding(cause, part.sentence + more, _REMEDIES[cause])


def _repeats(change: Change, baseline: Window, current: Window) -> tuple[str, str]:
    """Tell calls that were repeated or passed on from calls that the product wanted."""
    before, now = (Fraction(window.retries + window.fallbacks, window.costed) for window in (baseline, current))
    if now - before < (change.calls.now - change.calls.before) * _HALF:
        return "calls", ""
    return "retries", f" Of them {instead_of(now, before, count)} were repeats and fallbacks{_failed(baseline, current)}."


def _failures(change: Change, baseline: Window, current: Window) -> tuple[str, str]:
    """Tell credits that failed actions did not bring in from other reasons for fewer credits."""
    before, now = (Fraction(window.failed, window.costed) for window in (baseline, current))
    lost = 1 - change.credits.now / change.credits.before if change.credits.before else NOTHING
    if now - before < lost * _HALF:
        return "credits", ""
    return "failures", f" Failed events bring in nothing{_failed(baseline, current)}."


def _failed(baseline: Window, current: Window) -> str:
    before, now = (Fraction(window.failed, window.costed) for window in (baseline, current))
    return f", and {instead_of(now, before, percent)} of the events failed" if now != before else ""
