"""One child process that never outlives its parent, with its log in a file.

The child leads a process group of its own, so that Ctrl-C in the terminal reaches only the supervisor, which then stops
its children in order; and so that what a killed child leaves behind can be swept away with it.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

KEEP_LOG_BYTES = 10_000_000


def dies_with_parent(sig: signal.Signals) -> list[str]:
    """A command prefix: the kernel sends `sig` when the parent is gone, even if that was killed outright."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", sig.name.removeprefix("SIG")] if setpriv else []


@dataclass
class Process:
    """A command to run, and the running instance of it."""

    name: str
    argv: Sequence[str]
    log: Path
    become: Sequence[str] = ()  # a prefix that changes the user; first, since a change of user forgets the death signal
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    keep_open: Sequence[int] = ()  # file descriptors that the child inherits: the lock that says "still running"
    alarm: str = r"\b(ERROR|CRITICAL|FATAL|PANIC)\b"  # log lines that belong on the terminal too
    child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > KEEP_LOG_BYTES:
                self.log.replace(self.log.with_suffix(".1.log"))
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                [*self.become, *dies_with_parent(self.stop_signal), *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.env},
                cwd=self.cwd,
                pass_fds=self.keep_open,
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        return self.child.pid if self.child else None

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.child.poll() if self.child else None

    def stop(self) -> None:
        """Ask, then insist, then kill: at most `stop_seconds` plus ten."""
        if not self.child:
            return
        for sig, seconds in ((self.stop_signal, self.stop_seconds), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
            if self.child.poll() is None:
                self.child.send_signal(sig)
                with suppress(subprocess.TimeoutExpired):
                    self.child.wait(seconds)
        self.sweep()

    def sweep(self) -> None:
        """Kill what the child left behind in its process group."""
        if self.child:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child.pid, signal.SIGKILL)

    def log_tail(self, lines: int = 8) -> str:
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""
