"""One `up` per data folder: a file lock that lives exactly as long as the last process that uses the folder.

The supervisor takes the lock of `up.lock` and every child inherits the open file. So the lock being free proves that
nothing of an earlier run is left, however that run ended; and whoever still holds it is by that fact ours.
`up.json` says who the supervisor is, and its lock, which no child inherits, that he lives.
"""

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class AlreadyRunningError(Exception):
    """Another `up` uses this data folder. The message says where it answers."""


def acquire(var_dir: Path, *, address: str, say: Callable[[str], None]) -> int:
    """Take the lock and return its file descriptor, for the children to inherit. Raises AlreadyRunningError."""
    var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = open_file(var_dir / "up.lock")
    wait_free(lock, var_dir, say=say)
    supervisor = open_file(var_dir / "up.json")  # stays open until this process ends
    fcntl.flock(supervisor, fcntl.LOCK_EX)
    os.ftruncate(supervisor, 0)
    os.pwrite(supervisor, json.dumps({"pid": os.getpid(), "address": address}).encode(), 0)
    return lock


def open_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def wait_free(lock: int, var_dir: Path, *, say: Callable[[str], None], patience: float = 15) -> None:
    """Take the lock. The children of a killed `up` end by themselves; those that have not after `patience` seconds are
    killed. Raises AlreadyRunningError at once when that `up` lives.
    """
    deadline = time.monotonic() + patience
    is_told = False
    while not _try_lock(lock):
        if owner := _living_supervisor(var_dir):
            raise AlreadyRunningError(f"Meterdesk already runs on {var_dir}: {owner['address']} (process {owner['pid']}).")
        if not is_told:
            say("Waiting for the processes of an earlier run to end.")
            is_told = True
        if time.monotonic() > deadline:
            for pid in _holders(lock):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def _holders(fd: int) -> set[int]:
    """The processes that share the lock: who inherited it. Not who waits for it, as we do. Known on Linux only."""
    wanted = os.fstat(fd)
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.path.samestat(link.stat(), wanted) and "FLOCK" in (link.parents[1] / "fdinfo" / link.name).read_text():
                found.add(int(link.parts[2]))
    return found


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _living_supervisor(var_dir: Path) -> dict[str, int | str] | None:
    """What it wrote of itself; None when it is gone, or has only just come and written nothing yet."""
    fd = open_file(var_dir / "up.json")
    try:
        if _try_lock(fd):
            return None
        owner: dict[str, int | str] = json.loads(os.pread(fd, 4096, 0))
    except ValueError:
        return None
    else:
        return owner
    finally:
        os.close(fd)
