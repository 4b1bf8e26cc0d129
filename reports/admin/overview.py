"""The overview: are we OK, in under a minute, and where to act when not.

Each tile says one thing in a sentence and leads to where it is dealt with. Who may not open that place is not shown the
tile either, and its figures are not read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince

from billing.queries import alert_words, badges, money_back, movement_requests, stripe_events
from config.base.admin import moment, places
from pricing.admin import proposal_view
from pricing.models import Proposal
from pricing.queries import deciders, proposals
from reports.queries import overview, reconciliation

# The check runs every hour; one that is a day old has stopped.
_CHECK_IS_OLD = timedelta(days=1)


class Tone(StrEnum):
    """How much a tile asks for."""

    CALM = "calm"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Tile:
    """One answer: a figure, a sentence, and where one acts."""

    title: str
    figure: str
    unit: str
    sentence: str
    href: str = ""
    link: str = ""
    tone: Tone = Tone.CALM


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the overview to the context of the admin's first page."""
    now = timezone.now()
    steps = overview.first_steps()
    movements = overview.movements(now=now) if places.may_list(request, "billing.ledgerentry") and steps.are_done else None
    undecided = overview.undecided() if places.may_list(request, "pricing.proposal") and steps.are_done else None
    tiles = (
        [
            *_money(request, movements),
            *_dearest(request, movements),
            *_alerts(request),
            *_money_back(request, now),
            *_stripe(request),
            *_wallets(request),
            *_work(request, now),
            *_decisions(request, undecided),
            *_proof(request, now),
        ]
        if steps.are_done
        else []
    )
    return {
        **context,
        "title": "Overview",
        "now": now,
        "movements": movements,
        "tiles": tiles,
        "tone": max((tile.tone for tile in tiles), key=list(Tone).index, default=Tone.CALM),
        "concerns": [tile for tile in tiles if tile.tone is not Tone.CALM],
        "undecided": [_to_decide(proposal) for proposal in undecided.first] if undecided else [],
        "more_undecided": undecided is not None and undecided.count.number > len(undecided.first),
        "may_decide": request.user.has_perm(deciders.DECIDE),
        "steps": steps,
        "endpoint": request.build_absolute_uri("/api/v1/events"),
        "places": _places(request),
    }


def _places(request: HttpRequest) -> dict[str, str]:
    return {
        "projects": places.list_of(request, "billing.project"),
        "keys": places.list_of(request, "billing.apikey"),
        "event_types": places.list_of(request, "pricing.eventtype"),
        "price_rules": places.list_of(request, "pricing.pricerule"),
        "proposals": places.list_of(request, "pricing.proposal", "state__exact=proposed"),
        "rate_imports": places.list_of(request, "pricing.rateimport"),
        "customers": places.list_of(request, "billing.customer"),
        "usage": places.list_of(request, "billing.usagerecord"),
        "ledger": places.list_of(request, "billing.ledgerentry"),
    }


def _money(request: HttpRequest, moved: overview.Movements | None) -> Iterator[Tile]:
    if moved is None:
        return
    ledger = places.list_of(request, "billing.ledgerentry")
    yield Tile(
        "Credits out",
        _credits(moved.spent.week),
        "in 7 days",
        f"Customers spent {_credits(moved.spent.today)} credits today, refunds taken off.",
        ledger,
        "Open the ledger",
    )
    bought = (
        f"{_credits(moved.bought.week)} were bought for {moved.paid_week:,.2f} {moved.currency}, {_credits(moved.given.week)} were given."
    )
    if moved.withdrawn.week:
        bought += f" {_credits(moved.withdrawn.week)} left again with {moved.paid_back_week:,.2f} {moved.currency} of refunds and disputes."
    yield Tile(
        "Credits in",
        _credits(moved.bought.week + moved.given.week),
        "in 7 days",
        bought,
        places.list_of(request, "billing.payment") or ledger,
        "See payments" if places.may_list(request, "billing.payment") else "Open the ledger",
    )


def _dearest(request: HttpRequest, moved: overview.Movements | None) -> Iterator[Tile]:
    if moved is None or moved.dearest is None or not places.may_list(request, "billing.usagerecord"):
        return
    found, unit = moved.dearest, f"{moved.currency} in 7 days"
    href, link, tone = places.list_of(request, "billing.usagerecord"), "Show usage", Tone.CALM
    sentence = f"One {found.event}. No action cost ten times what its kind brings in."
    if found.is_odd:
        record = overview.record_of(found, since=moved.since)
        href, link, tone = reverse("admin:billing_usagerecord_change", args=[record]), f"Show evt_{record}", Tone.WARN
        sentence = f"One {found.event} cost us that; on average they bring in {_cost(found.usual_value)}. Was its usage reported rightly?"
    yield Tile("Dearest action", _cost(found.cost), unit, sentence, href, link, tone)


def _alerts(request: HttpRequest) -> Iterator[Tile]:
    """Yield what budgets, wallets and spikes told and nobody has seen to, the newest in words; nothing where there is none."""
    if places.may_list(request, "billing.alert") and (found := overview.alerts(request.user)).open:
        sentence = alert_words.sentence(found.newest) if found.newest else ""
        yield Tile("Open alerts", found.open.text, "", sentence, places.list_of(request, "billing.alert"), "Open the inbox", Tone.WARN)


def _money_back(request: HttpRequest, now: datetime) -> Iterator[Tile]:
    """Yield what waits for a person before money or credits go back; nothing where nothing waits."""
    if places.may_list(request, "billing.dispute") and (found := overview.disputes()).open:
        due, sentence = found.first_due_at, "The bank decides; what it took stays away until then."
        if due is not None:
            is_late = due <= now
            sentence = f"Evidence {'was' if is_late else 'is'} due {moment(due)}. Without it the bank decides for the buyer."
        yield Tile("Open disputes", found.open.text, "", sentence, places.list_of(request, "billing.dispute"), "Show disputes", Tone.WARN)
    if places.may_list(request, "billing.topuprefund") and (count := overview.count(money_back.waiting())):
        href = places.list_of(request, "billing.topuprefund", "state__exact=requested")
        sentence = "The buyer waits for the money until a second person approves it or says no."
        yield Tile("Refunds to decide", count.text, "", sentence, href, "Show refunds", Tone.WARN)
    if places.may_list(request, "billing.movementrequest") and (count := overview.count(movement_requests.waiting())):
        href = places.list_of(request, "billing.movementrequest", "state__exact=requested")
        sentence = "Grants and adjustments above what one person may move; a second person has to decide."
        yield Tile("Requests to decide", count.text, "", sentence, href, "Show requests", Tone.WARN)


def _stripe(request: HttpRequest) -> Iterator[Tile]:
    """Yield where Stripe and the desk have come apart; nothing where they have not."""
    if places.may_list(request, "reports.reconciliationbreak") and (count := overview.count(reconciliation.open_breaks())):
        href = places.list_of(request, "reports.reconciliationbreak")
        sentence = "Stripe and the books differ, and nobody has said why. A month cannot be signed with them."
        yield Tile("Breaks with Stripe", count.text, "", sentence, href, "Show breaks", Tone.WARN)
    if places.may_list(request, "billing.stripeevent") and (count := overview.count(stripe_events.dead())):
        href = places.list_of(request, "billing.stripeevent", "state__exact=dead")
        sentence = "They failed too often: a payment may be without its credits. Read why, then try them again."
        yield Tile("Dead Stripe events", count.text, "", sentence, href, "Show events", Tone.BAD)


def _wallets(request: HttpRequest) -> Iterator[Tile]:
    if not places.may_list(request, "billing.wallet"):
        return
    found = overview.wallets()
    low, debt, frozen = "needs=top_up", "needs=debt", "status__exact=frozen"
    to_watch = [
        ("Low wallets", found.low, low, "Their customers are about to be refused. Ask them to top up.", "None is below its threshold."),
        ("Wallets in debt", found.in_debt, debt, "They spent more than they had; the next top-up settles it.", "Nobody owes credits."),
        ("Frozen wallets", found.frozen, frozen, "They pay for nothing until somebody releases them.", "No wallet is frozen."),
    ]
    for title, count, query, sentence, calm in to_watch:
        href = places.list_of(request, "billing.wallet", query if count else "")
        yield Tile(title, count.text, "", sentence if count else calm, href, "Show wallets", Tone.WARN if count else Tone.CALM)


def _work(request: HttpRequest, now: datetime) -> Iterator[Tile]:
    if places.may_list(request, "billing.usagerecord"):
        count, since = overview.unpriced(now=now), timezone.localtime(now - badges.UNPRICED_WINDOW)
        query = f"cost_status__exact=unpriced&occurred_at_from={since:%Y-%m-%dT%H:%M}" if count else ""
        queue = places.list_of(request, "billing.unpricedgroup") if count else ""
        yield Tile(
            "Unpriced records",
            count.text,
            f"of {badges.UNPRICED_WINDOW.days} days",
            "Their model has no provider rate, so their cost is unknown." if count else "The provider cost of every record is known.",
            queue or places.list_of(request, "billing.usagerecord", query),
            "Open the queue" if queue else "Show them" if count else "Show usage",
            Tone.WARN if count else Tone.CALM,
        )
    if places.may_list(request, "billing.hold"):
        holds = overview.holds(now=now)
        overdue = f" {holds.overdue.text} should have ended by now." if holds.overdue else ""
        sentence = f"{_credits(holds.credits)} credits are set aside for actions still running." if holds.open else "Nothing is set aside."
        tone = Tone.WARN if holds.overdue else Tone.CALM
        yield Tile("Open holds", holds.open.text, "", sentence + overdue, places.list_of(request, "billing.hold"), "Show holds", tone)


def _decisions(request: HttpRequest, found: overview.Undecided | None) -> Iterator[Tile]:
    if found is not None:
        yield Tile(
            "Open proposals",
            found.count.text,
            "",
            "Somebody has to apply or reject them." if found.count else "No price waits for a decision.",
            places.list_of(request, "pricing.proposal", "state__exact=proposed" if found.count else ""),
            "Show proposals",
            Tone.WARN if found.count else Tone.CALM,
        )


def _to_decide(proposal: Proposal) -> dict[str, Any]:
    return {
        "rule": str(proposal.rule),
        "change": proposal_view.summary(proposal),
        "proposer": proposal_view.proposer(proposal),
        "age": timesince(proposal.created_at, depth=1),
        "is_stale": proposals.is_stale(proposal),
        "href": reverse("admin:pricing_proposal_change", args=[proposal.pk]),
    }


def _proof(request: HttpRequest, now: datetime) -> Iterator[Tile]:
    if not places.may_list(request, "billing.seal"):
        return
    proof = overview.proof()
    check = places.page(request, "billing_ledger_check", "billing.run_ledger_check")
    seals = places.list_of(request, "billing.seal")
    yield _check_tile(proof, now, check)
    yield Tile(
        "Sealed until",
        moment(proof.sealed_until) if proof.sealed_until else "-",
        "",
        f"Note the digest {proof.digest[:12]}… outside this system." if proof.digest else "The first full hour is not sealed yet.",
        seals,
        "Show seals",
    )


def _check_tile(proof: overview.Proof, now: datetime, href: str) -> Tile:
    if proof.checked_at is None:
        figure, sentence, tone = "Not run yet", "The check proves that balances, lots and entries agree.", Tone.WARN
    elif not proof.is_clean:
        figure, tone = f"{proof.broken_rules} broken", Tone.BAD
        sentence = f"Found {moment(proof.checked_at)}. Stop changing balances by hand and look at the breaks."
    elif now - proof.checked_at > _CHECK_IS_OLD:
        figure, sentence, tone = "Out of date", f"It last ran {moment(proof.checked_at)}: is the scheduler running?", Tone.WARN
    else:
        figure, sentence, tone = "In balance", f"Proven {moment(proof.checked_at)}.", Tone.CALM
    return Tile("Ledger check", figure, "", sentence, href, "Open the check" if href else "", tone)


def _cost(value: Decimal) -> str:
    return _credits(round(value, 2 if value >= 1 else 6))


def _credits(value: Decimal) -> str:
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
