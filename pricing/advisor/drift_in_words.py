"""The drift in sentences that can be read aloud: what moved, by how much, and its part of the fall or of the rise."""

from collections.abc import Callable
from fractions import Fraction
from typing import Final

from config.base.exact import MONEY_PLACES, from_fraction
from pricing.advisor.drift import INPUT_SIDE, OUTPUT_SIDE, PARTS, Change, Route, Turn
from pricing.advisor.evidence import REPORTED
from pricing.advisor.recommendation import Drift, Part
from pricing.advisor.words import Number, count, instead_of, money, percent, sentence_list
from pricing.rating import UNIT_WORDS
from pricing.units import UnitKind

SHARE_PLACES: Final = 6


def tell(change: Change, currency: str) -> Drift:
    """Return the drift with a sentence for each part."""
    amounts = change.amounts()
    total = sum(amounts.values(), Fraction(0))
    # What moved the margin the way that it went; the rest worked against it, and has no share of it.
    along = sum((amount for amount in amounts.values() if amount * total > 0), Fraction(0))
    parts = []
    for name in PARTS:
        amount = amounts[name]
        share = amount / along if amount * total > 0 else None
        shown = None if share is None else from_fraction(share, SHARE_PLACES)
        sentence = _sentence(name, amount, change, currency) + _standing(share, is_fall=total < 0, is_there=bool(amount))
        parts.append(Part(name, from_fraction(amount, MONEY_PLACES), shown, sentence))
    return Drift(currency, from_fraction(total, MONEY_PLACES), tuple(parts))


def name_of(route: Route) -> str:
    """Name a route as people do: the model, and what is unusual about how it was called."""
    notes = [
        *([route.service_tier] if route.service_tier not in {"", "standard"} else []),
        *(["batch"] if route.batch else []),
        *(["cost reported by the app"] if route.is_reported else []),
    ]
    return (route.model or route.provider or "no model") + (f" ({', '.join(notes)})" if notes else "")


def _standing(share: Fraction | None, *, is_fall: bool, is_there: bool) -> str:
    if share is None:
        return ", against the trend." if is_there else "."
    return f", {percent(share)} of the {'fall' if is_fall else 'rise'}."


def _sentence(name: str, amount: Fraction, change: Change, currency: str) -> str:
    if not amount:
        return f"{_UNCHANGED[name]}: no change"
    worse, better, tell_more = _WORDS[name]
    is_cost = name not in {"credits", "credit_value"}
    grew = (amount < 0) == is_cost
    how_much = f"{money(amount, currency)} {'more' if grew else 'less'} {'cost' if is_cost else 'income'} per event"
    more = tell_more(change, currency, amount < 0)
    return f"{worse if amount < 0 else better}{more}: {how_much}"


def _prices(change: Change, _: str, is_worse: bool) -> str:
    pushed = {route: cost if is_worse else -cost for route, cost in change.dearer.items()}
    most = max(pushed, key=lambda route: (pushed[route], route))
    return f", above all {name_of(most)}"


def _mix(change: Change, _: str, __: bool) -> str:
    gained = {route: turn.now - turn.before for route, turn in change.share.items()}
    most = max(gained, key=lambda route: (gained[route], route))
    return (
        f", {name_of(most)} took {instead_of(change.share[most].now, change.share[most].before, percent)} of the calls"
        if gained[most]
        else ""
    )


def _tokens(change: Change, _: str, __: bool) -> str:
    changed = {group: turn for group, turn in change.per_call.items() if turn.now != turn.before}
    words = [f"{instead_of(turn.now, turn.before, count)} {_group_words(group)}" for group, turn in changed.items()]
    return f", {sentence_list(words)}" if words else ", another kind of output tokens"


def _group_words(group: str) -> str:
    if group in {INPUT_SIDE, OUTPUT_SIDE}:
        return f"{group} tokens"
    return "reported calls" if group == REPORTED else UNIT_WORDS[UnitKind(group)][1]


def _cache(change: Change, _: str, __: bool) -> str:
    if change.from_cache.now == change.from_cache.before:
        return ", more or less was written to it"
    return f", {instead_of(change.from_cache.now, change.from_cache.before, percent)} of the input came from it"


def _calls(change: Change, _: str, __: bool) -> str:
    return f", {_turn(change.calls, count)}"


def _credits(change: Change, _: str, __: bool) -> str:
    return f", {_turn(change.credits, count)}"


def _credit_value(change: Change, currency: str, _: bool) -> str:
    return f", {_turn(change.credit_value, lambda value, digits: money(value, currency, digits))}"


def _turn(turn: Turn, write: Callable[[Number, int], str]) -> str:
    return instead_of(turn.now, turn.before, write)


# Where the margin fell, where it rose, and what can be said beyond that.
_WORDS: Final[dict[str, tuple[str, str, Callable[[Change, str, bool], str]]]] = {
    "provider_price": ("Provider prices rose", "Provider prices fell", _prices),
    "model_mix": ("Calls moved to dearer models", "Calls moved to cheaper models", _mix),
    "tokens": ("Use per call rose", "Use per call fell", _tokens),
    "cache": ("The provider's cache saved less", "The provider's cache saved more", _cache),
    "retries": ("An event took more calls", "An event took fewer calls", _calls),
    "credits": ("An event brought in fewer credits", "An event brought in more credits", _credits),
    "credit_value": ("Customers paid less for a credit", "Customers paid more for a credit", _credit_value),
}
_UNCHANGED: Final = {
    "provider_price": "Provider prices",
    "model_mix": "Mix of models",
    "tokens": "Use per call",
    "cache": "The provider's cache",
    "retries": "Calls per event",
    "credits": "Credits per event",
    "credit_value": "What customers paid for a credit",
}
