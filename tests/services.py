"""A pytest plugin: one throw-away PostgreSQL and one Redis per run, the same programs that `up` runs.

Loaded with `-p tests.services`, because Django reads its settings before any conftest. The data is in memory and is
never flushed; tests about durability start servers of their own. A developer's own DATABASE_URL is never used.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from config import embedded
from config.embedded.postgres import UNSAFE_BUT_FAST, Postgres
from config.embedded.redis import Redis

NAME = "meterdesk-tests-"
_running = ExitStack()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests() -> Generator[None]:
    """Before pytest-django, which reads the settings here."""
    start()
    return (yield)


def pytest_configure() -> None:
    """For whoever names this plugin in a conftest instead."""
    start()


def start() -> None:
    """Start both servers and point the settings at them; once."""
    if os.environ.get("VAR_DIR", "").rpartition(NAME)[2] == str(os.getpid()):
        return
    atexit.register(_running.close)  # not pytest_unconfigure, which is left out when Django's setup fails
    var_dir = make_var_dir()
    (var_dir / "static").mkdir()  # WhiteNoise warns where nothing was collected, and a warning fails a test
    _running.callback(shutil.rmtree, var_dir, ignore_errors=True)
    _running.callback(shutil.rmtree, embedded.socket_dir(var_dir), ignore_errors=True)
    _running.enter_context(Postgres(var_dir, max_connections=200, settings=UNSAFE_BUT_FAST))
    _running.enter_context(Redis(var_dir))
    os.environ["VAR_DIR"] = str(var_dir)
    os.environ["DATABASE_URL"] = embedded.database_url(var_dir)
    os.environ["REDIS_URL"] = embedded.redis_url(var_dir)


def make_var_dir() -> Path:
    """In memory where there is such a place. Removes what a killed run has left there."""
    parent = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path(tempfile.gettempdir())
    for left in parent.glob(f"{NAME}*"):
        with suppress(ValueError, PermissionError):
            if not _is_alive(int(left.name.removeprefix(NAME))):
                shutil.rmtree(left, ignore_errors=True)
    path = parent / f"{NAME}{os.getpid()}"
    path.mkdir(mode=0o700)
    return path


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
