"""What beat has done about Stripe's events, and a worker that has just come up."""

import logging
from typing import Any

import pytest

from billing import tasks
from billing.models import EventQueue, EventState, StripeEvent
from billing.services import auto_topups, inbox, settlements, topup_refunds, topup_sweeping
from config.celery import QUEUES, app, catch_up
from tests.billing.stripe_inbox import TEST_KEY, arrived
from tests.stripe_desk import StripeDesk
from tests.stripe_objects import SECRET
from tests.web_server import free_port

pytestmark = pytest.mark.django_db


class TestTheSchedule:
    def test_names_tasks_that_there_are(self) -> None:
        app.loader.import_default_modules()
        named = {entry["task"] for entry in app.conf.beat_schedule.values()}
        assert {task for task in named if task.startswith("billing.")} <= set(app.tasks)

    def test_looks_at_the_inbox_every_few_seconds_and_asks_stripe_every_ten_minutes(self) -> None:
        seconds = {entry["task"]: entry["schedule"] for entry in app.conf.beat_schedule.values()}
        assert seconds["billing.tasks.work_off_stripe_events"] == 15
        assert seconds["billing.tasks.ask_stripe_about_events"] == 15
        assert seconds["billing.tasks.sweep_stripe_events"] == 600


class TestQueues:
    @pytest.mark.parametrize(
        ("task", "queue"),
        [
            (inbox.TASKS[EventQueue.DEPOSITS], "deposits"),
            (inbox.TASKS[EventQueue.STRIPE], "stripe"),
            *((f"billing.tasks.{name}", "stripe") for name in ("charge_saved_cards", "send_refunds", "ask_about_topups")),
            ("billing.tasks.expire_holds", "celery"),
        ],
    )
    def test_get_what_is_theirs_and_nothing_else(self, task: str, queue: str) -> None:
        """Read from Redis, where the workers would take it."""
        with app.connection() as connection:
            redis = connection.default_channel.client
            before = {name: redis.llen(name) for name in QUEUES}
            app.send_task(task)
            assert {name: redis.llen(name) - before[name] for name in QUEUES} == {name: int(name == queue) for name in QUEUES}

    def test_every_task_that_asks_stripe_is_in_the_queue_for_that(self) -> None:
        """By what the services that the task calls import; the other queues would wait for Stripe."""
        asks = {name.rpartition(".")[2] for name, route in app.conf.task_routes.items() if route["queue"] == "stripe"}
        rooms = (auto_topups, settlements, topup_refunds, topup_sweeping)
        for name, task in vars(tasks).items():
            if hasattr(task, "run") and any(room.__name__.rpartition(".")[2] in task.run.__code__.co_names for room in rooms):
                assert name in asks


class TestAWorkerThatComesUp:
    def test_asks_stripe_for_what_it_missed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[str] = []
        monkeypatch.setattr(app, "send_task", sent.append)
        catch_up()
        assert sent == ["billing.tasks.sweep_stripe_events"]


class TestASweep:
    def test_is_nothing_without_a_key(self, settings: Any) -> None:
        settings.STRIPE_API_KEY = ""
        tasks.sweep_stripe_events()

    def test_tries_again_later_when_stripe_does_not_answer(self, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
        settings.STRIPE_API_KEY, settings.STRIPE_API_BASE = TEST_KEY, f"http://127.0.0.1:{free_port()}"
        with caplog.at_level(logging.WARNING):
            tasks.sweep_stripe_events()
        assert "the next sweep asks again" in caplog.text

    def test_says_how_much_had_been_missed(self, stripe_desk: StripeDesk, caplog: pytest.LogCaptureFixture) -> None:
        from billing.services import stripe_gateway

        stripe_gateway.gateway().create_customer({"name": "Ann"}, key=f"ann-{free_port()}")
        with caplog.at_level(logging.WARNING):
            tasks.sweep_stripe_events()
        assert "asked for: 1" in caplog.text


def test_the_inbox_is_worked_off(settings: Any) -> None:
    settings.STRIPE_API_KEY, settings.STRIPE_WEBHOOK_SECRETS = TEST_KEY, [SECRET]
    row = arrived("customer.created")
    tasks.work_off_stripe_events()
    assert StripeEvent.objects.get(pk=row.pk).state == EventState.IGNORED
