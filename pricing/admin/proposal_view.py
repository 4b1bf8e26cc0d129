"""What the page of a proposal lays out, from the rows that its query returned. Prices first, then why, then what it rests on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from config.base.admin import badge, credits_, link, moment, names, share, short_money, table
from config.base.exact import CONTEXT
from pricing.admin import proposal_drift, proposal_replay
from pricing.advisor.evidence import Evidence, Window
from pricing.comparison import Figure
from pricing.models import Proposal, ProposalSource, ProposalState
from pricing.queries import proposal_page
from pricing.queries.proposal_page import Deciders, ProposalPage
from pricing.rating import UNIT_WORDS

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
SHOWN_DELTAS: Final = 10
SHOWN_WALLETS: Final = 5
_EMPTY_HEADINGS: Final = ("Customer", "Credits left", "Empty on")
_NO_BACKTEST: Final = "No backtest yet: it is not known what this price would have charged for recorded usage."
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
        "decision": None if page.is_open else _decision(proposal),
        "waits_for": _waits_for(page, user),
        "stale": _stale(page),
        "cards": _cards(page),
        "sides": _sides(page),
        "worth": _worth(page),
        "why": _why(page),
        "backtest": _backtest(proposal.backtest) if proposal.backtest else None,
        "no_backtest": _NO_BACKTEST,
        "evidence": _evidence(page),
    }


def headline(proposal: Proposal) -> str:
    """Say in a sentence what is proposed: in the Advisor's words as long as it is still the Advisor's price."""
    if proposal.recommendation and not proposal.original:
        return str(proposal.recommendation["headline"])
    what = "Undo" if proposal.undoes_id else "Change"
    return f"{what} {proposal.rule}: {summary(proposal)}"


def summary(proposal: Proposal) -> str:
    """Say how the figures change: the one that does, else how many and, where all do alike, by how much."""
    changed = [figure for figure in proposal_page.figures(proposal) if figure.is_changed]
    if not proposal.base_version_id:
        return "its first price"
    if not changed:
        return "no figure changes"
    if len(changed) == 1:
        [figure] = changed
        change = f" ({share(figure.change, is_change=True)})" if figure.change is not None else ""
        return f"{_words(figure.before)} → {_words(figure.after)} {figure.label[0].lower()}{figure.label[1:]}{change}"
    changes = {share(figure.change, is_change=True) if figure.change is not None else "" for figure in changed}
    alike = f", each by {changes.pop()}" if len(changes) == 1 and "" not in changes else ""
    return f"{len(changed)} figures change{alike}"


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
    return badge(words, words, {words: colour})


def _stale(page: ProposalPage) -> SafeString | str:
    """Say what to do about a proposal that another version has overtaken."""
    if not page.is_stale or page.latest is None:
        return ""
    since = link(f"Version {page.latest.number}", "pricing_priceversion_change", page.latest.pk)
    if page.proposal.source == ProposalSource.ADVISOR:
        return format_html("{} has come since, so this cannot be applied. Reject it: the Advisor looks at the new price by itself.", since)
    return format_html("{} has come since, so this cannot be applied. Withdraw or reject it, and propose anew.", since)


def _waits_for(page: ProposalPage, user: User) -> str:
    """Say who decides, where the person who looks at it does not."""
    proposal = page.proposal
    if proposal.state == ProposalState.DRAFT:
        return f"Nobody has been asked yet: {proposal.created_by} submits it for a decision."
    is_involved = user.pk in page.involved
    if proposal.state != ProposalState.PROPOSED or (user.has_perm(proposal_page.DECIDE) and not is_involved):
        return ""
    who = _people(page.deciders)
    if not is_involved:
        return f"{who} can decide." if who else f"Nobody can decide yet: {_ASK}"
    did = f"You {'proposed' if user.pk == proposal.created_by_id else 'edited'} this price, so somebody else decides"
    return f"{did}: {who}." if who else f"{did}, and nobody else can: {_ASK}"


def _decision(proposal: Proposal) -> dict[str, Any]:
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
        if not backtest and margin["suggested"]:
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


def _day(moment: str) -> str:
    return timezone.localdate(datetime.fromisoformat(moment)).isoformat()


def _backtest(found: Mapping[str, Any]) -> dict[str, Any]:
    currency, customers = found["currency"], found["customers"]
    deltas = [
        (
            _customer(row["customer"]),
            f"{row['events']:,}",
            credits_(Decimal(row["credits_before"])),
            credits_(Decimal(row["credits_after"])),
            _delta(Decimal(row["delta"])),
        )
        for row in customers["top"]
    ]
    empty = [
        (_customer(row["customer"]), credits_(Decimal(row["balance"])), _day(row["would_have_ended_at"]))
        for row in found["wallets_at_zero"]
    ]
    headings = ("Customer", "Events", "Credits before", "Credits after", "Difference")
    return {
        "window": f"{moment(datetime.fromisoformat(found['start']))} to {moment(datetime.fromisoformat(found['end']))}",
        "events": f"{found['events']:,}",
        "is_sampled": found["sampled"],
        "totals": table(
            ("", "Before", "After"),
            [
                ("Credits", credits_(Decimal(found["credits_before"])), credits_(Decimal(found["credits_after"]))),
                ("Value", short_money(Decimal(found["value_before"]), currency), short_money(Decimal(found["value_after"]), currency)),
                ("Provider cost", *[short_money(Decimal(found["cost"]), currency)] * 2),
                ("Margin", share(_decimal(found["margin_before"])), share(_decimal(found["margin_after"]))),
            ],
            figures=(1, 2),
        ),
        "customers_sentence": f"{customers['up']:,} pay more, {customers['down']:,} pay less, {customers['same']:,} pay the same.",
        "deltas": table(headings, deltas[:SHOWN_DELTAS], figures=(1, 2, 3, 4), empty="No customer would have paid another sum."),
        "more_deltas": table(headings, deltas[SHOWN_DELTAS:], figures=(1, 2, 3, 4)) if deltas[SHOWN_DELTAS:] else "",
        "more_count": len(deltas[SHOWN_DELTAS:]),
        "empty_count": found["wallets_at_zero_count"],
        "empty": table(_EMPTY_HEADINGS, empty[:SHOWN_WALLETS], figures=(1,)),
        "more_empty": table(_EMPTY_HEADINGS, empty[SHOWN_WALLETS:], figures=(1,)) if empty[SHOWN_WALLETS:] else "",
        "more_empty_count": len(empty[SHOWN_WALLETS:]),
        "empty_shown": len(empty),
    }


def _customer(key: str) -> SafeString:
    """Find the customer by the id that apps know."""
    found = link(key, "billing_customer_changelist", query=urlencode({"q": key.rpartition("/")[2]}))
    return format_html('<span class="md-name">{}</span>', found)


def _delta(value: Decimal) -> SafeString:
    return format_html("{}{}", "+" if value > 0 else "", credits_(value))


def _evidence(page: ProposalPage) -> dict[str, Any] | None:
    found, policy, proposal = page.evidence, page.policy, page.proposal
    if found is None:
        return None
    windows = [("Before", found.baseline)] if found.baseline else []
    windows.append(("Now", found.current))
    return {
        "as_of": moment(found.as_of),
        "hash": proposal.evidence_hash,
        "notes": found.notes,
        "windows": _windows(found, windows),
        "models": [(words, _models(window, found.currency)) for words, window in windows],
        "policy": _policy(page) if policy else "",
        "versions": format_html_join(", ", "{}", ((link(pk, "pricing_priceversion_change", pk),) for pk in found.price_version_ids)) or "-",
        "rates": format_html_join(", ", "{}", ((link(pk, "pricing_providerrate_change", pk),) for pk in found.rate_ids)) or "-",
        "replay": proposal_replay.replay(proposal),
    }


def _windows(found: Evidence, windows: list[tuple[str, Window]]) -> SafeString:
    def cells(read: Any) -> list[Any]:
        return [read(window) for _, window in windows]

    def in_money(value: Decimal | None) -> SafeString:
        return short_money(value, found.currency)

    rows = [
        ("From", *cells(lambda w: moment(w.start))),
        ("To", *cells(lambda w: moment(w.end))),
        ("Events", *cells(lambda w: f"{w.events:,}")),
        ("Without an accepted output", *cells(lambda w: f"{w.failed:,}")),
        ("Retries and fallbacks", *cells(lambda w: f"{w.retries:,} and {w.fallbacks:,}")),
        ("Without a known cost", *cells(lambda w: f"{w.unpriced:,} ({share(_ratio(w.unpriced, w.events))})")),
        ("Credits", *cells(lambda w: credits_(w.credits))),
        ("Value", *cells(lambda w: in_money(w.value))),
        ("Provider cost", *cells(lambda w: in_money(w.cost))),
        ("Cost per event, mean", *cells(lambda w: in_money(_ratio(w.cost, w.events - w.unpriced)))),
        ("Cost per event, p50", *cells(lambda w: in_money(w.cost_p50))),
        ("Cost per event, p95", *cells(lambda w: in_money(w.cost_p95))),
    ]
    return table(("", *(words for words, _ in windows)), rows, figures=range(1, len(windows) + 1))


def _models(window: Window, currency: str) -> SafeString:
    rows = [
        (
            use.model,
            names(filter(None, [use.provider, use.service_tier, "batch" if use.batch else ""])),
            f"{use.requests:,}",
            UNIT_WORDS[unit][1] if unit in UNIT_WORDS else unit,
            credits_(used.quantity),
            short_money(used.cost, currency),
        )
        for use in window.models
        for unit, used in use.units.items()
    ]
    return table(("Model", "Provider, tier", "Requests", "Unit", "Quantity", "Cost"), rows, figures=(2, 4, 5), empty="No priced usage.")


def _policy(page: ProposalPage) -> SafeString:
    policy = page.policy
    assert policy is not None
    rows = [
        ("Target margin", share(policy.target_margin)),
        ("Left alone while this near to it", share(policy.tolerance)),
        ("Moves by at most", share(policy.max_step)),
        ("Rests after a change", f"{policy.cooldown_days} days"),
        ("Events at least", f"{policy.minimum_events:,}"),
        ("Without a known cost at most", share(policy.max_unpriced)),
        ("Value of a credit that nothing was paid for", short_money(policy.credit_value, page.currency)),
    ]
    return table(("Policy", ""), rows, figures=(1,))


def _ratio(part: Decimal | int, whole: int) -> Decimal | None:
    return CONTEXT.divide(Decimal(part), Decimal(whole)) if whole > 0 else None


def _decimal(text: str | None) -> Decimal | None:
    return Decimal(text) if text is not None else None
