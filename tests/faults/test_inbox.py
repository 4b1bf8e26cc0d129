"""Workers killed in the middle of Stripe's events, and a database that goes away: nothing lost, nothing credited twice."""

import http.client
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from billing import checks
from billing.models import EntryKind, EventState, LedgerEntry, StripeEvent, TopUp, TopUpStatus, Wallet
from config.embedded.process import Process
from tests.billing.factories import ProjectFactory, a_caller, a_wallet
from tests.billing.selling import a_session, an_intent, an_order
from tests.faults.conftest import Site
from tests.stripe_desk import StripeDesk
from tests.stripe_objects import SECRET, body_of, charge, event, refund, signature
from tests.web_server import WebServer, free_port

pytestmark = pytest.mark.slow
ENV = {"STRIPE_API_KEY": "sk_test_of_the_tests", "STRIPE_WEBHOOK_SECRET": SECRET, "STRIPE_API_BASE": f"http://127.0.0.1:{free_port()}"}


def post(port: int, happened: dict[str, Any]) -> tuple[int, dict[str, str]]:
    """Post an event as Stripe would; 0 when nobody answers."""
    body = body_of(happened)
    site = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        site.request("POST", "/stripe/webhook", body, {"Content-Type": "application/json", "Stripe-Signature": signature(body)})
        answer = site.getresponse()
        json.loads(answer.read())
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    except (OSError, http.client.HTTPException):
        return 0, {}
    finally:
        site.close()


def until(is_so: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


@contextmanager
def locked(table: str, pk: int) -> Iterator[Callable[[], None]]:
    """Hold a row in a session of its own; yields what lets go of it earlier."""
    target = connection.settings_dict
    with psycopg.connect(host=target["HOST"], user=target["USER"], dbname=target["NAME"]) as other:
        other.execute(f"SELECT 1 FROM {table} WHERE id = %s FOR UPDATE", [pk])
        yield other.rollback


def somebody_waits_for(table: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s", [f"%{table}%"])
        return cursor.fetchone() is not None


def end_whoever_waits_for(table: str) -> None:
    with connection.cursor() as cursor:
        waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
        cursor.execute(waiting, [f"%{table}%"])


def kill(worker: Process) -> None:
    """The whole worker at once, as when the machine fails."""
    assert worker.pid is not None
    os.killpg(worker.pid, signal.SIGKILL)
    assert worker.child is not None
    worker.child.wait(10)


@contextmanager
def running(site: Site) -> Iterator[Process]:
    worker = site.worker(env=ENV)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def a_new_order(name: str = "user_42") -> TopUp:
    return an_order(a_wallet(a_caller(ProjectFactory.create()), name), now=timezone.now())


def make_due() -> None:
    """Let the pauses pass."""
    StripeEvent.objects.filter(state=EventState.DUE).update(due_at=timezone.now())


def was_credited_once(topup: TopUp) -> bool:
    topup.refresh_from_db()
    deposits = LedgerEntry.objects.filter(wallet=topup.wallet_id, kind=EntryKind.DEPOSIT)
    return topup.status == TopUpStatus.PAID and [entry.credits for entry in deposits] == [topup.credits]


class TestAKilledWorker:
    def test_in_the_middle_of_a_deposit_has_done_nothing(self, site: Site) -> None:
        topup = a_new_order()
        with site.web(env=ENV) as web:
            with running(site) as worker, locked("billing_wallet", topup.wallet_id):
                assert post(web.port, event("checkout.session.completed", a_session(topup)))[0] == 200
                until(lambda: somebody_waits_for("billing_wallet"))
                kill(worker)
            row = StripeEvent.objects.latest("id")
            assert (row.state, row.attempts, LedgerEntry.objects.filter(wallet=topup.wallet_id).exists()) == (EventState.DUE, 1, False)
            make_due()
            with running(site):
                assert post(web.port, event("customer.created", {"object": "customer"}))[0] == 200
                until(lambda: was_credited_once(topup))
                until(lambda: StripeEvent.objects.get(pk=row.pk).state == EventState.DONE)
        assert checks.run().is_clean

    def test_between_the_deposit_and_the_mark_deposits_nothing_again(self, site: Site) -> None:
        topup = a_new_order()
        with site.web(env=ENV) as web:
            with running(site) as worker, locked("billing_wallet", topup.wallet_id) as let_go:
                assert post(web.port, event("checkout.session.completed", a_session(topup)))[0] == 200
                until(lambda: somebody_waits_for("billing_wallet"))
                row = StripeEvent.objects.latest("id")
                with locked("billing_stripeevent", row.pk):
                    let_go()
                    until(lambda: was_credited_once(topup))
                    until(lambda: somebody_waits_for("billing_stripeevent"))
                    kill(worker)
                    end_whoever_waits_for("billing_stripeevent")  # as when their machine fails too: the mark was sent, and would be made
            row.refresh_from_db()
            assert (row.state, row.attempts) == (EventState.DUE, 1)
            make_due()
            with running(site):
                post(web.port, event("customer.created", {"object": "customer"}))
                until(lambda: StripeEvent.objects.get(pk=row.pk).state == EventState.DONE)
        row.refresh_from_db()
        assert (row.attempts, row.outcome) == (2, f"{topup} was deposited before.")
        assert was_credited_once(topup)
        assert checks.run().is_clean

    def test_again_and_again_leaves_the_books_exact(self, site: Site) -> None:
        """30 purchases with refunds of a third of each; every event twice, in a random order; a worker killed six times."""
        orders = [a_new_order(f"buyer_{number}") for number in range(30)]
        events = []
        for topup in orders:
            told = event("refund.created", refund(payment_intent=f"pi_of_{topup.pk}", charge=f"ch_of_{topup.pk}", amount=333))
            events += [event("checkout.session.completed", a_session(topup)), event("payment_intent.succeeded", an_intent(topup)), told] * 2
        random.Random(7).shuffle(events)
        with site.web(env=ENV) as web:
            sender = threading.Thread(target=_post_all, args=(web, events))
            sender.start()
            kills = 0
            while sender.is_alive() or kills < 6:
                with running(site) as worker:
                    before = StripeEvent.objects.filter(attempts__gt=0).count()
                    until(lambda before=before: StripeEvent.objects.filter(attempts__gt=0).count() > before + 3 or not _some_are_due())  # type: ignore[misc]
                    kill(worker)
                    kills += 1
            sender.join(60)
            with running(site):
                for _ in range(4):  # what a killed worker had, what waits for its payment, and what doubts that it is ours
                    make_due()
                    post(web.port, event("customer.created", {"object": "customer"}))
                    until(lambda: not _some_are_due(), 60)
                until(lambda: not StripeEvent.objects.filter(state=EventState.DUE).exists(), 60)
        again = StripeEvent.objects.filter(attempts__gt=1).count()
        print(f"killed {kills} times; {again} events were taken more than once")
        assert again
        assert not StripeEvent.objects.filter(state=EventState.DEAD).exists()
        for topup in orders:
            assert was_credited_once(topup)
            assert Wallet.objects.get(pk=topup.wallet_id).balance == Decimal("666.666667")
            assert topup.refunds.count() == 1
        assert checks.run().is_clean


def _some_are_due() -> bool:
    return StripeEvent.objects.filter(state=EventState.DUE, due_at__lte=timezone.now()).exists()


def _post_all(web: WebServer, events: list[dict[str, Any]]) -> None:
    for happened in events:
        while post(web.port, happened)[0] != 200:
            time.sleep(0.1)
        time.sleep(0.05)


class TestASlowStripe:
    def test_holds_up_no_deposit(self, site: Site, stripe_desk: StripeDesk) -> None:
        """50 charges of which each needs Stripe's answer, which does not come for half a minute; then somebody pays."""
        topup, env = a_new_order(), stripe_desk.env | {"STRIPE_WEBHOOK_SECRET": SECRET}
        stripe_desk.fail_next("slow", times=200)
        with site.web(env=env) as web:
            for number in range(50):
                booked = charge(payment_intent=f"pi_{number}", balance_transaction=f"txn_{number}")
                assert post(web.port, event("charge.updated", booked))[0] == 200
            workers = [site.worker(env=env, queue=queue) for queue in ("deposits", "stripe")]
            try:
                for worker in workers:
                    worker.start()
                until(lambda: bool(stripe_desk.calls()))  # Stripe is being asked, and takes its time
                assert post(web.port, event("checkout.session.completed", a_session(topup)))[0] == 200
                until(lambda: was_credited_once(topup))
            finally:
                for worker in workers:
                    kill(worker)
        charges = StripeEvent.objects.filter(type="charge.updated")
        assert set(charges.values_list("queue", "state")) == {("stripe", "due")}
        assert charges.filter(attempts=0).count() >= 40  # and most of them wait for their turn


class TestADatabaseThatIsAway:
    def test_has_stripe_send_the_event_again(self, site: Site) -> None:
        happened = event("checkout.session.completed", a_session(a_new_order()))
        with site.web(env=ENV) as web:
            assert post(web.port, event("customer.created", {"object": "customer"}))[0] == 200
            child = site.postgres.process.child
            assert child is not None
            child.send_signal(signal.SIGQUIT)
            child.wait(30)
            status, headers = post(web.port, happened)
            assert (status, headers.get("retry-after")) == (503, "1")
            site.postgres.prepare()
            site.postgres.process.start()
            site.postgres.wait_ready()
            connection.close()
            until(lambda: post(web.port, happened)[0] == 200, 15)
        assert StripeEvent.objects.filter(event_id=happened["id"]).count() == 1
