"""One worked example per kind of spike, by figures that can be checked by hand; where each begins; and where there is none."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import spikes
from billing.spikes import Cause, Measure, Planned, Spike, Subject, Used

NOW = datetime(2026, 11, 20, 10, 40, tzinfo=UTC)
WEEKS = spikes.last_two_weeks(NOW)
CHAT = Subject(1, "production", 7)
STAGED = Subject(1, "staging", 7)


def used(events: int = 1000, **fields: Any) -> Used:
    """A quiet week: 10 events a customer, one call of one model each, 0.02 USD an event."""
    facts: dict[str, Any] = {"requests": events, "customers": events // 10, "users": 0, "costed": events, "cost": Decimal(events) / 50}
    return Used(events, **(facts | {"routes": {"acme/m-1": events}} | fields))


def found(before: Used, now: Used, *planned: Planned, subject: Subject = CHAT, since: datetime = WEEKS.starts_at) -> list[Spike]:
    return spikes.find({subject: (before, now)}, since={1: since}, planned=planned, weeks=WEEKS, currency="USD")


def only(before: Used, now: Used, *planned: Planned, subject: Subject = CHAT) -> Spike:
    [spike] = found(before, now, *planned, subject=subject)
    return spike


def a_plan(starts: timedelta = timedelta(days=-3), ends: timedelta = timedelta(days=4), **fields: Any) -> Planned:
    return Planned("Autumn campaign", "Launch or campaign", NOW + starts, NOW + ends, **fields)


class TestWhatDoubled:
    def test_is_a_spike_from_the_double_on(self) -> None:
        assert found(used(1000), used(1999)) == []
        assert only(used(1000), used(2000)).doubled == (Measure.EVENTS, Measure.REQUESTS, Measure.COST)

    def test_needs_a_hundred_events(self) -> None:
        assert found(used(10), used(99)) == []
        assert only(used(10), used(100)).now.events == 100

    def test_may_be_calls_alone(self) -> None:
        assert only(used(1000), used(1000, requests=2000)).doubled == (Measure.REQUESTS,)

    def test_may_be_cost_alone_from_one_dollar_on(self) -> None:
        assert only(used(1000), used(1000, cost=Decimal(40))).doubled == (Measure.COST,)
        assert found(used(1000, cost=Decimal("0.49")), used(1000, cost=Decimal("0.99"))) == []
        assert only(used(1000, cost=Decimal("0.5")), used(1000, cost=Decimal(1))).doubled == (Measure.COST,)

    def test_does_not_take_costs_that_became_known_for_more_cost(self) -> None:
        half = used(1000, costed=500, cost=Decimal(10))
        assert found(half, used(1000)) == []
        assert found(used(1000, costed=499, cost=Decimal(1)), used(1000)) == []

    def test_counts_from_nothing(self) -> None:
        spike = only(Used(), used(100))
        assert (spike.doubled, spike.cause) == ((Measure.EVENTS,), Cause.GROWTH)
        assert spike.reason == "10 customers have begun to use it."

    def test_is_none_of_a_project_that_began_in_these_weeks(self) -> None:
        begun = WEEKS.starts_at + timedelta(days=3)
        assert found(used(100), used(900), since=begun) == []
        assert len(found(used(100), used(900), since=begun - timedelta(seconds=1))) == 1

    def test_is_none_where_nothing_happened(self) -> None:
        assert found(Used(), Used()) == []
        assert spikes.find({}, since={}, planned=[a_plan()], weeks=WEEKS, currency="USD") == []
        assert found(used(1000), Used()) == []

    def test_the_largest_comes_first(self) -> None:
        weeks = {CHAT: (used(100), used(300)), STAGED: (used(100), used(500))}
        spikes_found = spikes.find(weeks, since={1: WEEKS.starts_at}, planned=[], weeks=WEEKS, currency="USD")
        assert [spike.subject for spike in spikes_found] == [STAGED, CHAT]

    def test_the_weeks_end_with_the_last_full_hour(self) -> None:
        assert WEEKS.ends_at == datetime(2026, 11, 20, 10, tzinfo=UTC)
        assert WEEKS.ends_at - WEEKS.middle == WEEKS.middle - WEEKS.starts_at == timedelta(days=7)


class TestALaunch:
    def test_explains_what_it_covers(self) -> None:
        spike = only(used(1000), used(2400), a_plan())
        assert spike.cause is Cause.LAUNCH
        assert spike.reason == "Planned: Autumn campaign (launch or campaign)."
        assert spike.also == ("More customers use it: 240 instead of 100.",)

    @pytest.mark.parametrize(
        "plan",
        [
            a_plan(project_id=2),
            a_plan(event_type_id=8),
            a_plan(environment="staging"),
            a_plan(starts=timedelta(days=-30), ends=WEEKS.middle - NOW),  # over when the seven days began
            a_plan(starts=WEEKS.ends_at - NOW),  # begins when they end
        ],
    )
    def test_explains_nothing_else(self, plan: Planned) -> None:
        assert only(used(1000), used(2400), plan).cause is Cause.GROWTH

    def test_explains_to_its_last_second(self) -> None:
        for plan in (
            a_plan(project_id=1, event_type_id=7, environment="production"),
            a_plan(starts=timedelta(days=-30), ends=WEEKS.middle - NOW + timedelta(seconds=1)),
            a_plan(starts=WEEKS.ends_at - NOW - timedelta(seconds=1)),
        ):
            assert only(used(1000), used(2400), plan).cause is Cause.LAUNCH


class TestStaging:
    def test_is_growth_where_no_customer_is_served(self) -> None:
        spike = only(used(1000), used(2400), subject=STAGED)
        assert (spike.cause, spike.reason) == (Cause.STAGING, "It is in staging, where no customer is served.")


class TestARetryLoop:
    def test_is_more_trouble_per_event(self) -> None:
        # 20 of 1,000 events were tried again: 2 of 100. Now 900 retries, 60 fallbacks and 240 errors of 2,000: 60 of 100.
        spike = only(used(1000, retries=20), used(2000, customers=100, retries=900, fallbacks=60, failed=240))
        assert spike.cause is Cause.RETRY
        assert spike.reason == "Of 100 events there are 45 retries, 3 fallbacks and 12 errors; before, 2 of all these together."

    def test_begins_at_a_fifth_more_and_twice_as_much(self) -> None:
        same = {"customers": 100}
        assert only(used(1000), used(2000, retries=399, **same)).cause is Cause.UNEXPLAINED
        assert only(used(1000), used(2000, retries=400, **same)).cause is Cause.RETRY
        # 30 of 100 before; 55 are a quarter more, but less than twice as many.
        assert only(used(1000, failed=300), used(2000, failed=1100, **same)).cause is Cause.UNEXPLAINED
        assert only(used(1000, failed=300), used(2000, failed=1200, **same)).cause is Cause.RETRY


class TestBatchWork:
    def test_is_most_of_what_was_added(self) -> None:
        spike = only(used(1000, batched=100), used(2500, customers=100, batched=1300))
        assert (spike.cause, spike.reason) == (Cause.BATCH, "Batch work grew by 1,200 events, and all events by 1,500.")

    def test_begins_at_half_of_it_or_a_fifth_of_all(self) -> None:
        # 2,000 events more, of which 1,000 in batches; before, all was batch work, so that its share went down.
        assert only(used(1000, batched=1000), used(3000, customers=100, batched=2000)).cause is Cause.BATCH
        assert only(used(1000, batched=1000), used(3000, customers=100, batched=1999)).cause is Cause.UNEXPLAINED
        # Calls alone doubled.
        twice = used(1000, requests=2000, batched=300)
        assert only(used(1000, batched=100), twice).reason == "Batch work went from 10 % to 30 % of the events."
        assert only(used(1000, batched=101), twice).cause is Cause.UNEXPLAINED

    def test_does_not_hide_a_retry_loop(self) -> None:
        spike = only(used(1000), used(2000, customers=100, batched=1000, retries=1000))
        assert spike.cause is Cause.RETRY
        assert spike.also == ("Batch work grew by 1,000 events, and all events by 1,000.",)


class TestARouteChange:
    def test_is_another_model_at_another_cost(self) -> None:
        dearer = used(1000, cost=Decimal(60), routes={"acme/m-1": 200, "acme/m-2 via eu": 800})
        spike = only(used(1000), dearer)
        assert spike.cause is Cause.ROUTE
        assert spike.reason == (
            "By model and price: acme/m-2 via eu serves 80 % of the events instead of 0 %, and an event costs 0.06 USD instead of 0.02 USD."
        )

    def test_begins_at_three_tenths_of_the_events(self) -> None:
        same = {"customers": 100}
        shift = {"acme/m-1": 1400, "acme/m-2": 600}
        assert only(used(1000), used(2000, routes=shift, **same)).cause is Cause.ROUTE
        assert only(used(1000), used(2000, routes={"acme/m-1": 1401, "acme/m-2": 599}, **same)).cause is Cause.UNEXPLAINED

    def test_begins_at_half_as_much_again_for_an_event(self) -> None:
        same = {"customers": 100}
        assert only(used(1000), used(2000, cost=Decimal(60), **same)).cause is Cause.ROUTE
        assert only(used(1000), used(2000, cost=Decimal("59.99"), **same)).cause is Cause.UNEXPLAINED
        assert "0.0133 USD instead of 0.02 USD" in only(used(1000), used(2000, cost=Decimal("26.6"), **same)).reason

    def test_explains_cost_before_growth_and_events_after_it(self) -> None:
        routes = {"acme/m-2": 1500}
        by_cost = only(used(1000), used(1500, cost=Decimal(60), routes=routes))
        assert (by_cost.doubled, by_cost.cause) == ((Measure.COST,), Cause.ROUTE)
        by_events = only(used(1000), used(2000, cost=Decimal(80), routes={"acme/m-2": 2000}))
        assert (by_events.cause, len(by_events.also)) == (Cause.GROWTH, 1)


class TestGrowth:
    def test_is_more_customers(self) -> None:
        spike = only(used(1000), used(2400))
        assert (spike.cause, spike.reason, spike.also) == (Cause.GROWTH, "More customers use it: 240 instead of 100.", ())

    def test_begins_at_half_as_many_again(self) -> None:
        assert only(used(1000), used(2000, customers=149)).cause is Cause.UNEXPLAINED
        assert only(used(1000), used(2000, customers=150)).cause is Cause.GROWTH

    def test_may_be_more_users_of_the_same_customers(self) -> None:
        spike = only(used(1000, users=40), used(2000, customers=100, users=80))
        assert spike.reason == "More users use it: 80 instead of 40."


class TestNoReason:
    def test_is_said(self) -> None:
        spike = only(used(1000), used(2550, customers=100))
        assert spike.cause is Cause.UNEXPLAINED
        assert spike.reason == "The figures show no reason: 25.5 events a customer instead of 10."

    def test_is_said_of_work_without_customers(self) -> None:
        bare = {"customers": 0}
        assert "2,000 events instead of 1,000" in only(used(1000, **bare), used(2000, **bare)).reason
        assert only(Used(), used(500, **bare)).reason == "There was none in the 7 days before, and the figures show no reason."


def test_how_much_more_is_rounded_down() -> None:
    said = [spikes.times(*counts) for counts in ((1999, 1000), (2000, 1000), (5, 5), (3, 4), (7, 0))]
    assert said == ["1.9 times", "2 times", "the same", "0.7 times", "new"]


def test_an_alert_keeps_the_figures_as_json() -> None:
    kept = dict(spikes.facts(only(used(1000), used(2400)), WEEKS))
    assert (kept["class"], kept["doubled"]) == ("growth", ["events", "requests", "cost"])
    assert kept["now"] == {
        "events": 2400, "requests": 2400, "retries": 0, "fallbacks": 0, "failed": 0, "batched": 0, "customers": 240, "users": 0,
        "costed": 2400, "cost": "48", "routes": {"acme/m-1": 2400},
    }  # fmt: skip


COUNTS = st.integers(0, 10**6)
WEEK = st.builds(
    Used,
    *([COUNTS] * 9),
    st.decimals(0, 10**6, places=12),
    st.dictionaries(st.sampled_from(["", "a/b", "c/d"]), COUNTS),
)


@given(WEEK, WEEK)
def test_any_two_weeks_are_judged_alike_and_without_failing(before: Used, now: Used) -> None:
    first = found(before, now)
    assert first == found(replace(before), replace(now))
    assert bool(first) == bool(spikes.doubled(before, now))
    for spike in first:
        assert now.events >= spikes.MINIMUM_EVENTS
        assert spike.reason
        assert dict(spikes.facts(spike, WEEKS))
