"""Evidence by hand: a handful of actions whose figures fit on a slip of paper."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection

from billing.events import Caller, Outcome, Route
from billing.models import Basis, Environment
from billing.services import ledger, refunds, rerating
from billing.services.rerating import Scope
from pricing.advisor.evidence import REPORTED, Consumed, Evidence
from pricing.models import PriceRule, ProviderRate, Segment, Workspace
from pricing.queries import workspace
from pricing.units import Usage
from reports.queries import recorded_usage
from reports.queries.advisor_evidence import NoPriceInForceError, evidence_for
from reports.queries.recorded_usage import TooMuchUsageError
from tests.billing.factories import NOW, a_caller, a_deposit, a_price, a_wallet
from tests.pricing.factories import ProviderModelFactory, ProviderRateFactory, RateSeriesFactory
from tests.reports.usage import LARGE, SMALL, act, tokens, two_models

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
FIRST = datetime(2026, 11, 13, tzinfo=UTC)  # the current window: seven days up to yesterday
LAST_WEEK = FIRST - 7 * DAY


@pytest.fixture
def caller() -> Caller:
    two_models()
    a_price("4")
    Workspace.objects.update_or_create(pk=1, defaults={"advisor_window_days": 7})
    return a_caller()


@pytest.fixture
def rule(caller: Caller) -> PriceRule:
    return PriceRule.objects.get(segment=Segment.DEFAULT)


def events(rule: PriceRule, *, now: datetime = NOW) -> tuple[int | None, int]:
    found = evidence_for(rule, now=now)
    return found.baseline.events if found.baseline else None, found.current.events


class TestWorkedExample:
    """Six credits were given and are worth nothing; a hundred were bought for a cent each."""

    @pytest.fixture
    def found(self, caller: Caller, rule: PriceRule) -> Evidence:
        wallet = a_wallet(caller, now=LAST_WEEK - DAY)
        ledger.grant(wallet_id=wallet.pk, credits=Decimal(6), reason="Welcome", actor="user:ann", now=LAST_WEEK)
        a_deposit(wallet, "100", amount="1.00", now=LAST_WEEK)
        act(caller, FIRST, usage=tokens(LARGE, 1000, 200))  # costs 0.006, paid by 4 that were given
        act(caller, FIRST + DAY, usage=tokens(LARGE, 2000, 100))  # costs 0.0075, paid by 2 given and 2 bought
        retried = act(
            caller,
            FIRST + 2 * DAY,
            usage=tokens(SMALL, 1000, 1000, requests=3),  # costs 0.006
            route=Route(retries=2, fallbacks=1),
            outcome=Outcome("error", 500, accepted=False),
        )
        act(caller, FIRST + 3 * DAY, usage=tokens("claude-unheard-of", 10, 10), outcome=Outcome("error"), route=Route(retries=9))
        act(caller, FIRST + 4 * DAY, usage=Usage("blackforest", "flux", images=1, requests=0), provider_cost=Decimal("0.02"))
        refunds.refund_event(caller=caller, record_id=retried.record_id, credits=Decimal(3), reason="No reply", now=NOW - DAY)
        return evidence_for(rule, now=NOW)

    def test_counts_and_sums(self, found: Evidence) -> None:
        window = found.current
        assert (window.events, window.unpriced, window.failed, window.retries, window.fallbacks) == (5, 1, 1, 2, 1)
        assert window.credits == 4 + 4 + (4 - 3) + 4
        assert window.value == Decimal("0.02") + Decimal("0.01") + Decimal("0.04")
        assert window.cost == Decimal("0.006") + Decimal("0.0075") + Decimal("0.006") + Decimal("0.02")
        assert (window.cost_p50, window.cost_p95) == (Decimal("0.006"), Decimal("0.02"))

    def test_tells_what_each_model_consumed(self, found: Evidence) -> None:
        large, small, flux = found.current.models
        assert (large.model, large.service_tier, large.requests) == (LARGE, "standard", 2)
        assert large.units == {
            "input": Consumed(Decimal(3000), Decimal("0.009")),
            "output": Consumed(Decimal(300), Decimal("0.0045")),
        }
        assert (small.model, small.requests) == (SMALL, 3)
        assert (flux.provider, flux.requests, flux.units) == ("blackforest", 1, {REPORTED: Consumed(Decimal(1), Decimal("0.02"))})

    def test_names_what_it_stands_on(self, found: Evidence, rule: PriceRule) -> None:
        assert (found.rule, found.version, found.currency, found.as_of) == ("chat.reply/default", 1, "USD", FIRST + 7 * DAY)
        assert found.price_version_ids == (rule.versions.get().pk,)
        assert len(found.rate_ids) == 4
        assert found.definition["credits_per_event"] == "4"
        assert found.last_change_at is None

    def test_is_the_same_bytes_all_day_and_survives_storage(self, found: Evidence, rule: PriceRule) -> None:
        assert evidence_for(rule, now=NOW + timedelta(hours=13)).hash == found.hash
        assert Evidence.from_json(json.loads(json.dumps(found.as_json()))) == found

    def test_is_what_was_known_then(self, rule: PriceRule, found: Evidence) -> None:
        before_the_refund = evidence_for(rule, now=NOW - DAY)
        assert before_the_refund.current.credits == found.current.credits + 3
        assert before_the_refund.current.value == found.current.value + Decimal("0.03")


class TestRerating:
    """A model without rates gets them later: what it cost is known from then on."""

    def test_is_followed_from_when_it_was_done(self, caller: Caller, rule: PriceRule) -> None:
        a_wallet(caller, credits="100", now=LAST_WEEK)
        act(caller, FIRST, usage=tokens("late-model", 1000, 0))
        before = evidence_for(rule, now=NOW)
        series = RateSeriesFactory.create(provider_model=ProviderModelFactory.create(name="late-model"), unit_kind="input")
        rate = ProviderRateFactory.create(series=series, price=Decimal(2))
        asked = rerating.request(scope=Scope(LAST_WEEK, NOW), reason="Rates added", actor="user:vera", now=NOW)
        rerating.run(rerating_id=asked.pk, clock=lambda: NOW)
        current = evidence_for(rule, now=NOW + timedelta(minutes=1)).current
        assert (before.current.events, before.current.unpriced) == (1, 1)
        assert (current.events, current.unpriced, current.cost, current.credits) == (1, 0, Decimal("0.002"), 4)
        assert current.models[0].units == {"input": Consumed(Decimal(1000), Decimal("0.002"))}
        assert evidence_for(rule, now=NOW + timedelta(minutes=1)).rate_ids == (rate.pk,)
        assert evidence_for(rule, now=NOW) == before

    def test_moves_a_known_cost(self, caller: Caller, rule: PriceRule) -> None:
        a_wallet(caller, credits="100", now=LAST_WEEK)
        act(caller, FIRST, usage=tokens(LARGE, 1000, 0))
        old = ProviderRate.objects.get(series__provider_model__name=LARGE, series__unit_kind="input")
        ProviderRate.objects.filter(pk=old.pk).update(effective_to=FIRST - DAY)
        ProviderRateFactory.create(series=old.series, price=Decimal(2), effective_from=FIRST - DAY)
        asked = rerating.request(scope=Scope(LAST_WEEK, NOW, Basis.ALL), reason="Wrong rate", actor="user:vera", now=NOW)
        rerating.run(rerating_id=asked.pk, clock=lambda: NOW)
        assert evidence_for(rule, now=NOW).current.cost == Decimal("0.003")
        assert evidence_for(rule, now=NOW + timedelta(minutes=1)).current.cost == Decimal("0.002")


class TestWindows:
    def test_begin_at_midnight_of_the_workspace(self, caller: Caller, rule: PriceRule) -> None:
        a_wallet(caller, credits="1000", now=LAST_WEEK - 2 * DAY)
        late = timedelta(minutes=30)
        act(caller, LAST_WEEK - late)  # of the baseline only in Vienna
        act(caller, FIRST - late)  # of the baseline here, of the current window in Vienna
        act(caller, FIRST + 7 * DAY - late)  # of the current window here, of today in Vienna
        assert events(rule) == (1, 1)
        Workspace.objects.update(time_zone="Europe/Vienna")
        assert events(rule) == (1, 1)
        current = evidence_for(rule, now=NOW).current
        assert (current.start, current.end) == (FIRST - timedelta(hours=1), FIRST + 7 * DAY - timedelta(hours=1))

    def test_keep_whole_days_where_clocks_change(self, caller: Caller, rule: PriceRule) -> None:
        Workspace.objects.update(time_zone="Europe/Vienna")
        current = evidence_for(rule, now=datetime(2026, 10, 27, 12, tzinfo=UTC)).current
        assert current.end - current.start == 7 * DAY + timedelta(hours=1)

    def test_compare_with_the_first_days_of_the_version(self, caller: Caller, rule: PriceRule) -> None:
        starts = FIRST - 30 * DAY
        a_price("5", effective_from=starts, now=starts - DAY)
        a_wallet(caller, credits="1000", now=starts - 2 * DAY)
        for at in (starts - timedelta(seconds=1), starts, starts + 6 * DAY, starts + 7 * DAY, FIRST - DAY, FIRST):
            act(caller, at)
        found = evidence_for(rule, now=NOW)
        assert found.baseline
        assert (found.baseline.events, found.baseline.credits, found.current.events) == (2, 10, 1)
        assert found.last_change_at == starts
        assert found.notes[1] == "Baseline: the first days of version 2, 2026-10-14 to 2026-10-20."

    def test_compare_with_the_days_before_where_the_first_ones_are_not_over(self, caller: Caller, rule: PriceRule) -> None:
        a_price("5", effective_from=FIRST - 3 * DAY, now=LAST_WEEK - DAY)
        a_wallet(caller, credits="1000", now=LAST_WEEK - DAY)
        for day in range(-7, 7):
            act(caller, FIRST + day * DAY)
        found = evidence_for(rule, now=NOW)
        assert found.baseline
        assert (found.baseline.start, found.baseline.events, found.current.events) == (LAST_WEEK, 7, 7)

    def test_compare_with_the_days_before_where_the_version_has_no_early_usage(self, caller: Caller, rule: PriceRule) -> None:
        a_wallet(caller, credits="1000", now=LAST_WEEK - DAY)
        act(caller, LAST_WEEK)
        assert events(rule) == (1, 0)
        assert "just before the current window, 2026-11-06 to 2026-11-12" in evidence_for(rule, now=NOW).notes[1]

    def test_hold_no_day_of_the_price_before(self, caller: Caller, rule: PriceRule) -> None:
        changes = FIRST + 4 * DAY + timedelta(hours=9)
        a_price("5", effective_from=changes, now=FIRST)
        a_wallet(caller, credits="1000", now=LAST_WEEK)
        for day in range(-3, 7):
            act(caller, FIRST + day * DAY + timedelta(hours=12))
        found = evidence_for(rule, now=NOW)
        assert found.current.start == FIRST + 5 * DAY
        assert (found.current.events, found.current.credits) == (2, 10)
        assert found.baseline
        assert (found.baseline.start, found.baseline.events) == (FIRST - 2 * DAY, 7)
        assert "all whole days of version 2 so far" in found.notes[0]

    def test_of_a_price_of_today_is_empty(self, caller: Caller, rule: PriceRule) -> None:
        a_price("5", effective_from=NOW - timedelta(hours=1), now=NOW - DAY)
        found = evidence_for(rule, now=NOW)
        assert found.current.start == found.current.end == FIRST + 7 * DAY
        assert (found.baseline, found.current.events) == (None, 0)
        assert "not been in force for a whole day" in found.notes[0]


class TestScope:
    def test_is_one_rule(self, caller: Caller, rule: PriceRule) -> None:
        a_price("3", segment=Segment.PLAN, segment_key="pro")
        a_price("9", event="image.generate")
        a_wallet(caller, credits="100", now=LAST_WEEK)
        a_wallet(caller, "pro_1", credits="100", plan="pro", now=LAST_WEEK)
        act(caller, FIRST)
        act(caller, FIRST, customer="pro_1")
        act(caller, FIRST, event="image.generate")
        act(caller, FIRST, customer=None)
        assert evidence_for(rule, now=NOW).current.credits == 4
        assert events(PriceRule.objects.get(segment=Segment.PLAN)) == (None, 1)

    def test_is_production_but_for_a_customer_of_another_environment(self, caller: Caller, rule: PriceRule) -> None:
        staging = a_caller(environment=Environment.STAGING)
        for name in ("tester", "vip"):
            a_wallet(staging, name, credits="100", now=LAST_WEEK)
        a_price("1", segment=Segment.CUSTOMER, segment_key=f"{staging.project_key}/vip@staging")
        act(staging, FIRST, customer="tester")
        act(staging, FIRST, customer="vip")
        assert events(rule) == (None, 0)
        assert events(PriceRule.objects.get(segment=Segment.CUSTOMER)) == (None, 1)

    def test_takes_a_cost_in_another_currency_for_unknown(self, caller: Caller, rule: PriceRule) -> None:
        a_wallet(caller, credits="100", now=LAST_WEEK)
        abroad = RateSeriesFactory.create(
            provider_model=ProviderModelFactory.create(provider="anthropic", name="abroad"), unit_kind="input"
        )
        ProviderRateFactory.create(series=abroad, price=Decimal(3), currency="EUR")
        act(caller, FIRST, usage=tokens("abroad", 1000, 0))
        act(caller, FIRST, provider_cost=Decimal("0.02"))
        current = evidence_for(rule, now=NOW).current
        assert (current.events, current.unpriced, current.cost, current.credits) == (2, 1, Decimal("0.02"), 4)

    def test_needs_a_price_in_force(self, rule: PriceRule) -> None:
        with pytest.raises(NoPriceInForceError, match="publish one"):
            evidence_for(rule, now=datetime(2024, 1, 1, tzinfo=UTC))


class TestPatience:
    def test_ends_in_a_refusal_and_leaves_the_connection_usable(self) -> None:
        with pytest.raises(TooMuchUsageError, match="fewer days"), recorded_usage.reading("50ms"), connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(1)")
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("5s",)


def test_the_policy_is_the_workspaces() -> None:
    Workspace.objects.update_or_create(pk=1, defaults={"target_margin": Decimal("0.55"), "advisor_max_step": Decimal("0.1")})
    policy = workspace.policy(workspace.load())
    assert (policy.target_margin, policy.max_step, policy.minimum_events) == (Decimal("0.55"), Decimal("0.1"), 200)
