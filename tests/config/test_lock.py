"""Who waits for the lock of a data folder may kill what an earlier run left, but never another who waits."""

import os
import subprocess
import sys
from pathlib import Path

from config.embedded.lock import open_file, wait_free
from tests.config.test_embedded import PROJECT

WAIT = """
import sys
from pathlib import Path
from config.embedded.lock import open_file, wait_free
lock = open_file(Path(sys.argv[1]) / "up.lock")
wait_free(lock, Path(sys.argv[1]), say=lambda _: None, patience=0.5)
"""


def test_two_who_wait_kill_what_holds_it_and_not_each_other(tmp_path: Path) -> None:
    lock = open_file(tmp_path / "up.lock")
    wait_free(lock, tmp_path, say=lambda _: None)
    with subprocess.Popen(["sleep", "60"], pass_fds=[lock]) as left:
        os.close(lock)
        waiting = [subprocess.Popen([sys.executable, "-c", WAIT, tmp_path], cwd=PROJECT) for _ in range(2)]
        assert [process.wait(20) for process in waiting] == [0, 0]
        assert left.wait(20) == -9
