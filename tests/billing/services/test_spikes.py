"""Spikes found in the records, told once, and over by themselves."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from billing import tasks
from billing.models import Alert, AlertState, CostAdjustment, Environment, Launch, Project, Rerating, UsageRecord
from billing.queries import spikes as figures
from billing.services import spikes
from billing.spikes import Subject, last_two_weeks
from pricing.models import EventType
from tests.billing.factories import ProjectFactory, a_caller, a_wallet
from tests.billing.services.rivals import at_once
from tests.billing.spiking import usage

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 20, 10, 40, tzinfo=UTC)  # a Friday
BEFORE, LATELY = NOW - timedelta(days=13), NOW - timedelta(days=2)


@pytest.fixture
def project() -> Project:
    """A project that was in use two weeks ago, and has made 60 replies in the seven days before the last."""
    made: Project = ProjectFactory.create(name="Support bot")
    usage(made, 55, BEFORE)
    usage(made, 5, NOW - timedelta(days=9))
    return made


def states() -> list[str]:
    return list(Alert.objects.order_by("pk").values_list("state", flat=True))


def a_launch(**fields: object) -> Launch:
    facts = {"name": "Autumn campaign", "starts_at": NOW - timedelta(days=3), "ends_at": NOW + timedelta(days=3)}
    return Launch.objects.create(**(facts | fields))


class TestTheFigures:
    def test_are_those_of_the_records(self, project: Project) -> None:
        caller = a_caller(project)
        first, second = (a_wallet(caller, name).customer for name in ("first", "second"))
        usage(project, 3, LATELY, customer=first, user="ann", requests=2, retries=1, fallbacks=1)
        usage(project, 2, LATELY, customer=first, user="bob", model="m-2", final_route="eu", status="error")
        usage(project, 1, LATELY, customer=second, status_code=503, is_batch=True)
        usage(project, 1, LATELY, batch_job_id="job", is_accepted=False)
        usage(project, 93, LATELY, cost_status="unpriced", cost_amount=None, cost_currency="")
        usage(project, 4, LATELY, environment=Environment.STAGING)
        usage(project, 5, NOW - timedelta(minutes=30))  # in the hour that is not over
        usage(project, 5, NOW - timedelta(days=15))
        found = figures.used_in(last_two_weeks(NOW), "USD")
        event = EventType.objects.get().pk
        before, now = found.used[Subject(project.pk, "production", event)]
        assert (before.events, before.cost, before.routes) == (60, Decimal("1.2"), {"acme/m-1": 60})
        assert (now.events, now.requests, now.retries, now.fallbacks) == (100, 103, 3, 3)
        assert (now.failed, now.batched, now.customers, now.users) == (4, 2, 2, 2)
        assert (now.costed, now.cost) == (7, Decimal("0.14"))
        assert now.routes == {"acme/m-1": 98, "acme/m-2 via eu": 2}
        staged = found.used[Subject(project.pk, "staging", event)]
        assert [week.events for week in staged] == [0, 4]
        assert staged[1].routes == {}, "what is too small for a spike needs no routes"
        assert found.since == {project.pk: BEFORE}

    def test_know_what_a_rerating_found_and_no_foreign_money(self, project: Project) -> None:
        usage(project, 1, LATELY, cost_status="unpriced", cost_amount=None, cost_currency="")
        usage(project, 1, LATELY, cost_amount=Decimal(9), cost_currency="EUR")
        record = UsageRecord.objects.get(cost_status="unpriced")
        period = {"since": BEFORE, "until": NOW, "position_at": BEFORE, "requested_at": NOW}
        run = Rerating.objects.create(basis="unpriced", reason="Rates added", actor="user:vera", **period)
        found = {"status_before": "unpriced", "status_after": "priced", "amount": Decimal(3), "amount_after": Decimal(3), "currency": "USD"}
        line = {"unit": "input", "quantity": "1000000", "rate_id": "1", "price": "3", "per": "1000000", "amount": "3"}
        CostAdjustment.objects.create(
            rerating=run, usage_record_id=record.pk, occurred_at=record.occurred_at, number=1, lines=[line], recorded_at=NOW, **found
        )
        [(_, now)] = figures.used_in(last_two_weeks(NOW), "USD").used.values()
        assert (now.costed, now.cost) == (1, Decimal(3))

    def test_are_none_on_an_empty_desk(self) -> None:
        found = figures.used_in(last_two_weeks(NOW), "USD")
        assert (found.used, found.since) == ({}, {})
        assert spikes.look(now=NOW) == (0, 0)

    def test_are_read_by_the_time_index(self, project: Project) -> None:
        """Partitions of other months are not read at all."""
        usage(project, 5, NOW - timedelta(days=100))
        weeks = last_two_weeks(NOW)
        with connection.cursor() as cursor:
            values: dict[str, Any] = {
                "start": weeks.starts_at,
                "middle": weeks.middle,
                "end": weeks.ends_at,
                "currency": "USD",
                "minimum": 100,
            }
            cursor.execute(f"EXPLAIN {figures._USED}", values)
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "2026_08" not in plan.replace("y2026m08", "2026_08")


class TestASpike:
    def test_is_told_once(self, project: Project) -> None:
        usage(project, 150, LATELY)
        assert spikes.look(now=NOW) == (1, 0)
        assert spikes.look(now=NOW + timedelta(hours=1)) == (0, 0)
        alert = Alert.objects.get()
        assert alert.cause == f"spike:{project.pk}:production:{EventType.objects.get().pk}:2026-W47"
        assert (alert.project, alert.facts["event"], alert.facts["class"]) == (project, "chat.reply", "unexplained")
        assert (alert.facts["before"]["events"], alert.facts["now"]["events"]) == (60, 150)

    def test_is_over_when_usage_is_down_again(self, project: Project) -> None:
        usage(project, 150, LATELY)
        spikes.look(now=NOW)
        assert spikes.look(now=NOW + timedelta(days=6)) == (0, 1)
        alert = Alert.objects.get()
        assert (alert.state, alert.resolved_by) == (AlertState.RESOLVED, None)

    def test_that_comes_back_in_its_week_is_not_told_again(self, project: Project) -> None:
        usage(project, 150, LATELY)
        spikes.look(now=NOW)
        Alert.objects.update(state=AlertState.RESOLVED, resolved_at=NOW)
        assert spikes.look(now=NOW + timedelta(hours=2)) == (0, 0)
        assert states() == ["resolved"]

    def test_that_lasts_into_the_next_week_is_the_same(self, project: Project) -> None:
        usage(project, 150, LATELY)
        spikes.look(now=NOW)
        assert spikes.look(now=NOW + timedelta(days=3)) == (0, 0)  # Monday
        assert states() == ["open"]

    def test_of_the_next_week_is_another(self, project: Project) -> None:
        usage(project, 150, LATELY)
        spikes.look(now=NOW)
        Alert.objects.update(state=AlertState.RESOLVED, resolved_at=NOW)
        assert spikes.look(now=NOW + timedelta(days=3)) == (1, 0)
        assert states() == ["resolved", "open"]

    def test_is_told_per_environment_and_action(self, project: Project) -> None:
        usage(project, 150, LATELY)
        usage(project, 150, LATELY, event="image.make")
        usage(project, 150, LATELY, environment=Environment.STAGING)
        assert spikes.look(now=NOW) == (3, 0)
        told = {(alert.facts["event"], alert.facts["environment"]): alert.facts["class"] for alert in Alert.objects.all()}
        assert told == {
            ("chat.reply", "production"): "unexplained",
            ("image.make", "production"): "unexplained",
            ("chat.reply", "staging"): "staging",
        }


def test_a_desk_too_large_to_read_in_time_says_so_and_ends_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage(project, 150, LATELY)
    spikes.look(now=NOW)
    monkeypatch.setattr(figures, "PATIENCE", "1ms")
    monkeypatch.setattr(figures, "_USED", "SELECT pg_sleep(5)")
    tasks.find_spikes()
    assert "spikes were not looked for: reading two weeks of usage took longer than 1ms" in caplog.text
    assert states() == ["open"]


class TestALaunch:
    def test_keeps_what_it_explains_quiet(self, project: Project) -> None:
        usage(project, 150, LATELY)
        a_launch(project=project)
        assert spikes.look(now=NOW) == (0, 0)

    def test_entered_later_ends_the_alert_at_once(self, project: Project) -> None:
        other: Project = ProjectFactory.create()
        for one in (project, other):
            usage(one, 60, BEFORE + timedelta(minutes=5))
            usage(one, 300, LATELY)
        spikes.look(now=NOW)
        assert spikes.explain(launch=a_launch(project=other), now=NOW) == 1
        assert [alert.project for alert in Alert.objects.filter(state=AlertState.OPEN)] == [project]

    def test_ends_it_with_the_next_look_however_it_was_entered(self, project: Project) -> None:
        usage(project, 150, LATELY)
        spikes.look(now=NOW)
        a_launch(event_type=EventType.objects.get())
        assert spikes.look(now=NOW + timedelta(hours=1)) == (0, 1)

    def test_of_something_else_ends_nothing(self, project: Project) -> None:
        usage(project, 150, LATELY)
        spikes.look(now=NOW)
        assert spikes.explain(launch=a_launch(environment=Environment.STAGING), now=NOW) == 0
        assert spikes.look(now=NOW) == (0, 0)
        assert states() == ["open"]


@pytest.mark.django_db(transaction=True)
def test_ten_at_once_tell_it_once() -> None:
    project = ProjectFactory.create()
    usage(project, 60, BEFORE)
    usage(project, 150, LATELY)
    at_once([lambda: spikes.look(now=NOW)] * 10)
    assert states() == ["open"]
