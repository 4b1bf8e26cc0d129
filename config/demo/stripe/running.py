"""Starting the simulation beside a desk, and playing buyer and bank from another process."""

import http.client
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from config.demo.stripe import KEY
from config.embedded.process import Process

ROOT = Path(__file__).resolve().parents[3]


class NoAnswerError(Exception):
    """The simulation does not start; the message carries the end of its log."""


class Control:
    """What buyers and banks do, asked for over HTTP: the actions of `control`."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.host, self.port = host, port

    @property
    def base(self) -> str:
        """The value of STRIPE_API_BASE."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def do(self, action: str, **fields: Any) -> Any:
        """Ask for one action. Raises ValueError when it is refused."""
        site = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            site.request("POST", f"/simulation/do/{action}", json.dumps(fields), {"Content-Type": "application/json"})
            answer = site.getresponse()
            said = json.loads(answer.read())
        finally:
            site.close()
        if answer.status != 200:
            raise ValueError(said["error"]["message"])
        return said

    def answers(self) -> bool:
        """Say whether it runs."""
        with suppress(OSError, ValueError):
            self.do("calls")
            return True
        return False


def process(
    folder: Path, port: int, *, host: str = "127.0.0.1", address: str = "", webhook: str = "", keep_open: Sequence[int] = ()
) -> Process:
    """Return the process of a simulation that keeps its state and log below `folder`. It signs by STRIPE_WEBHOOK_SECRET."""
    options = {"--host": host, "--port": str(port), "--address": address, "--state": str(folder / "stripe" / "simulation.json")}
    return Process(
        name="stripe",
        argv=[sys.executable, "-m", "config.demo.stripe", *(f"{name}={value}" for name, value in options.items()), f"--webhook={webhook}"],
        log=folder / "log" / "stripe.log",
        stop_seconds=5,
        env={"PYTHONUNBUFFERED": "1"},
        cwd=ROOT,
        keep_open=keep_open,
    )


def is_simulated() -> bool:
    """Say whether this desk talks to the simulation: no money moves."""
    return settings.STRIPE_API_KEY == KEY


def point_here(base: str) -> None:
    """Let this process, and all that it starts from now on, talk to the simulation; its webhooks are signed with a new secret."""
    secret = f"whsec_{secrets.token_hex(16)}"
    os.environ.update(STRIPE_API_KEY=KEY, STRIPE_API_BASE=base, STRIPE_WEBHOOK_SECRET=secret)
    settings.STRIPE_API_KEY, settings.STRIPE_API_BASE, settings.STRIPE_WEBHOOK_SECRETS = KEY, base, [secret]


@contextmanager
def for_history(folder: Path) -> Iterator[Control | None]:
    """Lend a simulation without a past, in which to make one: that beside this desk, or one that runs for as long.

    None where the desk talks to Stripe itself: nobody invents payments there.
    """
    if settings.STRIPE_API_KEY and not is_simulated():
        yield None
        return
    with ExitStack() as borrowed:
        bank = _beside_this_desk() if is_simulated() else borrowed.enter_context(_for_a_while(folder))
        bank.do("forget")
        borrowed.callback(bank.do, "clock", at=None)
        yield bank


def _beside_this_desk() -> Control:
    place = urlsplit(settings.STRIPE_API_BASE)
    return Control(place.port or 80, place.hostname or "")


@contextmanager
def _for_a_while(folder: Path) -> Iterator[Control]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        bank = Control(probe.getsockname()[1])
    before = settings.STRIPE_API_KEY, settings.STRIPE_API_BASE
    run = process(folder, bank.port)
    run.start()
    try:
        deadline = time.monotonic() + 30
        while not bank.answers():
            if run.exit_code() is not None or time.monotonic() > deadline:
                raise NoAnswerError(f"The simulation of Stripe does not start:\n{run.log_tail()}")
            time.sleep(0.05)
        settings.STRIPE_API_KEY, settings.STRIPE_API_BASE = KEY, bank.base
        yield bank
    finally:
        settings.STRIPE_API_KEY, settings.STRIPE_API_BASE = before
        run.stop()
