"""A provider lowers a price: how much of the drift is it, and how much is what agents did differently?

Claude 3.5 Haiku became a fifth cheaper on 5 December 2024: 1 to 0.80 dollars per million input tokens, 5 to 4 for output,
the cache in proportion. Its calls are those that the recorded sessions made to a later Haiku, which stands in for it.
Half of the sessions are metered in the weeks before, half in the weeks after. What the new price alone saved is worked out
here from the tokens in the files; everything else must be mix, tokens and cache.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from billing.events import Caller, Charged
from billing.services import charging, partitions
from billing.traces import agent_session, metering
from billing.traces.trace import Trace
from config.base.exact import MONEY_STEP
from pricing.advisor.recommendation import Recommendation
from pricing.models import PriceRule, Workspace
from pricing.units import Usage, normalise
from reports import advice
from tests.billing.factories import a_caller, a_price, a_wallet
from tests.pricing.factories import ProviderModelFactory, ProviderRateFactory, RateSeriesFactory

pytestmark = pytest.mark.django_db
SAMPLE = Path(__file__).parents[1] / "samples" / "traces" / "session.json"
DAY = timedelta(days=1)
CHANGED = datetime(2024, 12, 5, tzinfo=UTC)
LONG_BEFORE = datetime(2024, 1, 1, tzinfo=UTC)
NOW = CHANGED + 28 * DAY + timedelta(hours=9)
STAND_IN = "claude-3.5-haiku"
# Dollars per million tokens, before and after; as `price_history.csv` has them, which a test below checks.
HAIKU = {"input": ("1", "0.8"), "output": ("5", "4"), "cache_write": ("1.25", "1"), "cache_read": ("0.1", "0.08")}
SONNET = {"input": "3", "output": "15", "cache_write": "3.75", "cache_read": "0.3"}
LARGEST = 200_000  # tokens; above it a provider asks more, which is another reason for a dearer call

Prices = Mapping[str, tuple[str, str]]


def catalogue(name: str, prices: Prices) -> None:
    model = ProviderModelFactory.create(provider="anthropic", name=name)
    for unit, (before, after) in prices.items():
        series = RateSeriesFactory.create(provider_model=model, unit_kind=unit)
        ProviderRateFactory.create(series=series, price=Decimal(before), effective_from=LONG_BEFORE, effective_to=CHANGED)
        ProviderRateFactory.create(series=series, price=Decimal(after), effective_from=CHANGED)


def with_stand_in(trace: Trace) -> Trace:
    def named(usage: Usage) -> Usage:
        return usage._replace(model=STAND_IN) if "haiku" in usage.model else usage

    return replace(trace, steps=tuple(replace(step, usage=named(step.usage)) for step in trace.steps))


def meter(caller: Caller, traces: Iterable[Trace], *, first: datetime) -> None:
    """One session a day."""
    for number, trace in enumerate(traces):
        begins = first + number * DAY
        partitions.ensure(first=begins, last=begins + trace.length)
        events = list(metering.events(trace, metering.Plan(caller, "user_42", "agent.step", begins)))
        results = charging.charge(events, now=begins + trace.length)
        assert all(isinstance(result, Charged) for result in results)


def advise_on(early: Sequence[Trace], late: Sequence[Trace]) -> Recommendation:
    Workspace.objects.update_or_create(pk=1, defaults={"advisor_minimum_events": 1})
    a_price("20", event="agent.step", effective_from=LONG_BEFORE)
    caller = a_caller()
    a_wallet(caller, credits="100000", now=LONG_BEFORE)
    meter(caller, early, first=CHANGED - 27 * DAY)
    meter(caller, late, first=CHANGED + DAY)
    said = advice.advise(PriceRule.objects.get(), now=NOW).recommendation
    assert said
    return said


def saved_by_the_price(early: Sequence[Trace]) -> Decimal:
    """What the early events, as they were, would have cost less: per event, in dollars."""
    steps = [step for trace in early for step in trace.steps]
    used: Counter[str] = Counter()
    for step in steps:
        if step.usage.model == STAND_IN:
            used.update({str(kind): int(quantity) for kind, quantity in normalise(step.usage).items() if kind in HAIKU})
    saved = sum((used[unit] * (Decimal(before) - Decimal(after)) for unit, (before, after) in HAIKU.items()), Decimal(0))
    return saved / 1_000_000 / len(steps)


def parts(said: Recommendation) -> dict[str, Decimal]:
    assert said.drift
    found = {part.name: part.amount for part in said.drift.parts}
    assert sum(found.values()) == said.drift.total
    return found


class TestSample:
    """The sample session, which calls a Sonnet and a Haiku."""

    @pytest.fixture
    def session(self) -> Trace:
        catalogue("claude-sonnet-4-5", {unit: (price, price) for unit, price in SONNET.items()})
        catalogue(STAND_IN, HAIKU)
        return with_stand_in(agent_session.read(SAMPLE))

    def test_the_same_session_again_drifts_by_the_price_alone(self, session: Trace) -> None:
        found = parts(advise_on([session], [replace(session, digest="again")]))
        assert abs(found.pop("provider_price") - saved_by_the_price([session])) <= MONEY_STEP
        assert set(found.values()) == {Decimal(0)}

    def test_more_of_the_dearer_model_is_told_apart_from_the_price(self, session: Trace) -> None:
        dear = tuple(replace(step, usage=step.usage._replace(model="claude-sonnet-4-5")) for step in session.steps)
        again = [replace(session, digest="again"), replace(session, digest="dear", steps=dear)]
        found = parts(advise_on([session], again))
        assert abs(found["provider_price"] - saved_by_the_price([session])) <= MONEY_STEP
        assert found["model_mix"] < 0


class TestRealSessions:
    def test_drift_is_explained(self, real_data: Path) -> None:
        read = map(agent_session.read, sorted((real_data / "agent_sessions").glob("*.json")))
        traces = [with_stand_in(trace) for trace in read if all(step.usage.input_tokens <= LARGEST for step in trace.steps)]
        call_command("import_rates", "genai-prices", "--providers", "anthropic", "--accept", stdout=StringIO())
        catalogue(STAND_IN, HAIKU)
        early, late = traces[::2], traces[1::2]
        said = advise_on(early, late)
        found = parts(said)
        saved = saved_by_the_price(early)
        assert saved > 0
        assert abs(found["provider_price"] - saved) <= MONEY_STEP
        assert (found["retries"], found["credits"], found["credit_value"]) == (0, 0, 0)
        assert all(found[name] for name in ("model_mix", "tokens", "cache"))
        assert said.current
        assert said.baseline
        assert said.drift
        income = [window.value - window.cost for window in (said.baseline, said.current)]
        assert abs(said.drift.total - (income[1] - income[0])) <= 2 * MONEY_STEP

    def test_change_is_in_the_price_history(self, real_data: Path) -> None:
        """The tenfold slip of the cache read price in one feed, put right two months later, is no part of it."""
        with (real_data / "price_history.csv").open(newline="") as file:
            rows = {
                (row["date"], row["model"], row["token_kind"]): row for row in csv.DictReader(file) if row["provider"] in {"", "anthropic"}
            }
        dated = "claude-3-5-haiku-20241022"
        told = {
            "input": rows["2024-12-05", STAND_IN, "input"],
            "output": rows["2024-12-05", STAND_IN, "output"],
            "cache_write": rows["2025-03-02", dated, "cache_creation_input_token_cost"],
            "cache_read": rows["2025-03-02", dated, "cache_read_input_token_cost"],
        }
        right = {"new_price_usd": rows["2025-05-07", dated, "cache_read_input_token_cost"]["new_price_usd"]}
        told["cache_read"] = told["cache_read"] | right
        assert {unit: (row["old_price_usd"], row["new_price_usd"]) for unit, row in told.items()} == HAIKU
        assert told["input"]["subject_hint"] == told["output"]["subject_hint"] == "subject_says_change"
