"""Budgets as arithmetic: windows, what an event counts for, and what a limit says. Pure; no database.

A budget limits one measure of one scope in each window: the cost of a team in a month, the requests of a key in an hour.
Windows begin and end with the hours, days, weeks (Mondays) and months of the budget's own time zone, so a day of a
clock change has 23 or 25 hours. Spend is a sum over a window; the next window has a sum of its own, nothing is reset.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from config.base.exact import CONTEXT, ZERO, plain, round_money
from pricing.units import Usage


class Measure(StrEnum):
    """What is counted, and in which unit."""

    COST = "cost"  # provider cost in the book currency; an unknown cost counts when it is known
    CREDITS = "credits"  # what the customers were charged
    TOKENS = "tokens"  # input and output; cached and reasoning tokens are parts of these
    REQUESTS = "requests"  # calls of a provider, at least one for each event


class Window(StrEnum):
    """How long a limit lasts."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Action(StrEnum):
    """What happens at the limit. All but `block` is for the app to do: the answer tells it."""

    ALERT = "alert"
    BLOCK = "block"
    DOWNGRADE = "downgrade"
    REROUTE = "reroute"
    ASK = "ask"


class State(StrEnum):
    """How a budget stands (seed 003, "Budget Alert Bar")."""

    GREEN = "green"  # below 80 %
    YELLOW = "yellow"  # 80-99 %
    RED = "red"  # 100 % and more


_YELLOW_FROM: Final = Decimal("0.8")
_TEN, _THOUSAND = Decimal(10), Decimal(1000)
_HOUR: Final = timedelta(hours=1)
_QUARTER: Final = timedelta(minutes=15)  # clocks are moved at whole quarters of an hour


class Span(NamedTuple):
    """`[starts_at, ends_at)`, in UTC."""

    starts_at: datetime
    ends_at: datetime


def span_of(window: Window, at: datetime, zone: ZoneInfo) -> Span:
    """Return the window that `at` (aware) falls in."""
    local = at.astimezone(zone)
    if window is Window.HOUR:
        # Hours go on through a clock change: what begins them is the zone's distance from UTC before or after it.
        into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        starts_at = at.astimezone(UTC) - into
        return _unbroken(Span(starts_at, starts_at + _HOUR), at, zone)
    days = _first_days(window, local.date())
    bounds = [datetime.combine(day, time(), zone).astimezone(UTC) for day in days]
    first = max(place for place, bound in enumerate(bounds) if bound <= at)
    return Span(bounds[first], bounds[first + 1])


def _unbroken(hour: Span, at: datetime, zone: ZoneInfo) -> Span:
    """Return the part of `hour` around `at` in which clocks are not moved by a part of an hour, as on Lord Howe Island."""

    def past_the_hour(moment: datetime) -> timedelta:
        return (moment.astimezone(zone).utcoffset() or timedelta()) % _HOUR

    starts_at, ends_at = hour
    now = past_the_hour(at)
    if past_the_hour(starts_at) == now == past_the_hour(ends_at - _QUARTER):
        return hour
    quarters = [starts_at + _QUARTER * number for number in range(4)]
    inside = [quarter for quarter in quarters if past_the_hour(quarter) == now]
    return Span(inside[0], inside[-1] + _QUARTER)


def _first_days(window: Window, day: date) -> list[date]:
    """Return the first days of the windows around `day`: the one before, its own, and the two after."""
    if window is Window.MONTH:
        month = day.year * 12 + day.month - 1
        return [date(number // 12, number % 12 + 1, 1) for number in range(month - 1, month + 3)]
    length = 7 if window is Window.WEEK else 1
    first = day - timedelta(days=day.weekday()) if window is Window.WEEK else day
    return [first + timedelta(days=length * step) for step in range(-1, 3)]


class Counted(NamedTuple):
    """What one event counts for."""

    credits: Decimal
    cost: Decimal | None
    usage: Usage | None

    def by(self, measure: Measure) -> Decimal:
        """Return the amount of one measure."""
        if measure is Measure.CREDITS:
            return self.credits
        if measure is Measure.COST:
            return self.cost or ZERO
        if measure is Measure.TOKENS:
            return Decimal(self.usage.input_tokens + self.usage.output_tokens) if self.usage else ZERO
        return Decimal(max(self.usage.requests, 1) if self.usage else 1)


class Place(NamedTuple):
    """Where an event happens, as budgets name it. Customers by (project, environment, the app's own id)."""

    team_id: int | None
    project_id: int
    api_key_id: int | None
    environment: str
    customer: tuple[int, str, str] | None
    user: str = ""
    event: str = ""
    agent_type: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Exemption:
    """An approved exception: so much more, from and until."""

    extra: Decimal
    starts_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget as the charge knows it. `scope` holds the fields of a `Place` that must agree; none: everything."""

    id: int
    name: str
    scope: Mapping[str, object]
    measure: Measure
    window: Window
    zone: ZoneInfo
    limit: Decimal
    action: Action
    target: str  # the model to go down to, the route to take, whom to ask
    counts_from: datetime  # the start of its first window: what happened before is not its business
    exemptions: tuple[Exemption, ...] = ()

    @property
    def is_blocking(self) -> bool:
        """Say whether charges themselves keep it."""
        return self.action is Action.BLOCK

    def covers(self, place: Place) -> bool:
        """Say whether what happens at `place` counts."""
        return all(getattr(place, name) == value for name, value in self.scope.items())

    def limit_at(self, now: datetime) -> Decimal:
        """Return the limit with what exceptions add to it at `now`; they end by themselves."""
        if not self.exemptions:
            return self.limit
        return self.limit + sum((e.extra for e in self.exemptions if e.starts_at <= now < e.expires_at), ZERO)


@dataclass(slots=True)
class Meter:
    """One budget in one window, as a flush finds and leaves it. `added` is what the flush has counted so far."""

    budget: Budget
    span: Span
    window_id: int = 0
    spent: Decimal = ZERO
    held: Decimal = ZERO
    added: Decimal = ZERO

    def left(self, now: datetime) -> Decimal:
        """Return what may still be spent; negative where a limit was lowered, or an exception has ended."""
        return CONTEXT.subtract(CONTEXT.subtract(self.budget.limit_at(now), self.spent), self.held)

    def count(self, amount: Decimal, held: Decimal = ZERO) -> None:
        """Add what an event that goes through counts for; `held` is what its hold had reserved."""
        self.spent = CONTEXT.add(self.spent, amount)
        self.added = CONTEXT.add(self.added, amount)
        if held:
            self.held -= held

    def standing(self, now: datetime) -> "Standing":
        """Return what the answer says of this budget."""
        limit = self.budget.limit_at(now)
        state = state_of(self.spent, limit)
        acts = state is State.RED
        return Standing(
            name=self.budget.name,
            state=state,
            action=self.budget.action if acts else None,
            percent=percent_of(self.spent, limit),
            measure=self.budget.measure,
            spent=self.spent,
            held=self.held,
            limit=limit,
            window=self.span,
            target=self.budget.target if acts else "",
            is_late=self.span.ends_at <= now,
        )


class Standing(NamedTuple):
    """How a budget stands in one window. `percent` is rounded down, so that 100 is said at the limit and not before."""

    name: str
    state: State
    action: Action | None
    percent: Decimal
    measure: Measure
    spent: Decimal
    held: Decimal
    limit: Decimal
    window: Span
    target: str
    is_late: bool

    def as_json(self) -> dict[str, object]:
        """Write it as answers do."""
        return {
            "name": self.name,
            "state": str(self.state),  # as plain texts: members of an enum take to_json four times as long
            "action": str(self.action) if self.action else "none",
            "percent": plain(self.percent),
            "measure": str(self.measure),
            "limit": plain(self.limit),
            "spent": plain(self.spent),
            "held": plain(self.held),
            "remaining": plain(max(self.limit - self.spent - self.held, ZERO)),
            "target": self.target,
            "window": _as_json(self.window),
            "late": self.is_late,
        }


@lru_cache(maxsize=256)  # the answers of a flush name the same few windows
def _as_json(window: Span) -> Mapping[str, str]:
    return {"from": window.starts_at.isoformat(), "to": window.ends_at.isoformat()}


def state_of(spent: Decimal, limit: Decimal) -> State:
    """Return green below 80 %, yellow below 100 %, red from there on. A limit of 0 is red at once: nothing may be spent."""
    if spent >= limit:
        return State.RED
    return State.YELLOW if spent >= CONTEXT.multiply(limit, _YELLOW_FROM) else State.GREEN


def percent_of(spent: Decimal, limit: Decimal) -> Decimal:
    """Return how much of the limit is spent, in per cent with one place, rounded down; a limit of 0 counts as spent."""
    if not limit:
        return Decimal(100)
    return CONTEXT.divide(CONTEXT.divide_int(CONTEXT.multiply(spent, _THOUSAND), limit), _TEN)


# Before so much of a window is over, its own pace says little.
_EARLY: Final = Decimal("0.1")


class Forecast(NamedTuple):
    """What will have been spent at the end of a window if it goes on like this, by which method, and when the limit is met."""

    amount: Decimal
    method: str
    runs_out_at: datetime | None


def forecast(spent: Decimal, span: Span, limit: Decimal, *, before: Decimal | None, now: datetime) -> Forecast:
    """Draw a straight line to the end of the window: so far, at the pace of this window.

    In its first tenth the pace is that of the window before (`before`, None: there was none), since a few minutes say little.
    A window that is over is known.
    """
    length = _seconds(span.ends_at - span.starts_at)
    elapsed = min(max(_seconds(now - span.starts_at), ZERO), length)
    if elapsed == length:
        return Forecast(spent, "the window is over", None)
    if is_early(span, now) and before is not None:
        pace, method = CONTEXT.divide(before, length), "so far, then at the pace of the window before"
    else:
        pace, method = (CONTEXT.divide(spent, elapsed) if elapsed else ZERO), "at the pace of this window so far"
    amount = round_money(CONTEXT.add(spent, CONTEXT.multiply(pace, length - elapsed)))
    if spent >= limit:
        return Forecast(amount, method, now)
    until = int(CONTEXT.divide(limit - spent, pace)) if pace else None
    runs_out_at = now + timedelta(seconds=until) if until is not None and until < length - elapsed else None
    return Forecast(amount, method, runs_out_at)


def is_early(span: Span, now: datetime) -> bool:
    """Say whether so little of a window is over that its own pace says little."""
    return _seconds(now - span.starts_at) < _seconds(span.ends_at - span.starts_at) * _EARLY


def is_reached(threshold: int, spent: Decimal, limit: Decimal) -> bool:
    """Say whether `threshold` per cent of a limit are spent; of a limit of 0, by anything at all."""
    return spent > 0 and CONTEXT.multiply(spent, Decimal(100)) >= CONTEXT.multiply(limit, Decimal(threshold))


def _seconds(span: timedelta) -> Decimal:
    return Decimal(span // timedelta(seconds=1))


class SetAside(NamedTuple):
    """What the hold of a capture set aside, and in which fields of a `Place` its capture happens elsewhere."""

    credits: Decimal = ZERO
    elsewhere: frozenset[str] = frozenset()


NOTHING_SET_ASIDE: Final = SetAside()


def refusing(meters: Iterable[Meter], counted: Counted, *, now: datetime, set_aside: SetAside = NOTHING_SET_ASIDE) -> list[Meter]:
    """Return the blocking budgets that have no room for an event, the strictest (least left) first.

    `set_aside` is what the hold that the event captures holds already, in the budgets that it was placed in. An event
    that counts for nothing is never refused.
    """
    full = []
    for meter in meters:
        if meter.budget.action is not Action.BLOCK:
            continue
        amount = counted.by(meter.budget.measure)
        own = own_part(meter.budget, set_aside)
        if amount and amount - own > meter.left(now):
            full.append(meter)
    return sorted(full, key=lambda meter: (meter.left(now), meter.budget.id))


# What a hold does not know before it is captured; budgets of these do not count it.
_UNKNOWN_TO_HOLDS: Final = frozenset({"user", "agent_type", "model"})


def counts_holds(budget: Budget) -> bool:
    """Say whether open holds count as reserved: their credits are known, and so is that each will be a request."""
    return budget.measure in {Measure.CREDITS, Measure.REQUESTS} and not _UNKNOWN_TO_HOLDS & set(budget.scope)


def own_part(budget: Budget, set_aside: SetAside) -> Decimal:
    """Return what the hold of a capture counts for in a budget of the capture: nothing where it was placed elsewhere."""
    if not set_aside.credits or not counts_holds(budget) or not set_aside.elsewhere.isdisjoint(budget.scope):
        return ZERO
    return set_aside.credits if budget.measure is Measure.CREDITS else Decimal(1)


def opens_at(meter: Meter, amount: Decimal, *, is_dated: bool, now: datetime) -> datetime | None:
    """Return when an event that was refused fits again by itself; None: never, however often it is sent.

    What says when it occurred (`is_dated`) counts in that window whenever it arrives, and what is above a whole limit
    fits no window.
    """
    ends_at = meter.span.ends_at
    return None if is_dated or ends_at <= now or amount > meter.budget.limit_at(ends_at) else ends_at


def why_refused(meter: Meter, amount: Decimal, *, is_dated: bool, now: datetime) -> str:
    """Say in a sentence what stands in the way, when it ends, and what to do."""
    budget, left = meter.budget, max(meter.left(now), ZERO)
    held = f" and {plain(meter.held)} held" if meter.held else ""
    opens = opens_at(meter, amount, is_dated=is_dated, now=now)
    if opens:
        until = f"It starts anew at {opens.isoformat()}; ask the budget's owner for an exception to go on before."
    elif amount > budget.limit_at(meter.span.ends_at):
        until = "It is more than the whole limit, so waiting does not help: ask the budget's owner for an exception or a higher limit."
    else:
        over = "which is over" if meter.span.ends_at <= now else f"until {meter.span.ends_at.isoformat()}"
        until = (
            f"It counts in the {budget.window} that it occurred in, {over}, so waiting does not help: ask the budget's owner for an "
            "exception or a higher limit, then send it again."
        )
    return (
        f"The budget {budget.name!r} allows {plain(budget.limit_at(now))} {UNITS[budget.measure]} a {budget.window}: {plain(meter.spent)} "
        f"spent{held}, {plain(left)} left, and this event needs {plain(amount)}. {until}"
    )


UNITS: Final[Mapping[Measure, str]] = {
    Measure.COST: "of provider cost",
    Measure.CREDITS: "credits",
    Measure.TOKENS: "tokens",
    Measure.REQUESTS: "requests",
}
