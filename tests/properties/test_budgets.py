"""Budgets, for any time, zone, scope and amount: windows tile time, and Python and SQL count the same."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from billing.budgeting import Action, Budget, Counted, Measure, Span, State, Window, forecast, percent_of, span_of, state_of
from billing.events import Caller, Charged, Event, Owner
from billing.models import Customer, Environment
from billing.queries import budget_sums
from billing.services import budget_folding, budget_gate, charging, keys
from pricing.units import Usage
from tests.billing.factories import NOW, ProjectFactory, a_caller, a_price, a_token, a_wallet, an_event

# Hours and half hours, midnights that are skipped or come twice, a day that never was, and clocks that move by half an hour.
ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"),
    *("Africa/Cairo", "Asia/Beirut", "America/Havana", "America/Sao_Paulo", "Africa/Casablanca", "Pacific/Apia", "Asia/Pyongyang"),
    *("America/Caracas", "Pacific/Chatham", "America/Asuncion", "Asia/Tehran", "Antarctica/Troll"),
]
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

zones = st.sampled_from(ZONES).map(ZoneInfo)
windows = st.sampled_from(Window)
FIRST_TIME, LAST_TIME = datetime(2010, 1, 1), datetime(2037, 1, 1)  # noqa: DTZ001 - hypothesis adds the zone
times = st.datetimes(FIRST_TIME, LAST_TIME, timezones=st.just(UTC))
amounts = st.integers(0, 10**32 - 1).map(lambda units: Decimal(units).scaleb(-12))


def transitions(zone: ZoneInfo, first: datetime, last: datetime) -> list[datetime]:
    """Return when the clocks of a zone move, to the minute."""
    found = []
    day = first
    while day < last:
        before, after = day, day + timedelta(days=1)
        if offset(before, zone) != offset(after, zone):
            while after - before > MINUTE:
                middle = before + (after - before) // MINUTE // 2 * MINUTE
                before, after = (middle, after) if offset(middle, zone) == offset(before, zone) else (before, middle)
            found.append(after)
        day += timedelta(days=1)
    return found


def offset(at: datetime, zone: ZoneInfo) -> timedelta | None:
    return at.astimezone(zone).utcoffset()


class TestWindows:
    @given(windows, times, zones)
    def test_hold_the_time_that_they_are_of(self, window: Window, at: datetime, zone: ZoneInfo) -> None:
        span = span_of(window, at, zone)
        assert span.starts_at <= at < span.ends_at
        assert span_of(window, span.starts_at, zone) == span == span_of(window, span.ends_at - timedelta(microseconds=1), zone)
        assert span_of(window, span.ends_at, zone).starts_at == span.ends_at, "no gap"

    @pytest.mark.parametrize("name", ZONES)
    @pytest.mark.parametrize("window", Window)
    def test_tile_the_time_around_every_change_of_the_clocks(self, window: Window, name: str) -> None:
        zone = ZoneInfo(name)
        moves = transitions(zone, datetime(2010, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
        for move in moves[:60] or [NOW]:
            steps = [move + 5 * MINUTE * step for step in range(-36, 37)] + [move - timedelta(microseconds=1)]
            spans = sorted({span_of(window, at, zone) for at in steps})
            assert all(before.ends_at == after.starts_at for before, after in pairwise(spans)), (move, spans)
            assert all(sum(span.starts_at <= at < span.ends_at for span in spans) == 1 for at in steps), (move, spans)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
    @given(zone=zones, instants=st.lists(times, min_size=1, max_size=12))
    def test_begin_where_postgresql_truncates(self, db: None, zone: ZoneInfo, instants: list[datetime]) -> None:
        instants = [at for at in instants if not is_near_a_change(at, zone)]
        assume(instants)
        with connection.cursor() as cursor:
            for window in Window:
                statement = (
                    "SELECT array_agg(date_trunc(%s, at, %s) ORDER BY n) FROM unnest(%s::timestamptz[]) WITH ORDINALITY AS u (at, n)"
                )
                cursor.execute(statement, [str(window), zone.key, instants])
                [truncated] = cursor.fetchone()
                assert [span_of(window, at, zone).starts_at for at in instants] == truncated

    @pytest.mark.parametrize(("month", "day", "hours"), [(3, 29, 23), (10, 25, 25), (6, 1, 24)])
    def test_of_days_have_the_hours_that_the_day_has(self, month: int, day: int, hours: int) -> None:
        berlin, at = ZoneInfo("Europe/Berlin"), datetime(2026, month, day, 12, tzinfo=UTC)
        span = span_of(Window.DAY, at, berlin)
        assert span.ends_at - span.starts_at == hours * HOUR
        assert span_of(Window.WEEK, at, berlin).starts_at.astimezone(berlin).weekday() == 0


def is_near_a_change(at: datetime, zone: ZoneInfo) -> bool:
    """Say whether the clocks change on this day or the one before, where two places of one name may be meant."""
    return len({offset(at + hours * HOUR, zone) for hours in (-26, -2, -1, 0, 1, 2, 26)}) > 1


class TestStates:
    @given(amounts, amounts)
    @example(Decimal(10**20) - Decimal("0.000000000001"), Decimal(10**20))
    def test_say_full_at_the_limit_and_not_before(self, spent: Decimal, limit: Decimal) -> None:
        percent = percent_of(spent, limit)
        assert (percent >= 100) == (spent >= limit)
        assert (state_of(spent, limit) is State.RED) == (spent >= limit)
        if limit and spent < limit:
            exact = spent.as_integer_ratio()[0] * limit.as_integer_ratio()[1] * 1000
            over = spent.as_integer_ratio()[1] * limit.as_integer_ratio()[0]
            assert percent * 10 == exact // over
            assert (state_of(spent, limit) is State.YELLOW) == (percent >= 80)


SPAN = Span(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
LENGTH = SPAN.ends_at - SPAN.starts_at


class TestForecast:
    @given(amounts, amounts, st.none() | amounts, st.integers(-100_000, 3_000_000))
    def test_is_never_below_what_is_spent(self, spent: Decimal, limit: Decimal, before: Decimal | None, seconds: int) -> None:
        now = SPAN.starts_at + timedelta(seconds=seconds)
        told = forecast(spent, SPAN, limit, before=before, now=now)
        assert told.amount >= spent
        assert told.method
        if now >= SPAN.ends_at:
            assert told == (spent, "the window is over", None)
        elif spent >= limit:
            assert told.runs_out_at == now
        elif told.runs_out_at:
            assert now <= told.runs_out_at < max(now, SPAN.starts_at) + LENGTH
            assert told.amount >= limit

    @pytest.mark.parametrize(
        ("spent", "before", "into", "amount", "method"),
        [
            (10, 300, timedelta(0), 310, "so far, then at the pace of the window before"),
            (10, 300, LENGTH / 10 - timedelta(seconds=1), 280, "so far, then at the pace of the window before"),
            (10, 300, LENGTH / 10, 100, "at the pace of this window so far"),
            (10, None, LENGTH / 20, 200, "at the pace of this window so far"),
            (10, 0, LENGTH / 20, 10, "so far, then at the pace of the window before"),
            (10, None, timedelta(0), 10, "at the pace of this window so far"),
            (0, None, LENGTH / 2, 0, "at the pace of this window so far"),
            (10, 300, LENGTH, 10, "the window is over"),
        ],
    )
    def test_goes_by_the_window_before_until_its_own_pace_says_more(
        self, spent: int, before: int | None, into: timedelta, amount: int, method: str
    ) -> None:
        earlier = None if before is None else Decimal(before)
        told = forecast(Decimal(spent), SPAN, Decimal(1000), before=earlier, now=SPAN.starts_at + into)
        assert (round(told.amount), told.method, told.runs_out_at) == (amount, method, None)

    def test_tells_when_the_limit_is_met(self) -> None:
        now = SPAN.starts_at + LENGTH / 2
        assert forecast(Decimal(60), SPAN, Decimal(80), before=None, now=now).runs_out_at == now + LENGTH / 6
        assert forecast(Decimal(60), SPAN, Decimal(120), before=None, now=now).runs_out_at is None, "met as the window ends"
        assert forecast(Decimal(0), SPAN, Decimal(0), before=None, now=now).runs_out_at == now, "nothing may be spent"


USERS, AGENTS, MODELS, CUSTOMERS = ("", "ada"), ("", "research"), ("claude-haiku-4-5", "unheard-of"), (None, "user_1", "user_2")
FIRST = datetime(2026, 11, 1, 3, 30, tzinfo=UTC)  # the night in which New York's clocks go back
occurrences = st.integers(0, 40 * 12).map(lambda halves: FIRST + halves * 30 * MINUTE) | st.integers(0, 400).map(
    lambda m: FIRST + m * MINUTE
)
_numbers = count()


@pytest.fixture
def callers(db: None) -> list[Caller]:
    """Two projects, one with a key and one environment more; two event types."""
    a_price("4")
    a_price("0.5", event="search.run")
    project, other = ProjectFactory.create(), ProjectFactory.create()
    keyed = keys.authenticate(token=a_token(project), address="127.0.0.1", now=NOW)
    made = [keyed, a_caller(project, environment=Environment.STAGING), a_caller(other)]
    for caller in made:
        for customer in CUSTOMERS[1:]:
            a_wallet(caller, customer, credits="1000000")
    return made


@st.composite
def events(draw: st.DrawFn, callers: list[Caller]) -> Event:
    usage = Usage(
        "anthropic",
        draw(st.sampled_from(MODELS)),
        input_tokens=draw(st.integers(0, 900)),
        output_tokens=7,
        requests=draw(st.integers(0, 3)),
    )
    return an_event(
        draw(st.sampled_from(callers)),
        f"drawn_{next(_numbers)}",
        event=draw(st.sampled_from(["chat.reply", "search.run"])),
        customer=draw(st.sampled_from(CUSTOMERS)),
        occurred_at=draw(occurrences),
        usage=draw(st.none() | st.just(usage)),
        owner=Owner(user=draw(st.sampled_from(USERS)), agent_type=draw(st.sampled_from(AGENTS))),
        provider_cost=draw(st.none() | st.integers(0, 10**6).map(lambda units: Decimal(units).scaleb(-5))),
    )


@st.composite
def some_budget(draw: st.DrawFn, callers: list[Caller]) -> Budget:
    caller = draw(st.sampled_from(callers))
    fields: dict[str, Any] = {
        "team_id": caller.team_id,
        "project_id": caller.project_id,
        "api_key_id": callers[0].api_key_id,
        "environment": caller.environment,
        "user": "ada",
        "event": draw(st.sampled_from(["chat.reply", "search.run"])),
        "agent_type": "research",
        "model": draw(st.sampled_from(MODELS)),
        "customer": (caller.project_id, caller.environment, "user_1"),
    }
    scope = draw(st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True))
    return Budget(
        id=0,
        name="drawn",
        scope={name: fields[name] for name in scope},
        measure=draw(st.sampled_from(Measure)),
        window=draw(windows),
        zone=ZoneInfo(draw(st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe"]))),
        limit=Decimal(1),
        action=Action.ALERT,
        target="",
        counts_from=draw(st.sampled_from([FIRST - timedelta(days=40), FIRST + timedelta(days=1)])),
    )


class TestSums:
    @pytest.mark.django_db
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
    @given(data=st.data())
    def test_in_sql_are_those_of_the_charge(self, callers: list[Caller], data: st.DataObject) -> None:
        drawn = data.draw(st.lists(events(callers), min_size=1, max_size=12))
        scoped = data.draw(st.lists(some_budget(callers), min_size=1, max_size=6))
        after = budget_folding.last_record_id()
        now = data.draw(st.sampled_from([NOW, FIRST + timedelta(days=11)]))
        results = charging.charge(drawn, now=now)
        upto = budget_folding.last_record_id()
        for budget in scoped:
            expected: dict[Span, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
            for event, result in zip(drawn, results, strict=True):
                assert isinstance(result, Charged), result
                span = span_of(budget.window, result.occurred_at, budget.zone)
                if budget.covers(budget_gate.place_of(event)) and span.starts_at >= budget.counts_from:
                    amount = Counted(result.credits, result.cost.amount, event.usage).by(budget.measure)
                    expected[span][0] += amount
                    expected[span][1] += amount if now >= span.ends_at else 0
            found = budget_sums.of_records(
                budget, budget_sums.spans(budget, budget_sums.quarters_of_records(after, upto)), after=after, upto=upto
            )
            assert {one.span: [one.spent, one.late] for one in found} == dict(expected), budget
        assert Customer.objects.count() == 6
