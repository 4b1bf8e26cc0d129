"""Single calls that share a commit: each gets its own answer, and one bad event does not fail its neighbours."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from billing.events import Caller, Charged, Event, Refused
from billing.models import UsageRecord, Wallet
from billing.services import charging, coalescing, locked_read
from tests.billing.factories import a_caller, a_price, a_wallet, an_event
from tests.billing.services.rivals import at_once

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def caller() -> Caller:
    a_price("4")
    return a_caller()


def cut() -> None:
    """Let the database drop every connection but our own, the flusher's among them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture(autouse=True)
def _leave_no_connection(caller: Caller) -> Iterator[None]:
    """The flusher outlives the test; its connection must not, or the database could not be dropped."""
    yield
    cut()
    with suppress(OperationalError):
        send(an_event(caller, customer="nobody"))


def send(event: Event) -> object:
    return coalescing.charge_one(event)


def poisonous(event: Event) -> Event:
    """Break an event behind the validation of the API: text that PostgreSQL cannot store."""
    return event._replace(trace_id="\0")


class TestChargeOne:
    def test_each_caller_gets_its_own_answer(self, caller: Caller) -> None:
        a_wallet(caller, credits="100")
        results = at_once([partial(send, an_event(caller, key=f"key_{number}")) for number in range(32)])
        charged = [result for result in results if isinstance(result, Charged)]
        refused = [result for result in results if isinstance(result, Refused)]
        assert (len(charged), len(refused)) == (25, 7)
        assert sorted(int(result.balance or 0) for result in charged) == list(range(0, 100, 4))

    def test_a_migration_beside_it_fails_no_call(self, caller: Caller) -> None:
        """What a connection has prepared does not fit a table that was changed since."""
        a_wallet(caller, credits="100")
        assert isinstance(send(an_event(caller, key="before")), Charged)
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE billing_customer ALTER COLUMN plan TYPE text")
            try:
                assert isinstance(send(an_event(caller, key="after")), Charged)
            finally:
                cursor.execute("ALTER TABLE billing_customer ALTER COLUMN plan TYPE varchar(64)")

    def test_what_a_pooler_has_forgotten_is_prepared_again(self, caller: Caller) -> None:
        a_wallet(caller, credits="100")
        charging.charge([an_event(caller, key="before")], now=timezone.now())
        connection.connection.pgconn.exec_(b"DEALLOCATE ALL")
        [again] = charging.charge([an_event(caller, key="after")], now=timezone.now())
        assert isinstance(again, Charged)

    def test_a_locked_wallet_holds_up_only_itself_also_on_a_new_connection(self, caller: Caller) -> None:
        locked = a_wallet(caller, "locked", credits="100")
        a_wallet(caller, "free", credits="100")
        send(an_event(caller, customer="free", key="before"))
        cut()
        send(an_event(caller, customer="free", key="reconnected"))
        with transaction.atomic():
            Wallet.objects.select_for_update().get(pk=locked.pk)
            waiting = threading.Thread(target=send, args=[an_event(caller, customer="locked", key="waits")])
            waiting.start()
            time.sleep(0.05)
            began = time.monotonic()
            send(an_event(caller, customer="free", key="beside"))
            assert time.monotonic() - began < 1.5
        waiting.join()

    def test_a_poisonous_event_fails_alone(self, caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
        a_wallet(caller, credits="1000")
        events = [an_event(caller, key=f"key_{number}") for number in range(24)]
        events[7] = poisonous(events[7])
        events[8] = poisonous(events[8])
        results = at_once([partial(send, event) for event in events])
        failed = [position for position, result in enumerate(results) if isinstance(result, Exception)]
        assert failed == [7, 8]
        assert UsageRecord.objects.count() == 22
        assert "an event could not be charged" in caplog.text

    def test_goes_on_after_the_database_has_dropped_its_connection(self, caller: Caller) -> None:
        """Whoever waits while the connection is lost is told to try again; the next caller is served."""
        a_wallet(caller, credits="1000")
        assert isinstance(send(an_event(caller)), Charged)
        cut()
        event = an_event(caller)
        [lost] = at_once([partial(send, event)])
        assert isinstance(lost, OperationalError | Charged)
        again = send(event)
        assert isinstance(again, Charged)
        assert again.replayed is isinstance(lost, Charged)


class TestBoarding:
    """Who comes before a busy wallet is locked is charged with those who wait for it."""

    def test_late_ones_are_charged_with_the_others(self, caller: Caller) -> None:
        a_wallet(caller, credits="10")
        first, second, late = (an_event(caller, key=key) for key in ("first", "second", "late"))
        asked: list[int] = []

        def boarding(room: int) -> list[Event]:
            asked.append(room)
            return [late, first]

        results = charging.charge([first, second], now=timezone.now(), boarding=boarding)
        assert asked == [locked_read.MAX_LATE]
        assert [getattr(result, "balance", getattr(result, "code", None)) for result in results] == [6, 2, "insufficient_credits", 6]
        assert getattr(results[3], "replayed", False)
        assert UsageRecord.objects.count() == 2

    def test_nobody_is_asked_for_a_lone_event_or_two_customers(self, caller: Caller) -> None:
        a_wallet(caller, credits="10")
        a_wallet(caller, "other", credits="10")
        for events in ([an_event(caller)], [an_event(caller), an_event(caller, customer="other")]):
            assert len(charging.charge(events, now=timezone.now(), boarding=unwanted)) == len(events)

    def test_others_keep_their_turn(self, caller: Caller) -> None:
        a_wallet(caller, credits="100")
        a_wallet(caller, "other", credits="100")
        waiting = [
            coalescing._Waiting(an_event(caller, customer=customer, key=key))
            for customer, key in (("user_1", "1"), ("other", "2"), ("user_1", "3"), ("other", "4"))
        ]
        lane = coalescing._Lane("tried", lambda batch: coalescing._flush(None, batch, when_locked=None))
        for one in waiting:
            lane.queue.put(one)
        late = lane.late(coalescing._customer(waiting[0]), room=8)
        assert [one.event.idempotency_key for one in late] == ["1", "3"]
        waiting.append(coalescing._Waiting(an_event(caller, customer="other", key="5")))
        lane.put(waiting[-1])
        for one in (waiting[1], waiting[3], waiting[4]):
            assert one.ready.acquire(timeout=5), "set aside and forgotten"


def unwanted(room: int) -> list[Event]:
    raise AssertionError(room)
