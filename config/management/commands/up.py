"""`python manage.py up`: everything, with one command and without anything installed but Python packages."""

import contextlib
import errno
import http.client
import os
import secrets
import socket
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import BaseCommand, CommandError, call_command
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.urls import reverse

from config.demo.stripe import running as simulation
from config.embedded import EmbeddedError, guard
from config.embedded.lock import AlreadyRunningError, acquire
from config.embedded.postgres import Postgres
from config.embedded.process import Process
from config.embedded.redis import Redis
from config.supervisor import ProcessDiedError, Stop, Supervisor
from config.web import default_threads, default_workers

MIGRATION_LOCK = 7_051_976  # any number; two machines must not migrate one database at a time


class Command(BaseCommand):
    """Start PostgreSQL and Redis (unless their addresses are set), migrate, run web, worker and beat until stopped."""

    help = "Start everything: PostgreSQL, Redis, web, worker and beat. Ctrl-C stops it all."
    requires_system_checks = []  # `migrate` runs them

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--demo", action="store_true", help="fill in a company to look at; without STRIPE_API_KEY, payments are simulated"
        )
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (8000)")

    def handle(self, *_: Any, demo: bool, host: str, port: int, **__: Any) -> None:
        self.began = time.monotonic()
        self.var_dir: Path = settings.VAR_DIR.resolve()
        os.environ["VAR_DIR"] = str(self.var_dir)
        self.url = f"http://{_name_of(host)}:{port}"
        try:
            self.lock = acquire(self.var_dir, address=self.url, say=self.say)
            _check_free(host, port)
            with guard.until_closed(self.var_dir, self.lock), Supervisor(self.say) as supervisor:
                self._start_all(supervisor, demo=demo, host=host, port=port)
                supervisor.run()
        except Stop:
            self.say("Stopped.")
        except (AlreadyRunningError, EmbeddedError, ProcessDiedError, OperationalError) as error:
            raise CommandError(str(error)) from None

    def say(self, text: str) -> None:
        """Print a line. A terminal that is gone must not keep us from stopping in order."""
        with contextlib.suppress(OSError):
            self.stdout.write(text)
            self.stdout.flush()

    def _start_all(self, supervisor: Supervisor, *, demo: bool, host: str, port: int) -> None:
        self.say(f"Meterdesk starts in {self.var_dir}")
        self._start_servers(supervisor)
        with self._step("Migrations") as note:
            note(_migrate())
        if demo and not settings.STRIPE_API_KEY:
            self._simulate_stripe(supervisor, host, port)
        if demo:
            with self._step("Demo company"):
                call_command("demo")
        password = None if demo else _first_superuser()
        connection.close()
        with self._step("Web, worker and beat"):
            supervisor.start(self._web(host, port))
            if not supervisor.wait_until(self._is_ready, seconds=120):
                raise CommandError(f"{self.url}/readyz does not answer: see {self.var_dir}/log/web.log")
            # Afterwards: on a small machine they would only keep the web server from starting.
            for process in (*self._workers(), self._beat()):
                supervisor.start(process)
        self._report(password)

    def _start_servers(self, supervisor: Supervisor) -> None:
        self.servers = {"PostgreSQL": "at DATABASE_URL", "Redis": "at REDIS_URL"}
        if os.environ.get("DATABASE_URL"):
            with self._step("PostgreSQL at DATABASE_URL"):
                _wait_for_database(30)
        else:
            postgres = Postgres(self.var_dir, max_connections=60 + default_workers() * default_threads(), keep_open=[self.lock])
            self._start_server(supervisor, "PostgreSQL", postgres)
        if not os.environ.get("REDIS_URL"):
            self._start_server(supervisor, "Redis", Redis(self.var_dir, keep_open=[self.lock]))

    def _start_server(self, supervisor: Supervisor, name: str, server: Postgres | Redis) -> None:
        self.servers[name] = f"embedded {server.version()}"
        with self._step(f"{name} {self.servers[name]}"):
            server.prepare()
            supervisor.start(server.process)
            server.wait_ready()

    def _simulate_stripe(self, supervisor: Supervisor, host: str, port: int) -> None:
        """Start what stands for Stripe, beside the desk and on the same address, and have everything talk to it."""
        beside = next(one for one in range(port + 1, port + 100) if _is_free(host, one))
        bank = simulation.Control(beside, _name_of(host).strip("[]"))
        simulation.point_here(bank.base)
        with self._step("Simulation of Stripe"):
            webhook = f"{self.url}/stripe/webhook"
            process = simulation.process(self.var_dir, beside, host=host, address=bank.base, webhook=webhook, keep_open=[self.lock])
            supervisor.start(process)
            if not supervisor.wait_until(bank.answers, seconds=30):
                raise CommandError(f"{bank.base} does not answer: see {process.log}")
        self.servers["Stripe"] = f"simulated, no money moves; play the banks at {bank.base}/simulation"

    def _web(self, host: str, port: int) -> Process:
        return self._python("web", "config.web", "--host", host, "--port", str(port), stop_seconds=25)

    def _workers(self) -> Iterator[Process]:
        """One for each queue: what Stripe is asked holds up no deposit, nor anything else."""
        yield self._worker("deposits_worker", queue="deposits", count=1)
        yield self._worker("stripe_worker", queue="stripe", count=2)
        yield self._worker("worker", queue="celery", count=min(os.cpu_count() or 1, 4))

    def _worker(self, name: str, *, queue: str, count: int) -> Process:
        options = ["--concurrency", str(count), "--without-mingle", "--without-gossip", "--loglevel", "INFO"]
        # SIGTERM as SIGQUIT: running tasks get `worker_soft_shutdown_timeout`, then return to the queue. Plain SIGTERM
        # would wait for them without end.
        place = ["--queues", queue, "--hostname", f"{name}@%h"]
        return self._python(name, "celery", "-A", "config.celery", "worker", *place, *options, REMAP_SIGTERM="SIGQUIT")

    def _beat(self) -> Process:
        return self._python("beat", "celery", "-A", "config.celery", "beat", "--pidfile=", "--loglevel", "INFO")

    def _python(self, name: str, module: str, *args: str, stop_seconds: float = 15, **env: str) -> Process:
        return Process(
            name=name,
            argv=[sys.executable, "-m", module, *args],
            log=self.var_dir / "log" / f"{name}.log",
            stop_seconds=stop_seconds,
            env={"DJANGO_SETTINGS_MODULE": "config.settings", "PYTHONUNBUFFERED": "1", **env},
            cwd=settings.BASE_DIR,
            keep_open=[self.lock],
        )

    def _is_ready(self) -> bool:
        """Ask as a visitor would: under a host name that is allowed, and as over HTTPS where that is demanded."""
        name = next((h.lstrip(".") for h in settings.ALLOWED_HOSTS if h != "*"), "localhost")
        site = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=5)
        try:
            site.request("GET", "/readyz", headers={"Host": name, "X-Forwarded-Proto": "https"})
            status = site.getresponse().status
        except (OSError, http.client.HTTPException):
            return False
        finally:
            site.close()
        return status == 200 or (status == 301 and settings.SECURE_SSL_REDIRECT)

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Time a step and print it when it is done; the block may add a note."""
        began, notes = time.monotonic(), [name]
        yield notes.append
        self.say(f"  {': '.join(notes)}".ljust(48) + f"{time.monotonic() - began:5.1f} s")

    def _report(self, password: str | None) -> None:
        lines = {
            "Admin": self.url + reverse("admin:index"),
            "API docs": self.url + reverse("api:openapi-view"),
            "Data": f"{self.var_dir} (logs in {self.var_dir}/log)",
            **self.servers,
        }
        if password:
            lines["Sign in"] = f"admin / {password} (shown only now; change it in the admin)"
        self.say(f"\nReady after {time.monotonic() - self.began:.1f} s.")
        for name, value in lines.items():
            self.say(f"  {name:<12}{value}")
        self.say("Ctrl-C stops everything.")


def _name_of(host: str) -> str:
    """A name for `host` that a browser on this machine can open."""
    if host in {"0.0.0.0", "::", ""}:  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _check_free(host: str, port: int) -> None:
    """Before anything starts: granian would share the port with another granian and say nothing."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(f"Port {port} on {host} is in use: stop what listens there or choose a --port.") from None
        raise CommandError(f"Cannot listen on {host} port {port}: {error.strerror}.") from None


def _is_free(host: str, port: int) -> bool:
    try:
        _check_free(host, port)
    except CommandError:
        return False
    return True


def _wait_for_database(seconds: float) -> None:
    """The server may be starting beside us. Raises OperationalError when it has not answered by then."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return connection.ensure_connection()
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _migrate() -> str:
    """Bring the database to this version of the code; say what was done. A migration may take longer than a request."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '60s'")
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
    executor = MigrationExecutor(connection)
    todo = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if todo:
        call_command("migrate", interactive=False, verbosity=0)
    return f"{todo} applied" if todo else "up to date"


def _first_superuser() -> str | None:
    """Without anybody who may sign in there is no way in: create `admin`, and return the password to show once."""
    users = User.objects
    if users.filter(is_superuser=True).exists():
        return None
    password = secrets.token_urlsafe(12)
    users.create_superuser(username="admin", password=password)
    return password
