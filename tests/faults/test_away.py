"""Redis gone, a wallet locked by somebody, a database that hangs: what callers see, and how long they wait."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from billing.models import Wallet
from tests.faults.conftest import Site, prove
from tests.faults.load import Load

pytestmark = pytest.mark.slow


class TestRedis:
    def test_may_die_and_no_metering_call_fails(self, site: Site) -> None:
        token = site.fill(rate_limit_per_minute=1_000_000)
        with site.web() as web:
            try:
                with Load(web.port, token, threads=32, retries=False, prefix="redis") as load:
                    time.sleep(2)
                    site.redis.process.stop()
                    time.sleep(3)
                assert not load.failures, load.failures
                print("Redis killed:", load.summary())
            finally:
                site.redis.prepare()
                site.redis.process.start()
                site.redis.wait_ready()
            with Load(web.port, token, threads=8, retries=False, prefix="redis-back") as back:
                time.sleep(3)
        assert not back.failures
        prove(load.sent | back.sent)

    def test_may_hang_and_no_metering_call_fails(self, site: Site) -> None:
        token = site.fill(rate_limit_per_minute=1_000_000)
        with site.web() as web:
            web.request("GET", "/api/v1/wallets/hot", token=token)
            assert site.redis.process.pid is not None
            os.kill(site.redis.process.pid, signal.SIGSTOP)
            try:
                with Load(web.port, token, threads=32, retries=False, prefix="redis-hangs") as load:
                    time.sleep(5)
            finally:
                os.kill(site.redis.process.pid, signal.SIGCONT)
            print("Redis hangs:", load.summary())
        assert not load.failures
        assert load.percentile(0.5) < 500
        prove(load.sent)


@contextmanager
def locked(customer: str) -> Iterator[None]:
    """Hold the lock of the customer's newest wallet in another session."""
    wallet = Wallet.objects.filter(customer__external_id=customer).latest("id")
    target = connection.settings_dict
    with psycopg.connect(host=target["HOST"], user=target["USER"], dbname=target["NAME"]) as other:
        other.execute("SELECT 1 FROM billing_wallet WHERE id = %s FOR UPDATE", [wallet.pk])
        yield


class TestALockedWallet:
    def test_answers_503_in_time_and_its_neighbours_go_on(self, site: Site) -> None:
        token = site.fill()
        with site.web() as web, locked("hot"):
            others = Load(web.port, token, threads=16, retries=False, customers=("user_1", "user_2"), prefix="neighbour")
            blocked = Load(web.port, token, threads=4, retries=False, customers=("hot",), prefix="blocked")
            with others, blocked:
                time.sleep(10)
            print("locked:", blocked.summary())
            print("neighbours:", others.summary())
        assert not blocked.sent
        assert blocked.failures.keys() == {"503"}
        assert blocked.percentile(1) < 8_000
        assert not others.failures
        assert others.percentile(0.5) < 300
        assert others.percentile(1) < 2_500
        prove(others.sent)


class TestAHangingDatabase:
    def test_is_told_in_time_and_found_again(self, site: Site) -> None:
        """Stopped, not killed: it takes connections and says nothing, like a machine behind a dead link."""
        token = site.fill()
        with site.web() as web:
            warm = {"event": "chat.reply", "customer": "hot", "idempotency_key": "hang-0", "trace_id": "hang-0"}
            assert web.request("POST", "/api/v1/events", warm, token=token)[0] == 201
            stopped = _stop_all(site)
            seen: dict[str, tuple[int, float]] = {}

            def ask(method: str, path: str, body: object) -> None:
                began = time.monotonic()
                try:
                    status = web.request(method, path, body, token=token, timeout=60)[0]
                except OSError:
                    status = 0
                seen[path] = (status, time.monotonic() - began)

            calls = [
                ("POST", "/api/v1/events", {"event": "chat.reply", "customer": "hot", "idempotency_key": "hang-1"}),
                ("GET", "/api/v1/wallets/hot", None),
                ("GET", "/healthz", None),
            ]
            askers = [threading.Thread(target=ask, args=call) for call in calls]
            try:
                for asker in askers:
                    asker.start()
                for asker in askers:
                    asker.join(40)
            finally:
                for pid in stopped:
                    os.kill(pid, signal.SIGCONT)
            for asker in askers:
                asker.join(70)
            print("database hangs:", {path: f"{status} after {seconds:.1f} s" for path, (status, seconds) in seen.items()})
            assert seen["/healthz"][0] == 200
            assert seen["/healthz"][1] < 2
            assert seen["/api/v1/events"][0] == 503
            assert seen["/api/v1/events"][1] < 20
            event = {"event": "chat.reply", "customer": "hot", "idempotency_key": "hang-1", "trace_id": "hang-1"}
            deadline = time.monotonic() + 10
            while (answer := web.request("POST", "/api/v1/events", event | {"idempotency_key": "hang-2"}, token=token))[0] >= 500:
                assert time.monotonic() < deadline, answer
                time.sleep(0.2)


def _stop_all(site: Site) -> list[int]:
    """Stop the server with all its sessions."""
    master = site.postgres.process.pid
    assert master is not None
    children = [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]
    for pid in (master, *children):
        os.kill(pid, signal.SIGSTOP)
    return [*children, master]
