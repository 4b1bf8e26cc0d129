"""The stage of a benchmark: a PostgreSQL that flushes to disk, a company with many wallets, and the web server of `up`."""

import io
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WALLETS = 10_000
HOT = "hot"
# The schema's own constraints and triggers stay on: filling the stage is part of the truth.
_FILL = """
    INSERT INTO billing_customer (project_id, environment, external_id, name, plan, email, metadata, created_at)
    SELECT %(project)s, 'production', CASE n WHEN 0 THEN 'hot' ELSE 'user_' || n END, '', '', '', '{}', now()
    FROM generate_series(0, %(wallets)s) n;
    INSERT INTO billing_wallet (customer_id, balance, held, overdraft_limit, status)
    SELECT id, 0, 0, 0, 'active' FROM billing_customer ORDER BY id;
    INSERT INTO billing_lot (wallet_id, kind, granted, remaining, credit_limit, unit_value, value, value_remaining, priority, note,
        created_at)
    SELECT id, 'promotional', 1000000000, 0, 0, 0, 0, 0, 50, '', now() FROM billing_wallet ORDER BY id;
    INSERT INTO billing_ledgerentry (transaction_id, wallet_id, lot_id, kind, credits, value, balance_after, actor, reason, request_id,
        model, occurred_at, recorded_at)
    SELECT nextval('billing_effect_seq'), wallet_id, id, 'grant', granted, 0, granted, 'system:benchmark', 'benchmark', '', '', now(), now()
    FROM billing_lot ORDER BY id;
    ANALYZE;
"""


@contextmanager
def servers() -> Iterator[Path]:
    """Run PostgreSQL (fsync on) and Redis in a folder of their own; settings find them through the environment."""
    from config import embedded
    from config.embedded.postgres import Postgres
    from config.embedded.redis import Redis

    with tempfile.TemporaryDirectory(prefix="meterdesk-benchmark-") as folder:
        var_dir = Path(folder)
        with Postgres(var_dir), Redis(var_dir):
            os.environ.update(
                VAR_DIR=folder,
                DATABASE_URL=embedded.database_url(var_dir),
                REDIS_URL=embedded.redis_url(var_dir),
                DJANGO_SETTINGS_MODULE="config.settings",
            )
            yield var_dir


def fill() -> str:
    """Migrate, make a company with `WALLETS` wallets and a hot one; return an API token."""
    import django

    django.setup()
    from datetime import timedelta
    from decimal import Decimal

    from django.core.management import call_command
    from django.db import connection
    from django.utils import timezone

    from billing.models import Project, Scope
    from billing.services import keys
    from pricing.services import prices

    call_command("migrate", verbosity=0)
    now = timezone.now()
    call_command("import_rates", "genai-prices", "--accept", "--providers", "anthropic", stdout=io.StringIO())
    event_type = prices.create_event_type(name="chat.reply", label="Chat reply", actor=None)
    rule = prices.create_rule(event_type=event_type, actor=None)
    prices.publish_version(
        rule=rule, credits_per_event=Decimal(4), effective_from=now - timedelta(days=1), reason="benchmark", actor=None, now=now
    )
    project = Project.objects.create(key="benchmark", name="Benchmark")
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '60s'")
        cursor.execute(_FILL, {"project": project.pk, "wallets": WALLETS})
    token = keys.issue(project=project, name="benchmark", scopes=[Scope.METER], now=now).token
    connection.close()
    return token


@contextmanager
def web() -> Iterator[int]:
    """Run the web server as `up` does, with as many workers; yield its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = subprocess.Popen([sys.executable, "-m", "config.web", "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not _answers(port):
            assert time.monotonic() < deadline, "the web server does not answer"
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait(20)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
