"""A site of its own to hurt: a PostgreSQL that flushes to disk, a Redis and the web server, all real processes."""

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from billing import checks
from billing.models import IdempotencyKey, LedgerEntry, UsageRecord, Wallet
from config import embedded
from config.embedded.postgres import Postgres
from config.embedded.process import Process
from config.embedded.redis import Redis
from tests.billing.factories import ProjectFactory, a_caller, a_price, a_token, a_wallet
from tests.web_server import ROOT, WebServer

RESPAWN_SECONDS = 15  # at a reload the old worker goes this long after the new one was started, ready or not


class Site:
    """The servers and the company on them: one customer `hot` whose wallet everybody uses, and `user_0` to `user_9`."""

    def __init__(self, var_dir: Path) -> None:
        self.var_dir = var_dir
        self.postgres = Postgres(var_dir)
        self.redis = Redis(var_dir)

    def web(self, *, workers: int = 1, env: Mapping[str, str] | None = None) -> WebServer:
        database_url, redis_url = embedded.database_url(self.var_dir), embedded.redis_url(self.var_dir)
        options = ("--respawn-interval", str(RESPAWN_SECONDS))
        return WebServer(self.var_dir, database_url=database_url, redis_url=redis_url, workers=workers, options=options, env=env)

    def worker(self, *, env: Mapping[str, str], queue: str = "") -> Process:
        """A Celery worker as `up` starts it, not started; without a queue one that takes all."""
        options = ["--queues", queue, "--hostname", f"{queue}@%h"] if queue else []
        options += ["--concurrency", "2", "--without-mingle", "--without-gossip", "--loglevel", "INFO"]
        places = {"DATABASE_URL": embedded.database_url(self.var_dir), "REDIS_URL": embedded.redis_url(self.var_dir)}
        return Process(
            name="worker",
            argv=[sys.executable, "-m", "celery", "-A", "config.celery", "worker", *options],
            log=self.var_dir / "log" / f"{queue or 'worker'}.log",
            env={**places, "VAR_DIR": str(self.var_dir), "DJANGO_SETTINGS_MODULE": "config.settings", "SECRET_KEY": "x", **env},
            cwd=ROOT,
        )

    def crash_database(self) -> None:
        """Immediate shutdown, as when the machine fails, and start again, which replays the log."""
        child = self.postgres.process.child
        assert child is not None
        child.send_signal(signal.SIGQUIT)
        child.wait(30)
        time.sleep(0.5)
        self.postgres.prepare()
        self.postgres.process.start()
        self.postgres.wait_ready()

    def fill(self, *, rate_limit_per_minute: int | None = None) -> str:
        """Make the company and return its API key."""
        now = timezone.now()
        project = ProjectFactory.create()
        if not LedgerEntry.objects.exists():
            a_price("4", now=now)
        for customer in ("hot", *(f"user_{number}" for number in range(10))):
            a_wallet(a_caller(project), customer, credits="1000000", now=now)
        return a_token(project, now=now, rate_limit_per_minute=rate_limit_per_minute)


@pytest.fixture(scope="module")
def site(django_db_setup: None, django_db_blocker: Any) -> Iterator[Site]:
    """Point this process at the site's database as well, to fill it and to prove afterwards that it is right."""
    var_dir = Path(tempfile.mkdtemp(prefix="meterdesk-faults-"))
    target = {"HOST": str(embedded.socket_dir(var_dir)), "NAME": embedded.DATABASE, "USER": embedded.ROLE, "PORT": ""}
    site = Site(var_dir)
    with site.postgres, site.redis, django_db_blocker.unblock():
        connection.close()
        original = {name: connection.settings_dict[name] for name in target}
        connection.settings_dict.update(target)
        try:
            call_command("migrate", verbosity=0, interactive=False)
            yield site
        finally:
            connection.close()
            connection.settings_dict.update(original)
    shutil.rmtree(var_dir, ignore_errors=True)
    shutil.rmtree(embedded.socket_dir(var_dir), ignore_errors=True)


def prove(sent: set[str], *, credits_each: int = 4) -> None:
    """Every event that was sent took effect once: none lost, none charged twice, every balance exact."""
    connection.close()
    records = list(UsageRecord.objects.filter(trace_id__in=sent).values_list("trace_id", flat=True))
    lost, duplicated = sent - set(records), len(records) - len(set(records))
    assert (len(lost), duplicated) == (0, 0), f"LOST {len(lost)} DUPLICATED {duplicated}"
    keys = IdempotencyKey.objects.filter(key__in=sent).count()
    charged = LedgerEntry.objects.filter(kind="charge", usage_record_id__in=UsageRecord.objects.filter(trace_id__in=sent).values("id"))
    assert keys == charged.count() == len(sent)
    assert sum(-entry.credits for entry in charged) == credits_each * len(sent)
    for wallet in Wallet.objects.all():
        assert (
            wallet.balance == sum(wallet.entries.values_list("credits", flat=True)) == sum(wallet.lots.values_list("remaining", flat=True))
        )
    report = checks.run()
    assert report.is_clean, report.breaks
