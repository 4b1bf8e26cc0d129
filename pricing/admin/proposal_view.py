"""What the page of a proposal lays out, from the rows that its query returned. Prices first, then why, then what it rests on."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth.models import User
from django.utils.html import format_html
from django.utils.safestring import SafeString

from config.base.admin import badge, credits_, link, moment, share, short_money
from config.base.exact import CONTEXT
from pricing.admin import proposal_backtest, proposal_drift, proposal_evidence
from pricing.comparison import Figure
from pricing.models import Proposal, ProposalSource, ProposalState
from pricing.queries import proposal_page
from pricing.queries.deciders import DECIDE
from pricing.queries.proposal_page import Deciders, ProposalPage

STATE_COLOURS: Final = {
    ProposalState.DRAFT: "default",
    ProposalState.PROPOSED: "warning",
    ProposalState.APPROVED: "success",
    ProposalState.REJECTED: "danger",
}
VERDICTS: Final = {
    "raise": ("Raise the price", "info"),
    "lower": ("Lower the price", "info"),
    "keep": ("Keep the price", "success"),
    "fix": ("Mend the cause first", "warning"),
    "withhold": ("Not enough evidence", "default"),
}
_NO_BACKTEST: Final = "No backtest yet: it is not known what this price would have charged for recorded usage."
_ITS_BACKTEST_COMES: Final = "It comes by itself, as a rule within two minutes."
_DECIDED: Final = {
    ProposalState.APPROVED: ("Applied", "good"),
    ProposalState.REJECTED: ("Rejected: the price stayed as it was", "bad"),
    ProposalState.WITHDRAWN: ("Withdrawn by its author", "none"),
    ProposalState.SUPERSEDED: ("Superseded by another proposal", "none"),
}
_ASK: Final = "ask an administrator to give somebody a role that decides prices."


@dataclass(frozen=True, slots=True)
class Card:
    """One answer in one figure."""

    title: str
    figure: str | SafeString
    note: str | SafeString = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a price: credits, what they are in money, and the change where it is marked."""

    label: str
    figure: str | SafeString
    money: SafeString | str = ""
    change: str = ""


def context(page: ProposalPage, user: User) -> dict[str, Any]:
    """Return what `admin/pricing/proposal.html` lays out."""
    proposal = page.proposal
    return {
        "page": page,
        "proposal": proposal,
        "state": badge(proposal.state, proposal.get_state_display(), STATE_COLOURS),
        "verdict": _verdict(proposal),
        "headline": headline(proposal),
        "rule_link": link(proposal.rule, "pricing_pricerule_change", proposal.rule_id),
        "proposed": format_html("{}, {}", proposer(proposal), moment(proposal.created_at)),
        # The Advisor's reason is its headline.
        "reason": proposal.reason if proposal.source == ProposalSource.PERSON else "",
        "edits": proposal.edits.select_related("edited_by"),
        "decision": None if page.is_open else _decision(page),
        "waits_for": _waits_for(page, user),
        "stale": _stale(page),
        "cards": _cards(page),
        "sides": _sides(page),
        "worth": _worth(page),
        "why": _why(page),
        "backtest": proposal_backtest.lay_out(proposal.backtest) if proposal.backtest else None,
        "no_backtest": f"{_NO_BACKTEST} {_when_tested(proposal)}",
        "evidence": proposal_evidence.lay_out(page),
    }


def headline(proposal: Proposal) -> str:
    """Say in a sentence what is proposed: in the Advisor's words as long as it is still the Advisor's price."""
    if proposal.recommendation and not proposal.original:
        return str(proposal.recommendation["headline"])
    what = "Undo" if proposal.undoes_id else "Change"
    return f"{what} {proposal.rule}: {summary(proposal)}"


def summary(proposal: Proposal) -> str:
    """Say how the figures change: the one that does, else how many and by how much, from the smallest change to the largest."""
    changed = [figure for figure in proposal_page.figures(proposal) if figure.is_changed]
    if not proposal.base_version_id:
        return "its first price"
    if not changed:
        return "no figure changes"
    if len(changed) == 1:
        [figure] = changed
        change = f" ({share(figure.change, is_change=True)})" if figure.change is not None else ""
        return f"{_words(figure.before)} → {_words(figure.after)} {figure.label[0].lower()}{figure.label[1:]}{change}"
    changes = sorted(figure.change for figure in changed if figure.change is not None)
    if not changes:
        return f"{len(changed)} figures change"
    least, most = (share(change, is_change=True) for change in (changes[0], changes[-1]))
    by = f"by {least} to {most}" if least != most else f"by {least}"
    if len(changes) == len(changed):
        return f"{len(changed)} figures, {'each ' if least == most else ''}{by}"
    return f"{len(changed)} figures change, {'one' if len(changes) == 1 else len(changes)} of them {by}"


def proposer(proposal: Proposal) -> str:
    """Name who had the idea."""
    if proposal.source == ProposalSource.ADVISOR:
        return str(ProposalSource.ADVISOR.label)
    return str(proposal.created_by)


def _words(value: Decimal | str | None) -> str | SafeString:
    if value is None:
        return "none"
    return value if isinstance(value, str) else f"{value.normalize():,f}"


def _verdict(proposal: Proposal) -> SafeString | str:
    if not proposal.recommendation:
        return ""
    words, colour = VERDICTS[proposal.recommendation["verdict"]]
    if proposal.original:  # whoever edited it may have meant otherwise
        words = f"The Advisor: {words[0].lower()}{words[1:]}"
    return badge(words, words, {words: colour})


def _when_tested(proposal: Proposal) -> str:
    if proposal.state == ProposalState.DRAFT:
        return "It comes once the draft is submitted."
    if proposal.backtest_tried_at:
        return f"The try of {moment(proposal.backtest_tried_at)} has not ended with one; it is tried again every hour, for a week."
    return _ITS_BACKTEST_COMES


def _stale(page: ProposalPage) -> SafeString | str:
    """Say why a proposal cannot be applied any more, and what to do: another version has overtaken it, or its evidence has changed."""
    is_advice = page.proposal.source == ProposalSource.ADVISOR
    if page.is_overtaken and page.latest is not None:
        since = link(f"Version {page.latest.number}", "pricing_priceversion_change", page.latest.pk)
        to_do = "Let the Advisor advise again, or reject it." if is_advice else "Withdraw or reject it, and propose anew."
        return format_html("{} has come since, so this cannot be applied. {}", since, to_do)
    if page.changes:
        why = " ".join(page.changes)
        return f"What this was advised on has changed, so it cannot be applied. {why} Let the Advisor advise again, or reject it."
    return ""


def _waits_for(page: ProposalPage, user: User) -> str:
    """Say who decides, where the person who looks at it does not."""
    proposal = page.proposal
    if proposal.state == ProposalState.DRAFT:
        return f"Nobody has been asked yet: {proposal.created_by} submits it for a decision."
    is_involved = user.pk in page.involved
    if proposal.state != ProposalState.PROPOSED or (user.has_perm(DECIDE) and not is_involved):
        return ""
    who = _people(page.deciders)
    if not is_involved:
        return f"{who} can decide." if who else f"Nobody can decide yet: {_ASK}"
    did = f"You {'proposed' if user.pk == proposal.created_by_id else 'edited'} this price, so somebody else decides"
    return f"{did}: {who}." if who else f"{did}, and nobody else can: {_ASK}"


def _decision(page: ProposalPage) -> dict[str, Any]:
    proposal = page.proposal
    words, tone = _DECIDED[ProposalState(proposal.state)]
    who = proposal.decided_by or (proposal.created_by if proposal.state == ProposalState.WITHDRAWN else None)
    made = proposal.version
    return {
        "words": words,
        "tone": tone,
        "reason": proposal.decision_reason,
        "who": format_html("{}, {}", who, moment(proposal.decided_at)) if who else moment(proposal.decided_at),
        "version": format_html(
            "{} holds from {}.", link(f"Version {made.number}", "pricing_priceversion_change", made.pk), moment(made.effective_from)
        )
        if made
        else "",
        "successor": link(page.successor, "pricing_proposal_change", page.successor.pk) if page.successor else "",
    }


def _people(deciders: Deciders) -> str:
    parts = [*deciders.names, *([f"{deciders.others} more"] if deciders.others else [])]
    return " or ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _cards(page: ProposalPage) -> list[Card]:
    cards = []
    recommendation, backtest = page.proposal.recommendation, page.proposal.backtest
    if recommendation and (margin := recommendation["margin"]):
        was = f"was {share(_decimal(margin['baseline']))}, " if margin["baseline"] else ""
        tone = "warning" if _below(margin["current"], margin["target"]) else ""
        cards.append(Card("Margin now", share(_decimal(margin["current"])), f"{was}target {share(_decimal(margin['target']))}", tone))
        # What the Advisor expected is of its own price, not of one that was put in its place.
        if not backtest and margin["suggested"] and not page.proposal.original:
            cards.append(Card("Margin with this price", share(_decimal(margin["suggested"])), "estimated from averages"))
    if backtest:
        cards.append(
            Card("Margin with this price", share(_decimal(backtest["margin_after"])), f"over {backtest['events']:,} recorded events")
        )
        customers = backtest["customers"]
        all_of_them = customers["up"] + customers["down"] + customers["same"]
        cards.append(Card("Customers who pay more", f"{customers['up']:,}", f"of {all_of_them:,}; {customers['down']:,} pay less"))
        empty = backtest["wallets_at_zero_count"]
        cards.append(
            Card(
                "Wallets run empty",
                f"{empty:,}",
                "at this price, in the window" if empty else "none would have",
                "warning" if empty else "",
            )
        )
    return cards


def _below(margin: str | None, target: str) -> bool:
    return margin is not None and Decimal(margin) < Decimal(target)


def _sides(page: ProposalPage) -> list[dict[str, Any]]:
    base, proposal = page.proposal.base_version, page.proposal
    when = f"since {moment(base.effective_from)}" if base else ""
    before = {
        "title": "Current price" if page.is_open else "Price before",
        "version": link(f"Version {base.number}", "pricing_priceversion_change", base.pk) if base else "",
        "when": when,
        "sentence": page.before_sentence or "No price: events fall to a wider rule, or are refused.",
        "rows": [_row(page, figure, figure.before) for figure in page.figures] if base else [],
    }
    after = {
        "title": "Suggested price",
        "version": link(f"Version {proposal.version.number}", "pricing_priceversion_change", proposal.version.pk)
        if proposal.version
        else "",
        "when": _start(proposal),
        "sentence": page.after_sentence,
        "rows": [_row(page, figure, figure.after, _change(figure)) for figure in page.figures],
        "first": page.original_sentence,
    }
    return [before, after]


def _start(proposal: Proposal) -> str:
    if proposal.version:
        return f"from {moment(proposal.version.effective_from)}"
    return f"wished from {moment(proposal.effective_from)}" if proposal.effective_from else "whoever applies it says from when"


def _row(page: ProposalPage, figure: Figure, value: Decimal | str | None, change: str = "") -> Row:
    if not isinstance(value, Decimal):
        return Row(figure.label, value or "none", change=change)
    shown = format_html("{} {}", credits_(value), "credit" if value == 1 else "credits")
    return Row(figure.label, shown, short_money(CONTEXT.multiply(value, page.credit_value), page.currency), change)


def _change(figure: Figure) -> str:
    if not figure.is_changed:
        return ""
    if figure.before is None:
        return "new"
    if figure.after is None:
        return "gone"
    return share(figure.change, is_change=True) if figure.change is not None else "changed"


def _worth(page: ProposalPage) -> SafeString:
    source = "what customers paid for those of the window" if page.credit_value_is_paid else "the workspace's credit value"
    return format_html("Money at {} a credit: {}.", short_money(page.credit_value, page.currency), source)


def _why(page: ProposalPage) -> dict[str, Any] | None:
    found = page.proposal.recommendation
    if not found:
        return None
    bars = proposal_drift.steps(found)
    return {
        "rationale": [sentence for sentence in found["rationale"] if sentence not in _told_below(page, found)],
        "advice": found["headline"] if page.proposal.original else "",
        "chart": proposal_drift.chart(bars) if bars else None,
        "lines": proposal_drift.lines(bars, found["drift"]["currency"]) if bars else (),
        "diagnosis": [_finding(finding, found) for finding in found["diagnosis"]],
        "guardrails": found["guardrails"],
        "guardrails_title": "Guardrails of the Advisor's price" if page.proposal.original else "Guardrails",
    }


def _finding(finding: Mapping[str, str], found: Mapping[str, Any]) -> tuple[str, str]:
    """Return what was found and what would mend it; a sentence that the drift tells already is named by its cause."""
    parts = {part["sentence"] for part in found["drift"]["parts"]} if found["drift"] else set()
    cause = proposal_drift.PART_WORDS.get(finding["cause"], finding["cause"])
    return f"{cause}." if finding["sentence"] in parts else finding["sentence"], finding["remedy"]


def _told_below(page: ProposalPage, found: Mapping[str, Any]) -> set[str]:
    """Return the sentences that stand beside their figures further down."""
    told = {part["sentence"] for part in found["drift"]["parts"]} if found["drift"] else set()
    told |= {guard["sentence"] for guard in found["guardrails"]} | {finding["remedy"] for finding in found["diagnosis"]}
    return told | set(page.evidence.notes if page.evidence else ())


def _decimal(text: str | None) -> Decimal | None:
    return Decimal(text) if text is not None else None
