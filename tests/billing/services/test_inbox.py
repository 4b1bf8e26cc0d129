"""The inbox keeps every event once, has each worked off, and lets none stand in the way of another."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection

from billing import services
from billing.errors import StripeNotSetUp, StripeUnavailable
from billing.models import EventOrigin, EventQueue, EventState, StripeCustomer, StripeEvent, TopUpStatus
from billing.services import inbox, stripe_handling
from billing.services.stripe_handling import NotOurs, NotYet
from tests import stripe_objects
from tests.billing.factories import a_caller, a_wallet
from tests.billing.selling import an_intent, an_order
from tests.billing.services.rivals import at_once
from tests.billing.stripe_inbox import NOW, TEST_KEY, arrived, handled_by, noting, post
from tests.stripe_objects import SECRET, charge, event
from tests.web_server import free_port

pytestmark = pytest.mark.django_db(transaction=True)
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _set_up(settings: Any) -> None:
    settings.STRIPE_API_KEY, settings.STRIPE_WEBHOOK_SECRETS = TEST_KEY, [SECRET]


def state(row: StripeEvent) -> tuple[str, int]:
    row.refresh_from_db()
    return row.state, row.attempts


class TestReceiving:
    def test_keeps_an_event_once_as_it_was_signed(self) -> None:
        happened = event("charge.updated", charge(description="A name \0 with 😀"))
        assert [post(happened).is_new for _ in range(3)] == [True, False, False]
        [row] = StripeEvent.objects.all()
        assert (row.origin, row.state, row.received_at) == (EventOrigin.WEBHOOK, EventState.DUE, NOW)
        assert row.object == happened["data"]["object"]

    def test_of_a_hundred_copies_at_once_keeps_one_and_handles_it_once(self) -> None:
        happened, seen = event("tests.happened", charge()), []
        receipts = at_once([lambda: [post(happened).is_new for _ in range(13)] for _ in range(8)])
        assert sum(sum(part) for part in receipts if not isinstance(part, Exception)) == 1
        with handled_by(lambda row, now: seen.append(row.pk) or "Seen."):  # type: ignore[func-returns-value]
            done = at_once([lambda: inbox.work_off(now=NOW) for _ in range(8)])
        assert sum(count for count in done if not isinstance(count, Exception)) == len(seen) == 1

    def test_needs_stripe_to_be_set_up(self, settings: Any) -> None:
        settings.STRIPE_WEBHOOK_SECRETS = []
        with pytest.raises(StripeNotSetUp):
            post(event("charge.updated", charge()))


class TestWorkingOff:
    def test_says_what_was_done(self) -> None:
        row = arrived()
        with handled_by(lambda row, now: f"Saw {row.object_id}."):
            assert inbox.work_off(now=NOW) == 1
        assert state(row) == (EventState.DONE, 1)
        assert row.outcome == f"Saw {row.object_id}."
        assert row.done_at is not None
        assert NOW <= row.done_at < NOW + SECOND

    def test_puts_aside_what_nobody_works_with(self) -> None:
        row = arrived("customer.created")
        inbox.work_off(now=NOW)
        assert state(row) == (EventState.IGNORED, 1)
        assert row.outcome == "Nothing here works with events of this type."

    @pytest.mark.parametrize(("key", "is_live"), [("sk_test_1", True), ("rk_live_1", False)])
    def test_puts_aside_what_is_of_the_other_mode(self, settings: Any, key: str, is_live: bool) -> None:
        settings.STRIPE_API_KEY = key
        row = arrived(livemode=is_live)
        with handled_by(lambda row, now: pytest.fail("another mode's event was handled")):
            inbox.work_off(now=NOW)
        assert state(row) == (EventState.IGNORED, 1)
        assert "mode" in row.outcome

    def test_leaves_events_alone_while_there_is_no_key(self, settings: Any) -> None:
        row = arrived()
        settings.STRIPE_API_KEY = ""
        assert inbox.work_off(now=NOW) == 0
        assert state(row) == (EventState.DUE, 0)

    def test_waits_for_what_has_not_arrived(self) -> None:
        row = arrived()
        answers: Iterator[str | Exception] = iter([NotYet("its top-up is not there"), "Found it."])

        def handler(row: StripeEvent, now: Any) -> str:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        with handled_by(handler):
            assert inbox.work_off(now=NOW) == 0
            assert state(row) == (EventState.DUE, 1)
            assert (row.outcome, row.last_error) == ("its top-up is not there", "")
            assert inbox.work_off(now=NOW + 9 * SECOND) == 0
            assert inbox.work_off(now=NOW + 11 * SECOND) == 1
        assert state(row) == (EventState.DONE, 2)

    def test_believes_after_an_hour_that_something_is_not_ours(self) -> None:
        row, looked = arrived(), []

        def handler(row: StripeEvent, now: Any) -> str:
            looked.append((now - NOW) // timedelta(minutes=1))
            raise NotOurs("no top-up was paid by pi_1")

        with handled_by(handler):
            for minute in range(90):
                inbox.work_off(now=NOW + minute * timedelta(seconds=61))
        assert looked == [0, 1, 61]
        assert state(row) == (EventState.IGNORED, 3)
        assert row.outcome == "no top-up was paid by pi_1"

    def test_looks_three_times_also_after_an_outage(self) -> None:
        row, looked = arrived(), []

        def handler(row: StripeEvent, now: Any) -> str:
            looked.append((now - NOW) // timedelta(minutes=1))
            if len(looked) < 3:
                raise NotOurs("its payment is being worked off beside it")
            return "Found."

        with handled_by(handler):
            for minute in range(300, 310):
                inbox.work_off(now=NOW + minute * timedelta(seconds=61))
        assert state(row) == (EventState.DONE, 3)

    def test_keeps_an_error_and_goes_on_to_the_next(self) -> None:
        broken, right = arrived("tests.broken"), arrived()

        def fail(row: StripeEvent, now: Any) -> str:
            raise ValueError("a name with \0 and \ud800 in it")

        def fail_in_the_database(row: StripeEvent, now: Any) -> str:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1/0")
            return "never"

        with handled_by(lambda row, now: "Seen."), handled_by(fail, "tests.broken"):
            assert inbox.work_off(now=NOW) == 1
        assert state(right) == (EventState.DONE, 1)
        assert state(broken) == (EventState.DUE, 1)
        assert broken.outcome == "ValueError: a name with \\0 and \\ud800 in it"
        assert "Traceback" in broken.last_error
        with handled_by(fail_in_the_database, "tests.broken"):
            inbox.work_off(now=NOW + timedelta(minutes=1))
        assert state(broken) == (EventState.DUE, 2)
        assert "DataError" in broken.outcome

    def test_ends_in_a_dead_letter_after_two_days_and_a_half(self) -> None:
        row, tried = arrived(), []

        def fail(row: StripeEvent, now: Any) -> str:
            tried.append(now)
            raise ValueError("still broken")

        now = NOW
        with handled_by(fail):
            while state(row)[0] == EventState.DUE:
                now = max(row.due_at, now)
                inbox.work_off(now=now)
        assert state(row) == (EventState.DEAD, inbox.MAX_ATTEMPTS)
        pauses = [later - earlier for earlier, later in pairwise(tried)]
        assert [round(pause.total_seconds()) for pause in pauses[:4]] == [10, 20, 40, 80]
        assert round(max(pauses).total_seconds()) == 6 * 3600
        assert timedelta(days=2) < now - NOW < timedelta(days=3)

    def test_does_not_wait_for_an_event_that_somebody_holds(self) -> None:
        held, free = arrived(), arrived()
        target = connection.settings_dict
        with psycopg.connect(host=target["HOST"], user=target["USER"], dbname=target["NAME"]) as other:
            other.execute("SELECT 1 FROM billing_stripeevent WHERE id = %s FOR UPDATE", [held.pk])
            with handled_by(lambda row, now: "Seen."):
                assert inbox.work_off(now=NOW) == 1
        assert state(free)[0] == EventState.DONE
        assert state(held) == (EventState.DUE, 0)

    def test_does_not_take_what_another_worker_is_at(self) -> None:
        row, go_on, taken = arrived(), threading.Event(), threading.Event()
        handled = []

        def slow(row: StripeEvent, now: Any) -> str:
            handled.append(row.pk)
            taken.set()
            assert go_on.wait(10)
            return "Seen."

        def beside() -> int:
            assert taken.wait(10)
            try:
                return inbox.work_off(now=NOW + 59 * SECOND)
            finally:
                go_on.set()

        with handled_by(slow):
            assert at_once([lambda: inbox.work_off(now=NOW), beside]) == [1, 0]
        assert handled == [row.pk]

    def test_takes_up_after_a_minute_what_a_killed_worker_had_taken(self) -> None:
        row = arrived()
        with handled_by(lambda row, now: "Seen."):
            assert inbox._take(NOW) == row  # and the worker is no more
            assert inbox.work_off(now=NOW + 59 * SECOND) == 0
            assert inbox.work_off(now=NOW + 60 * SECOND) == 1
        assert state(row) == (EventState.DONE, 2)

    def test_gives_up_on_an_event_that_kills_every_worker(self) -> None:
        row = arrived()
        StripeEvent.objects.filter(pk=row.pk).update(attempts=inbox.MAX_ATTEMPTS)
        with handled_by(lambda row, now: pytest.fail("it was handled again")):
            inbox.work_off(now=NOW)
        assert state(row)[0] == EventState.DEAD
        assert "ended in the middle" in row.outcome

    def test_marks_nothing_that_was_done_meanwhile(self) -> None:
        row = arrived()

        def overtaken(row: StripeEvent, now: Any) -> str:
            StripeEvent.objects.filter(pk=row.pk).update(state=EventState.DONE, outcome="By another.", done_at=now)
            raise NotYet("too late")

        with handled_by(overtaken):
            inbox.work_off(now=NOW)
        assert state(row)[0] == EventState.DONE
        assert row.outcome == "By another."


class TestQueues:
    """Deposits wait neither for Stripe nor for what failed before them."""

    def test_what_needs_stripes_answer_moves_on_and_is_handled_again_there(self) -> None:
        row, seen = arrived(), []

        def asks(row: StripeEvent, now: Any) -> str:
            seen.append(row.queue)
            return f"Live: {stripe_handling.desk(row).is_live}."

        with handled_by(asks):
            assert inbox.work_off(now=NOW, queue=EventQueue.STRIPE) == 0
            assert inbox.work_off(now=NOW, queue=EventQueue.DEPOSITS) == 0
            assert (*state(row), row.queue) == (EventState.DUE, 0, EventQueue.STRIPE)
            assert inbox.work_off(now=NOW + SECOND, queue=EventQueue.DEPOSITS) == 0
            assert inbox.work_off(now=NOW + SECOND, queue=EventQueue.STRIPE) == 1
        assert (state(row), seen) == ((EventState.DONE, 1), [EventQueue.DEPOSITS, EventQueue.STRIPE])

    def test_what_nobody_has_looked_at_comes_before_what_is_tried_again(self) -> None:
        seen: list[str] = []
        for _ in range(3):
            StripeEvent.objects.filter(pk=arrived().pk).update(attempts=4, due_at=NOW - timedelta(hours=1))
        dead, fresh = arrived(), arrived()
        StripeEvent.objects.filter(pk=dead.pk).update(state=EventState.DEAD, attempts=20, due_at=NOW - timedelta(days=1))
        with handled_by(noting(seen)):
            inbox.work_off(now=NOW, queue=EventQueue.DEPOSITS)
        assert (len(seen), seen[0], dead.event_id in seen) == (4, fresh.event_id, False)

    def test_a_stripe_that_does_not_answer_is_left_alone_until_the_next_run(self) -> None:
        rows, tried = [arrived() for _ in range(5)], []

        def unanswered(row: StripeEvent, now: Any) -> str:
            tried.append(row.pk)
            raise StripeUnavailable("Stripe did not answer.")

        with handled_by(unanswered):
            assert inbox.work_off(now=NOW) == 0
            assert (len(tried), state(rows[0])) == (3, (EventState.DUE, 1))
            assert (rows[0].outcome, rows[0].last_error) == ("Stripe did not answer.", "")
            inbox.work_off(now=NOW + SECOND)
        assert tried[3:] == [rows[3].pk, rows[4].pk]  # the others pause

    def test_a_card_that_is_to_be_kept_does_not_hold_up_its_deposit(self, settings: Any) -> None:
        settings.STRIPE_API_BASE = f"http://127.0.0.1:{free_port()}"  # where nobody answers
        topup = an_order(a_wallet(a_caller()), saves_card_for="cus_1")
        paid = post(event("payment_intent.succeeded", an_intent(topup, payment_method="pm_1")))
        inbox.work_off(now=NOW, queue=EventQueue.DEPOSITS)
        topup.refresh_from_db()
        row = StripeEvent.objects.get(event_id=paid.event_id)
        assert (topup.status, row.state, row.queue) == (TopUpStatus.PAID, EventState.DUE, EventQueue.STRIPE)

    def test_no_event_makes_the_queue_of_deposits_ask(self, settings: Any) -> None:
        """Every type, about things that are here and that Stripe would have to be asked about."""
        settings.STRIPE_API_BASE = f"http://127.0.0.1:{free_port()}"
        topup = an_order(a_wallet(a_caller()), saves_card_for="cus_1", payment_intent="pi_1", checkout_session="cs_1")
        StripeCustomer.objects.create(customer=topup.wallet.customer, stripe_id="cus_1", created_at=NOW)
        asked = {
            "charge.updated": charge(payment_intent="pi_1", balance_transaction="txn_1"),
            "payout.paid": stripe_objects.payout(automatic=True),
            "radar.early_fraud_warning.created": {"id": "issfr_1", "charge": "ch_unknown", "payment_intent": "pi_unknown"},
            "checkout.session.completed": {"id": "cs_2", "mode": "setup", "setup_intent": "seti_1", "customer": "cus_1"},
            "payment_intent.succeeded": an_intent(topup, id="pi_1", payment_method="pm_1"),
        }
        for kind, about in asked.items():
            post(event(kind, about))
        inbox.work_off(now=NOW, queue=EventQueue.DEPOSITS)
        assert set(StripeEvent.objects.values_list("type", "queue", "state")) == {(kind, "stripe", "due") for kind in asked}


class TestTryingAgain:
    @pytest.fixture
    def dead(self) -> StripeEvent:
        row = arrived()
        StripeEvent.objects.filter(pk=row.pk).update(state=EventState.DEAD, attempts=20)
        return row

    def test_makes_a_dead_letter_due_and_says_who_did(self, dead: StripeEvent) -> None:
        inbox.retry(event=dead, actor="user:ann", now=NOW)
        assert state(dead) == (EventState.DUE, 0)
        assert (dead.retried_by, dead.retried_at) == ("user:ann", NOW)
        with handled_by(lambda row, now: "Seen."):
            assert inbox.work_off(now=NOW) == 1

    def test_brings_back_what_was_put_aside(self) -> None:
        row = arrived()
        inbox.work_off(now=NOW)
        assert state(row)[0] == EventState.IGNORED
        inbox.retry(event=row, actor="user:ann", now=NOW)
        with handled_by(lambda row, now: "Ours after all."):
            inbox.work_off(now=NOW)
        assert state(row) == (EventState.DONE, 1)

    def test_is_refused_for_what_is_done(self) -> None:
        row = arrived()
        with handled_by(lambda row, now: "Seen."):
            inbox.work_off(now=NOW)
        with pytest.raises(inbox.EventIsDone):
            inbox.retry(event=row, actor="user:ann", now=NOW)

    def test_takes_all_dead_letters_at_once_and_nothing_else(self, dead: StripeEvent) -> None:
        waiting = arrived(now=NOW)
        StripeEvent.objects.filter(pk=waiting.pk).update(due_at=NOW + timedelta(hours=1))
        assert inbox.retry_all_dead(actor="user:ann", now=NOW) == 1
        waiting.refresh_from_db()
        assert waiting.due_at == NOW + timedelta(hours=1)


class TestTheTable:
    def test_keeps_what_arrived(self) -> None:
        row = arrived()
        for change in ({"body": "{}"}, {"type": "x"}, {"event_id": "evt_x"}, {"is_live": True}):
            with pytest.raises(DatabaseError, match="kept as it came"):
                StripeEvent.objects.filter(pk=row.pk).update(**change)
        with pytest.raises(DatabaseError):
            row.delete()

    def test_keeps_what_is_done_and_lets_what_was_put_aside_only_become_due(self) -> None:
        done, aside = arrived(), arrived("customer.created")
        with handled_by(lambda row, now: "Seen."):
            inbox.work_off(now=NOW)
        for row in (done, aside):
            with pytest.raises(DatabaseError, match="what is done stays done"):
                StripeEvent.objects.filter(pk=row.pk).update(outcome="Something else")
        StripeEvent.objects.filter(pk=aside.pk).update(state=EventState.DUE, done_at=None)


class TestHandlers:
    def test_of_every_room_are_in_the_table_once(self) -> None:
        """A room that the inbox has forgotten would have its events put aside as nobody's."""
        rooms = [
            import_module(f"billing.services.{path.stem}")
            for path in Path(services.__file__).parent.glob("*.py")
            if path.stem != "inbox" and "HANDLERS" in path.read_text()
        ]
        tables = [room.HANDLERS for room in rooms if hasattr(room, "HANDLERS")]
        assert {kind: handler for table in tables for kind, handler in table.items()} == inbox.HANDLERS
        assert sum(map(len, tables)) == len(inbox.HANDLERS), "two rooms work with the same type"
