"""A bystander that clears up when `up` itself is killed outright.

The kernel tells each direct child that its parent is gone, and most then end by themselves. Not all: a Celery worker
that loses its Redis while stopping waits for it for ever, and grandchildren hear nothing. This process hears of the
death by the end of its standard input, gives the others a while, and kills those that still hold the lock. After an
orderly stop the lock is free, and it just ends.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.embedded.lock import AlreadyRunningError, open_file, wait_free

PROJECT = Path(__file__).resolve().parent.parent.parent


@contextmanager
def until_closed(var_dir: Path, lock: int) -> Iterator[None]:
    """Have it stand by. Gives up our hold on the lock at the end, for which it waits."""
    with subprocess.Popen(
        [sys.executable, "-S", "-m", "config.embedded.guard", var_dir],
        stdin=subprocess.PIPE,
        cwd=PROJECT,
        start_new_session=True,
    ):
        try:
            yield
        finally:
            os.close(lock)


def main(var_dir: Path) -> None:
    lock = open_file(var_dir / "up.lock")
    sys.stdin.read()
    for _ in range(2):
        try:
            wait_free(lock, var_dir, say=lambda _: None)
            break
        except AlreadyRunningError:  # it is still dying; or a new `up` was faster, and waited for the same processes
            time.sleep(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
