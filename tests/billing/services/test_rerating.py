"""Re-rating: in chunks, killed and gone on with, many at once; the queue of what is unpriced."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from billing.events import Caller
from billing.models import Basis, CostAdjustment, CostStatus, Rerating, UnpricedGroup, UsageRecord
from billing.queries import costs
from billing.services import charging, rerating, unpriced
from billing.services.rerating import RerateRefusedError, Scope
from config.roles import Role
from pricing.models import ProviderRate
from pricing.services import rate_changes
from pricing.units import Usage
from tests.billing.factories import NOW, a_caller, a_price, a_wallet, an_event
from tests.billing.services.rivals import at_once
from tests.people import a_person
from tests.pricing.factories import LAST_YEAR, ProviderRateFactory, RateSeriesFactory

LATER = NOW + timedelta(hours=1)
SCOPE = Scope(since=NOW - timedelta(days=40), until=LATER)
REPLY = Usage("acme", "nova-2", input_tokens=1_000, output_tokens=100)


def a_desk() -> Caller:
    caller = a_caller()
    a_price("4")
    a_wallet(caller, credits="10000")
    return caller


def report(caller: Caller, count: int, usage: Usage = REPLY, **fields: Any) -> None:
    """Report events of one a minute, the last one now."""
    events = [an_event(caller, usage=usage, occurred_at=NOW - timedelta(minutes=n), **fields) for n in range(count)]
    charging.charge(events, now=NOW)


def rates(input_price: str = "3", output_price: str | None = "15", *, since: Any = LAST_YEAR) -> ProviderRate:
    model = {"provider_model__provider": "acme", "provider_model__name": "nova-2"}
    series = RateSeriesFactory.create(**model, unit_kind="input")
    rate = ProviderRateFactory.create(series=series, price=Decimal(input_price), effective_from=since)
    if output_price is not None:
        other = RateSeriesFactory.create(provider_model=series.provider_model, unit_kind="output")
        ProviderRateFactory.create(series=other, price=Decimal(output_price), effective_from=since)
    return rate


def request(scope: Scope = SCOPE) -> Rerating:
    return rerating.request(scope=scope, reason="Rates added", actor="user:vera", now=LATER)


def run(row: Rerating) -> Rerating:
    return rerating.run(rerating_id=row.pk, clock=lambda: LATER)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rerating, "CHUNK", 7)


@pytest.mark.django_db
class TestRun:
    @pytest.mark.parametrize("basis", [Basis.UNPRICED, Basis.ALL])
    @pytest.mark.usefixtures("small_chunks")
    def test_finds_every_record_once_in_any_number_of_chunks(self, basis: Basis) -> None:
        caller = a_desk()
        report(caller, 30)
        charging.charge([an_event(caller, usage=REPLY, occurred_at=NOW - timedelta(days=n)) for n in (3, 20, 35)], now=NOW)
        charging.charge([an_event(caller, usage=REPLY, occurred_at=NOW) for _ in range(20)], now=NOW)  # all at one moment
        rates()
        row = run(request(Scope(SCOPE.since, SCOPE.until, basis)))
        assert (row.examined, row.adjusted, row.still_unpriced) == (53, 53, 0)
        assert Decimal(row.by_model[0]["after"]) == 53 * Decimal("0.0045")

    def test_finds_what_a_rate_costed_that_was_corrected_in_parts(self) -> None:
        """The first correction left the earlier part as it was, so its records still name the rate before it."""
        caller, vera = a_desk(), a_person()
        wrong = rates()
        report(caller, 1)
        first, _ = rate_changes.correct(
            rate=wrong, price=Decimal(4), per=wrong.per, since=LATER, source="invoice", reason="Dearer since", actor=vera, now=NOW
        )
        [second] = rate_changes.correct(
            rate=first, price=Decimal(6), per=wrong.per, source="invoice", reason="Wrong as well", actor=vera, now=NOW
        )
        row = run(request(Scope(SCOPE.since, SCOPE.until, Basis.RATES, rate_ids=(first.pk,))))
        assert (row.examined, row.adjusted) == (1, 1)
        assert str(second.pk) in {line["rate_id"] for line in CostAdjustment.objects.get().lines}

    def test_looks_only_at_its_scope(self) -> None:
        caller = a_desk()
        report(caller, 3)
        report(caller, 2, REPLY._replace(model="nova-3"))
        rates()
        assert run(request(Scope(SCOPE.since, SCOPE.until, model="nova-3"))).examined == 2
        assert run(request(Scope(NOW, SCOPE.until, model="nova-2"))).examined == 1
        assert run(request(Scope(SCOPE.since, NOW, provider="acme", model="nova-2"))).examined == 2
        assert run(request(Scope(SCOPE.since, SCOPE.until, provider="other"))).examined == 0

    def test_says_why_the_rest_is_still_unpriced(self) -> None:
        caller = a_desk()
        report(caller, 2)
        report(caller, 3, REPLY._replace(model="nova-9"))
        rates(output_price=None)
        row = run(request())
        why = {found["model"]: found["why"] for found in row.by_model}
        assert why == {"nova-2": {"no_rate_for_unit": 2}, "nova-9": {"unknown_model": 3}}
        assert (row.adjusted, row.still_unpriced) == (0, 5)

    def test_keeps_a_page_of_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rerating, "_MOST_MODELS", 2)
        caller = a_desk()
        for number in range(4):
            report(caller, 1, REPLY._replace(model=f"made-up-{number}"))
        row = run(request())
        assert {found["model"]: found["records"] for found in row.by_model} == {"made-up-0": 1, "made-up-1": 1, "other models": 2}

    def test_never_counts_a_cached_token_twice(self) -> None:
        caller = a_desk()
        usage = Usage("acme", "nova-2", input_tokens=1_000, cache_read_tokens=900, cache_write_tokens=100, output_tokens=0)
        report(caller, 1, usage)
        rates()
        run(request())
        adjustment = CostAdjustment.objects.get()
        assert adjustment.amount == Decimal("0.003")
        assert {line["unit"]: line["quantity"] for line in adjustment.lines} == {"cache_read": "900", "cache_write": "100"}

    def test_leaves_a_miscounted_record_for_people(self) -> None:
        caller = a_desk()
        report(caller, 1)
        record = UsageRecord.objects.get()
        record.pk, record.cache_read_tokens = record.pk + 1, 2_000
        record.save(force_insert=True)
        rates()
        row = run(request())
        assert row.by_model[0]["why"] == {"miscounted": 1}
        assert row.adjusted == 1

    def test_is_the_difference_in_one_currency_only(self) -> None:
        caller = a_desk()
        report(caller, 1)
        rates()
        run(request())
        ProviderRate.objects.update(effective_to=NOW - timedelta(days=1))
        for series in {rate.series for rate in ProviderRate.objects.all()}:
            ProviderRateFactory.create(series=series, currency="EUR", effective_from=NOW - timedelta(days=1))
        row = run(request(Scope(SCOPE.since, SCOPE.until, Basis.ALL)))
        assert (row.adjusted, row.kept) == (0, 1)
        assert row.by_model[0]["why_kept"] == {"several_currencies": 1}


@pytest.mark.django_db
class TestBegin:
    def chunks(self, row: Rerating) -> int:
        told: list[Rerating] = []
        rerating.run(rerating_id=row.pk, clock=lambda: LATER, told=told.append)
        return len(told)

    def test_a_run_by_rate_begins_where_usage_does(self) -> None:
        """The rate holds for six years, and usage began this month."""
        rate = rates(since=LATER - timedelta(days=6 * 365))
        report(a_desk(), 3)
        row = request(Scope(rate.effective_from, LATER, Basis.RATES, rate_ids=(rate.pk,)))
        assert row.since == rate.effective_from
        assert row.position_at.month == NOW.month
        assert self.chunks(row) <= 32
        row.refresh_from_db()
        assert row.examined == 3

    def test_nothing_before_the_rate_is_looked_at(self) -> None:
        report(a_desk(), 3)
        rate = rates(since=NOW - timedelta(minutes=1))
        report(a_caller(), 2, customer=None)
        row = request(Scope(SCOPE.since, LATER, Basis.RATES, rate_ids=(rate.pk,)))
        assert row.position_at == rate.effective_from
        assert run(row).examined == 2

    def test_finds_what_was_reported_late(self) -> None:
        rate = rates(since=NOW - timedelta(days=400))
        caller = a_desk()
        charging.charge([an_event(caller, usage=REPLY, customer=None, occurred_at=NOW - timedelta(days=n)) for n in (390, 40, 0)], now=NOW)
        assert run(request(Scope(rate.effective_from, LATER, Basis.RATES, rate_ids=(rate.pk,)))).examined == 3

    def test_of_no_usage_there_is_nothing_to_walk_through(self) -> None:
        rate = rates(since=LATER - timedelta(days=6 * 365))
        assert self.chunks(request(Scope(rate.effective_from, LATER, Basis.RATES, rate_ids=(rate.pk,)))) <= 32


class Killed(BaseException):
    """What nothing in the program catches, as a kill."""


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("small_chunks")
class TestKilled:
    @pytest.mark.parametrize("chunk", [1, 3])
    def test_goes_on_and_writes_nothing_twice(self, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
        report(a_desk(), 30)
        rates()
        row = request()
        counted, chunks = rerating._count, iter(range(1, 100))

        def dies(*args: Any) -> None:
            counted(*args)
            if next(chunks) == chunk:
                raise Killed

        monkeypatch.setattr(rerating, "_count", dies)
        with pytest.raises(Killed):
            run(row)
        assert CostAdjustment.objects.count() == 7 * (chunk - 1)
        monkeypatch.setattr(rerating, "_count", counted)
        row = run(row)
        assert (row.examined, row.adjusted) == (30, 30)
        assert CostAdjustment.objects.count() == 30

    def test_two_workers_share_a_run_and_two_runs_share_the_records(self) -> None:
        report(a_desk(), 60)
        rates()
        one, other = request(), request()
        done = at_once([lambda: run(one), lambda: run(one), lambda: run(other), lambda: run(other)])
        assert not [found for found in done if isinstance(found, Exception)]
        assert CostAdjustment.objects.count() == 60
        assert Rerating.objects.get(pk=one.pk).adjusted + Rerating.objects.get(pk=other.pk).adjusted == 60
        known = costs.with_known_costs(UsageRecord.objects.all())
        assert {(record.known_status, record.known_cost) for record in known} == {("priced", Decimal("0.0045"))}


@pytest.mark.django_db
class TestRequest:
    @pytest.mark.parametrize(
        ("scope", "reason", "words"),
        [
            (Scope(NOW, NOW), "x", "before it begins"),
            (Scope(NOW, LATER + timedelta(seconds=1)), "x", "in the future"),
            (SCOPE, "  ", "Say why"),
            (Scope(SCOPE.since, LATER, Basis.RATES), "x", "Name the rates"),
            (Scope(SCOPE.since, LATER, rate_ids=(1,)), "x", "only then"),
        ],
    )
    def test_refuses_what_makes_no_sense(self, scope: Scope, reason: str, words: str) -> None:
        with pytest.raises(RerateRefusedError, match=words):
            rerating.request(scope=scope, reason=reason, actor="user:vera", now=LATER)
        assert not Rerating.objects.exists()


@pytest.mark.django_db
class TestPreview:
    def test_is_exact_where_it_is_small_and_writes_nothing(self) -> None:
        report(a_desk(), 5)
        rates()
        found = rerating.preview(scope=SCOPE)
        assert found.is_exact
        assert (found.records, found.newly_priced, found.adjusted, found.unpriced) == (5, 5, 5, 0)
        assert found.differences == {"USD": 5 * Decimal("0.0045")}
        assert not CostAdjustment.objects.exists()
        run(request())
        assert rerating.preview(scope=SCOPE).records == 0

    def test_estimates_from_a_sample_over_the_period(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rerating, "_EXACT", 25)
        report(a_desk(), 60)
        rates()
        found = rerating.preview(scope=Scope(NOW - timedelta(hours=1), LATER))
        assert not found.is_exact
        assert (found.records, found.adjusted) == (60, 60)
        assert found.looked_at < 60
        assert round(found.differences["USD"], 9) == 60 * Decimal("0.0045")


@pytest.mark.django_db
class TestKnownCosts:
    def test_are_those_of_the_charge_where_nothing_was_re_rated(self) -> None:
        report(a_desk(), 1)
        [record] = costs.with_known_costs(UsageRecord.objects.all())
        assert (record.known_status, record.known_cost) == ("unpriced", None)
        assert costs.unpriced(UsageRecord.objects.all()).count() == 1

    def test_settle_what_was_unpriced(self) -> None:
        caller = a_desk()
        report(caller, 2)
        report(caller, 1, REPLY._replace(model="nova-9"))
        rates()
        run(request())
        records = UsageRecord.objects.all()
        assert [record.model for record in costs.unpriced(records)] == ["nova-9"]
        assert {record.model for record in costs.of_status(records, CostStatus.PRICED)} == {"nova-2"}


@pytest.mark.django_db
class TestTheQueue:
    @pytest.fixture
    def groups(self) -> dict[tuple[str, str, str, bool], UnpricedGroup]:
        caller = a_desk()
        report(caller, 3)
        report(caller, 2, REPLY._replace(cache_read_tokens=500), customer=None)
        report(caller, 1, REPLY._replace(model=""))
        rates("3", None)
        report(caller, 4)
        unpriced.count(now=LATER)
        return {(group.model, group.missing, group.service_tier, group.is_batch): group for group in UnpricedGroup.objects.all()}

    def test_sorts_records_by_model_and_by_what_had_no_rate(self, groups: dict[Any, UnpricedGroup]) -> None:
        counts = {(model, missing): group.records for (model, missing, *_), group in groups.items()}
        assert counts == {("nova-2", ""): 5, ("", ""): 1, ("nova-2", "output"): 4}

    def test_tells_what_they_come_to(self, groups: dict[Any, UnpricedGroup]) -> None:
        group = groups["nova-2", "", "", False]
        assert (group.customers, group.credits) == (1, 12)
        assert group.units == ["input", "cache_read", "output"]
        assert (group.first_seen_at, group.last_seen_at) == (NOW - timedelta(minutes=2), NOW)

    def test_says_why_by_the_catalogue_of_this_moment(self, groups: dict[Any, UnpricedGroup]) -> None:
        found = unpriced.reasons(list(groups.values()))
        assert found[groups["nova-2", "", "", False].pk].sentences == ("There is no rate for output.",)
        assert found[groups["", "", "", False].pk].sentences == ("The app did not say which model served it.",)
        series = RateSeriesFactory.create(provider_model=ProviderRate.objects.get().series.provider_model, unit_kind="output")
        ProviderRateFactory.create(series=series)
        again = unpriced.reasons(list(groups.values()))
        assert again[groups["nova-2", "output", "", False].pk].is_ready

    def test_keeps_a_settled_group_with_its_owner(self, groups: dict[Any, UnpricedGroup]) -> None:
        vera = a_person(Role.FINANCE)
        group = groups["nova-2", "output", "", False]
        unpriced.assign(group=group, owner=vera, note="Asked the provider", reason="Mine")
        series = RateSeriesFactory.create(provider_model=ProviderRate.objects.get().series.provider_model, unit_kind="output")
        ProviderRateFactory.create(series=series)
        run(request())
        unpriced.count(now=LATER + timedelta(minutes=1))
        group.refresh_from_db()
        assert (group.records, group.owner, group.note) == (0, vera, "Asked the provider")
        assert group.history.latest().history_change_reason == "Mine"
        assert list(UnpricedGroup.objects.filter(records__gt=0).values_list("model", flat=True)) == [""]

    def test_is_given_to_people_who_may_see_it(self, groups: dict[Any, UnpricedGroup]) -> None:
        nobody: User = a_person()
        with pytest.raises(unpriced.UnknownOwnerError, match="may not see"):
            unpriced.assign(group=next(iter(groups.values())), owner=nobody, note="", reason="x")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("small_chunks")
class TestTheWorker:
    def test_finishes_what_was_requested_and_leaves_it_to_one(self) -> None:
        report(a_desk(), 60)
        rates()
        for _ in range(2):
            request()
        done = at_once([lambda: rerating.run_waiting(clock=lambda: LATER) for _ in range(3)])
        assert sum(found for found in done if isinstance(found, int)) == 2
        assert not Rerating.objects.filter(finished_at=None).exists()
        assert CostAdjustment.objects.count() == 60
        assert rerating.run_waiting(clock=lambda: LATER) == 0

    def test_two_workers_never_work_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The second comes while the first is in the middle of a chunk, and leaves."""
        report(a_desk(), 30)
        rates()
        request()
        counted, second = rerating._count, list[Any]()

        def meets_another(*args: Any) -> None:
            counted(*args)
            second.extend(at_once([lambda: rerating.run_waiting(clock=lambda: LATER)]))

        monkeypatch.setattr(rerating, "_count", meets_another)
        assert rerating.run_waiting(clock=lambda: LATER) == 1
        assert second == [0] * 5
        assert CostAdjustment.objects.count() == 30

    def test_holds_nothing_between_two_chunks(self) -> None:
        """A pooler may hand the session to somebody else then, and a lock of the session would stay behind in it."""
        report(a_desk(), 30)
        rates()
        request()
        held: list[int] = []

        def looks() -> datetime:
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
                held.append(cursor.fetchone()[0])
            return LATER

        assert rerating.run_waiting(clock=looks) == 1
        assert len(held) > 4
        assert set(held) == {0}

    def test_the_run_of_a_worker_that_was_killed_is_taken_up_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        report(a_desk(), 30)
        rates()
        row = request()
        counted, chunks = rerating._count, iter(range(1, 100))

        def loses_its_server(*args: Any) -> None:
            counted(*args)
            if next(chunks) == 3:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        monkeypatch.setattr(rerating, "_count", loses_its_server)
        assert at_once([lambda: rerating.run_waiting(clock=lambda: LATER)]) == [0]
        row.refresh_from_db()
        assert (row.finished_at, row.examined, CostAdjustment.objects.count()) == (None, 14, 14)
        monkeypatch.setattr(rerating, "_count", counted)
        assert rerating.run_waiting(clock=lambda: LATER) == 1
        row.refresh_from_db()
        assert (row.examined, row.adjusted, CostAdjustment.objects.count()) == (30, 30, 30)
