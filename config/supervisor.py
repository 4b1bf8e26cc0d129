"""Runs the processes of `up`: starts them in order, restarts what dies, stops them in the opposite order.

Why not a process manager from the shelf: honcho signals all at once and kills after five seconds, which takes
PostgreSQL away from under the worker; supervisord stops in order but restarts everything when the terminal closes, and
wants a configuration file and a control socket. What we need of either is the page below.
"""

import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Self

from config.embedded.process import Process

TICK = 0.2
LONGEST_PAUSE = 30.0
STEADY_AFTER = 60.0  # seconds of running after which earlier deaths are forgotten


class Stop(BaseException):
    """SIGINT, SIGTERM or SIGHUP arrived. Not an Exception, so that nothing on the way swallows it."""


class ProcessDiedError(Exception):
    """A process ended while it was being waited for. The message carries the end of its log."""


@dataclass
class Watched:
    """A process and its history of deaths."""

    process: Process
    log_read_to: int
    started_at: float
    deaths: int = 0
    restart_at: float | None = None

    def pause(self) -> float:
        """Seconds before the next start: 1, 2, 4 ... 30."""
        return min(2.0 ** (self.deaths - 1), LONGEST_PAUSE)


class Supervisor:
    """Holds the processes in the order they were started. Use it as a context: leaving it stops all of them."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.watched: list[Watched] = []
        self.is_stopping = False

    def __enter__(self) -> Self:
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if sig != signal.SIGHUP or signal.getsignal(sig) is not signal.SIG_IGN:  # ignored: `nohup` asks for it
                signal.signal(sig, self._on_signal)
        return self

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """The first signal stops. A second Ctrl-C must not break the order: every wait is bounded anyway."""
        if not self.is_stopping:
            self.is_stopping = True
            raise Stop

    def start(self, process: Process) -> None:
        log = process.log
        process.start()
        self.watched.append(Watched(process, log.stat().st_size if log.exists() else 0, time.monotonic()))

    def wait_until(self, is_ready: Callable[[], bool], seconds: float) -> bool:
        """Wait for `is_ready`, false when it takes too long. Raises ProcessDiedError."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for watched in self.watched:
                if watched.process.exit_code() is not None:
                    process = watched.process
                    raise ProcessDiedError(f"{process.name} ended; the end of {process.log}:\n{process.log_tail()}")
            if is_ready():
                return True
            time.sleep(TICK / 2)
        return False

    def run(self) -> None:
        """Watch until a signal comes."""
        while True:
            for watched in self.watched:
                self._report_alarms(watched)
                self._revive(watched)
            time.sleep(TICK)

    def _revive(self, watched: Watched) -> None:
        now, process = time.monotonic(), watched.process
        if (code := process.exit_code()) is None:
            if watched.deaths and now - watched.started_at > STEADY_AFTER:
                watched.deaths = 0
        elif watched.restart_at is None:
            process.sweep()
            watched.deaths += 1
            watched.restart_at = now + watched.pause()
            self.say(f"{process.name} ended ({_ending(code)}): starting it again in {watched.pause():.0f} s. {process.log}")
        elif now >= watched.restart_at:
            watched.restart_at, watched.started_at = None, now
            process.start()
            self.say(f"{process.name} runs again.")

    def _report_alarms(self, watched: Watched) -> None:
        """Repeat on the terminal what the log says of errors."""
        process = watched.process
        try:
            with process.log.open("rb") as log:
                log.seek(0, 2)
                if log.tell() < watched.log_read_to:  # rotated
                    watched.log_read_to = 0
                log.seek(watched.log_read_to)
                lines = log.read(1_000_000)
        except OSError:
            return
        whole, newline, _ = lines.rpartition(b"\n")
        watched.log_read_to += len(whole) + len(newline)
        for line in whole.decode(errors="replace").splitlines():
            if re.search(process.alarm, line):
                self.say(f"{process.name}: {line}")

    def __exit__(self, *_: object) -> None:
        self.is_stopping = True
        for watched in reversed(self.watched):
            began = time.monotonic()
            watched.process.stop()
            self.say(f"  {watched.process.name} stopped".ljust(40) + f"{time.monotonic() - began:5.1f} s")


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
