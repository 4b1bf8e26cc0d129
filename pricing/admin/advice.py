"""The Advisor's latest word on a price, on the page of its rule and in the list of rules: in the same room as the lever."""

from dataclasses import dataclass
from typing import Final

from django.utils.html import format_html
from django.utils.safestring import SafeString

from config.base.admin import badge, lines, link, moment
from pricing.advisor.recommendation import Verdict
from pricing.models import GivenAdvice, PriceRule, ProposalState

_COLOURS: Final = {
    Verdict.RAISE: "info",
    Verdict.LOWER: "info",
    Verdict.KEEP: "success",
    Verdict.FIX: "warning",
    Verdict.WITHHOLD: "default",
}
_WORDS: Final = {
    Verdict.RAISE: "raise",
    Verdict.LOWER: "lower",
    Verdict.KEEP: "keeps",
    Verdict.FIX: "fix first",
    Verdict.WITHHOLD: "withholds",
}
_NO_ADVICE: Final = "The Pricing Advisor has not looked at this price yet. It looks at every price in force each morning."


@dataclass(frozen=True, slots=True)
class Word:
    """What it said, in a badge, a sentence, what came of it, and when."""

    verdict: SafeString | str
    sentence: str
    outcome: SafeString | str
    given: str


def of_rule(rule: PriceRule, *, may_open: bool) -> Word:
    """Return what the rule's page shows; `may_open` says whether the reader may open proposals."""
    said = _said(rule)
    if said is None:
        return Word("", _NO_ADVICE, "", "")
    return Word(_badge(said), said.headline, _outcome(said, may_open=may_open), f"{moment(said.given_at)}, of v{said.version_number}")


def in_list(rule: PriceRule) -> SafeString | str:
    """Return what the list shows: what to do, why, and when it was said."""
    said = _said(rule)
    if said is None:
        return "-"
    return lines(filter(None, [_badge(said), said.because or said.headline, _outcome(said, may_open=False), moment(said.given_at)]))


def _said(rule: PriceRule) -> GivenAdvice | None:
    return getattr(rule, "advice", None)  # none where it has not looked yet


def _badge(said: GivenAdvice) -> SafeString:
    verb = _WORDS[Verdict(said.verdict)]
    if verb in {"raise", "lower"}:
        verb = f"proposes to {verb}" if said.proposal else f"would {verb}"
    return badge(said.verdict, f"Advisor: {verb}", _COLOURS)


def _outcome(said: GivenAdvice, *, may_open: bool) -> SafeString | str:
    if said.proposal is None:
        return f"Nothing was proposed: {said.not_proposed}." if said.not_proposed else ""
    name = f"Proposal {said.proposal.pk}"
    shown = link(name, "pricing_proposal_change", said.proposal.pk) if may_open else name
    what = "waits for a decision" if said.proposal.state == ProposalState.PROPOSED else f"was {said.proposal.state}"
    return format_html("{} {}", shown, what)
