"""Spikes as arithmetic: which usage at least doubled from one week to the next, and what the figures say it is. Pure; no database.

Seven days are compared with the seven before them, per project, environment and action. What at least doubled (events, calls
of providers, or cost) is a spike, from 100 events in the last seven days on; a cost has to come to 1 in the book currency too. A
project that is younger than these two weeks has nothing to be compared with.

What a spike is (seed 004: "normal growth, a planned launch, a staging mistake, a failed batch job, a retry loop, or a
model-route change") is decided by rules in a fixed order; all that hold are told, the first names it. Without floats, and
without a guess: where no rule holds, it says so.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final, NamedTuple

from config.base.exact import ZERO, Rounding, grouped, round_to

WEEK: Final = timedelta(days=7)
MINIMUM_EVENTS: Final = 100
MINIMUM_COST: Final = Decimal(1)
_DOUBLE: Final = 2
# Whoever was silent for so long at the start of the two weeks had not begun yet: 4 days against 7 are less than double.
_SETTLED_AFTER: Final = timedelta(days=3)
# From where on a change between the weeks counts as one.
_TROUBLE: Final = Fraction(1, 5)  # retries, fallbacks and errors per event, more than before, and twice as many
_BATCH_SHARE: Final = Fraction(1, 5)  # of all events, more than before
_MOST: Final = Fraction(1, 2)  # of what was added
_MOVED: Final = Fraction(3, 10)  # of the events go to another model or route
_RATIO: Final = Fraction(3, 2)  # customers, users, cost per event


class Measure(StrEnum):
    """What doubled."""

    EVENTS = "events"
    REQUESTS = "requests"
    COST = "cost"


class Cause(StrEnum):
    """What a spike is."""

    LAUNCH = "launch"
    STAGING = "staging"
    RETRY = "retry"
    BATCH = "batch"
    ROUTE = "route"
    GROWTH = "growth"
    UNEXPLAINED = "unexplained"


class Subject(NamedTuple):
    """Whose usage: one action of one project in one environment."""

    project_id: int
    environment: str
    event_type_id: int


class Weeks(NamedTuple):
    """The two weeks, `[starts_at, middle)` and `[middle, ends_at)`."""

    starts_at: datetime
    middle: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Used:
    """What one subject used in one week. `cost` is that of the `costed` events, whose cost is known; `routes` count events."""

    events: int = 0
    requests: int = 0
    retries: int = 0
    fallbacks: int = 0
    failed: int = 0
    batched: int = 0
    customers: int = 0
    users: int = 0
    costed: int = 0
    cost: Decimal = ZERO
    routes: Mapping[str, int] = field(default_factory=dict)

    @property
    def trouble(self) -> Fraction:
        """Return retries, fallbacks and errors per event."""
        return _per(self.retries + self.fallbacks + self.failed, self.events)

    @property
    def batch_share(self) -> Fraction:
        """Return the share of events that were batch work."""
        return _per(self.batched, self.events)

    @property
    def unit_cost(self) -> Fraction | None:
        """Return what an event cost; None where that is known of less than half of them."""
        return _per(self.cost, self.costed) if self.events and self.costed * 2 >= self.events else None


@dataclass(frozen=True, slots=True)
class Planned:
    """An entry of the launch calendar, from and until; None and empty stand for all."""

    name: str
    kind: str
    starts_at: datetime
    ends_at: datetime
    project_id: int | None = None
    event_type_id: int | None = None
    environment: str = ""

    def explains(self, subject: Subject, since: datetime, until: datetime) -> bool:
        """Say whether it covers `subject` at any time in `[since, until)`."""
        return (
            self.starts_at < until
            and self.ends_at > since
            and self.project_id in {None, subject.project_id}
            and self.event_type_id in {None, subject.event_type_id}
            and self.environment in {"", subject.environment}
        )


@dataclass(frozen=True, slots=True)
class Spike:
    """What doubled, what it is and why; `also` is what else the figures say."""

    subject: Subject
    before: Used
    now: Used
    doubled: tuple[Measure, ...]
    cause: Cause
    reason: str
    also: tuple[str, ...]


def last_two_weeks(now: datetime) -> Weeks:
    """Return the two weeks up to the last full hour."""
    ends_at = now.replace(minute=0, second=0, microsecond=0)
    return Weeks(ends_at - 2 * WEEK, ends_at - WEEK, ends_at)


def find(
    used: Mapping[Subject, tuple[Used, Used]], *, since: Mapping[int, datetime], planned: Iterable[Planned], weeks: Weeks, currency: str
) -> list[Spike]:
    """Return the spikes, the one with the most events first.

    `used` holds the week before and the last one; `since` when each project was first used in these two weeks.
    """
    calendar = list(planned)
    spikes = []
    for subject, (before, now) in used.items():
        is_settled = since.get(subject.project_id, weeks.ends_at) < weeks.starts_at + _SETTLED_AFTER
        if is_settled and (measures := doubled(before, now)):
            launches = [entry for entry in calendar if entry.explains(subject, weeks.middle, weeks.ends_at)]
            cause, reason, also = classify(subject, before, now, measures, launches, currency)
            spikes.append(Spike(subject, before, now, measures, cause, reason, also))
    return sorted(spikes, key=lambda spike: (-spike.now.events, spike.subject))


def doubled(before: Used, now: Used) -> tuple[Measure, ...]:
    """Return what at least doubled; nothing below the minimum volume. Events double from nothing, the others from something."""
    if now.events < MINIMUM_EVENTS:
        return ()
    measures = []
    if now.events >= _DOUBLE * before.events:
        measures.append(Measure.EVENTS)
    if before.requests and now.requests >= _DOUBLE * before.requests:
        measures.append(Measure.REQUESTS)
    if before.unit_cost and now.unit_cost:
        cost = now.unit_cost * now.events
        if cost >= MINIMUM_COST and cost >= _DOUBLE * before.unit_cost * before.events:
            measures.append(Measure.COST)
    return tuple(measures)


def classify(
    subject: Subject, before: Used, now: Used, measures: tuple[Measure, ...], launches: Iterable[Planned], currency: str
) -> tuple[Cause, str, tuple[str, ...]]:
    """Say what it is: the first rule that holds, its reason, and what the others say.

    A plan explains all, and what serves no customer has no reason to grow. Trouble and batch work come before what may
    be welcome. More customers explain more events, another route does not; with costs it is the other way round.
    """
    rules: list[tuple[Cause, Callable[[Used, Used], str]]] = [
        (Cause.LAUNCH, lambda _before, _now: _of_plan(launches)),
        (Cause.STAGING, lambda _before, _now: _of_environment(subject)),
        (Cause.RETRY, _of_trouble),
        (Cause.BATCH, _of_batch),
        (Cause.GROWTH, _of_growth),
        (Cause.ROUTE, lambda before, now: _of_route(before, now, currency)),
    ]
    if Measure.EVENTS not in measures:
        rules[-2:] = reversed(rules[-2:])
    held = [(cause, reason) for cause, rule in rules if (reason := rule(before, now))]
    if not held:
        return Cause.UNEXPLAINED, _unexplained(before, now), ()
    (cause, reason), *others = held
    return cause, reason, tuple(words for _, words in others)


def _of_plan(launches: Iterable[Planned]) -> str:
    names = [f"{entry.name} ({entry.kind[0].lower()}{entry.kind[1:]})" for entry in launches]
    return f"Planned: {', '.join(names)}." if names else ""


def _of_environment(subject: Subject) -> str:
    if subject.environment == "production":
        return ""
    return f"It is in {subject.environment}, where no customer is served."


def _of_trouble(before: Used, now: Used) -> str:
    if now.trouble - before.trouble < _TROUBLE or now.trouble < _DOUBLE * before.trouble:
        return ""
    parts = [
        f"{_hundred(_per(count, now.events))} {what}"
        for count, what in ((now.retries, "retries"), (now.fallbacks, "fallbacks"), (now.failed, "errors"))
        if count
    ]
    return f"Of 100 events there are {_listed(parts)}; before, {_hundred(before.trouble)} of all these together."


def _of_batch(before: Used, now: Used) -> str:
    added, in_batch = now.events - before.events, now.batched - before.batched
    if added > 0 and in_batch >= _MOST * added:
        return f"Batch work grew by {in_batch:,} events, and all events by {added:,}."
    if now.batch_share - before.batch_share >= _BATCH_SHARE:
        return f"Batch work went from {_hundred(before.batch_share)} % to {_hundred(now.batch_share)} % of the events."
    return ""


def _of_route(before: Used, now: Used, currency: str) -> str:
    words = []
    if before.events:
        shifts = {
            route: _per(now.routes.get(route, 0), now.events) - _per(before.routes.get(route, 0), before.events)
            for route in sorted({*before.routes, *now.routes})
        }
        if sum((shift for shift in shifts.values() if shift > 0), Fraction(0)) >= _MOVED:
            route = max(shifts, key=lambda name: shifts[name])
            was, is_now = _per(before.routes.get(route, 0), before.events), _per(now.routes.get(route, 0), now.events)
            words.append(f"{route or 'no model'} serves {_hundred(is_now)} % of the events instead of {_hundred(was)} %")
    if before.unit_cost and now.unit_cost and not 1 / _RATIO < now.unit_cost / before.unit_cost < _RATIO:
        words.append(f"an event costs {_amount(now.unit_cost)} {currency} instead of {_amount(before.unit_cost)} {currency}")
    return f"By model and price: {', and '.join(words)}." if words else ""


def _of_growth(before: Used, now: Used) -> str:
    for is_now, was, who in ((now.customers, before.customers, "customers"), (now.users, before.users, "users")):
        if is_now and is_now >= _RATIO * was and is_now > was:
            return f"More {who} use it: {is_now:,} instead of {was:,}." if was else f"{is_now:,} {who} have begun to use it."
    return ""


def _unexplained(before: Used, now: Used) -> str:
    if not before.events:
        return "There was none in the 7 days before, and the figures show no reason."
    if now.customers and before.customers:
        was, is_now = _per(before.events, before.customers), _per(now.events, now.customers)
        return f"The figures show no reason: {_tenths(is_now)} events a customer instead of {_tenths(was)}."
    return f"The figures show no reason: {now.events:,} events instead of {before.events:,}, alike in all else."


def times(now: int, before: int) -> str:
    """Say how much more `now` is, rounded down so that 2 is said at the double: `2.4 times`."""
    if not before or now == before:
        return "the same" if before else "new"
    return f"{_tenths(_per(now, before))} times"


def facts(spike: Spike, weeks: Weeks) -> Iterator[tuple[str, object]]:
    """Yield what an alert keeps of a spike, as JSON."""
    yield from (("class", str(spike.cause)), ("reason", spike.reason), ("also", list(spike.also)))
    yield "doubled", [str(measure) for measure in spike.doubled]
    yield from (("from", weeks.middle.isoformat()), ("to", weeks.ends_at.isoformat()))
    for name, used in (("before", spike.before), ("now", spike.now)):
        counts = {key: getattr(used, key) for key in Used.__slots__ if key not in {"cost", "routes"}}
        largest = sorted(used.routes.items(), key=lambda item: (-item[1], item[0]))[:_KEPT_ROUTES]
        yield name, {**counts, "cost": f"{used.cost:f}", "routes": dict(largest)}


_KEPT_ROUTES: Final = 5


def _per(part: int | Decimal, whole: int) -> Fraction:
    return Fraction(part) / whole if whole else Fraction(0)


def _hundred(share: Fraction) -> int:
    return int(share * 100 + Fraction(1, 2))


def _tenths(value: Fraction) -> str:
    return grouped(Decimal(int(value * 10)) / 10)


def _amount(value: Fraction) -> str:
    """Write an amount of money to three digits: 0.0381."""
    amount = Decimal(value.numerator) / Decimal(value.denominator)
    return grouped(round_to(amount, Decimal(1).scaleb(min(-2, amount.adjusted() - 2) if amount else -2), Rounding.HALF_UP))


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
