"""Stand-ins for Stripe that others wrote, each a process of its own on this machine's loopback.

They know Stripe from elsewhere than we do, so what the gateway says to them has been read by somebody else's eyes. None
of them is installed with the project: `STRIPE_PEERS` names a folder with `node_modules` and a virtual environment `py`
that hold them (`.ci/run` makes one); without it the tests that need them are skipped, and say so.
"""

import http.client
import json
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import pytest

from config.embedded.process import Process
from tests.web_server import free_port

HERE = Path(__file__).parent


def folder() -> Path:
    """Where the peers are installed; skips the test where they are not."""
    path = Path(os.environ.get("STRIPE_PEERS") or "/nowhere")
    if not (path / "node_modules").is_dir() or not (path / "py").is_dir() or not shutil.which("node"):
        pytest.skip("STRIPE_PEERS names no folder with stand-ins for Stripe (.ci/run makes one)")
    return path


class Peer:
    """One of them. `with Peer("localstripe", argv, tmp_path) as peer:` waits until it answers."""

    def __init__(self, name: str, argv: Sequence[str], scratch: Path) -> None:
        self.port = free_port()
        self.process = Process(
            name=name,
            argv=[*argv, str(self.port)],
            log=scratch / f"{name}.log",
            stop_seconds=3,
            env={"TMPDIR": str(scratch), "LOG_LEVEL": "silent"},
            cwd=scratch,
        )

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, path: str, **fields: Any) -> Any:
        """Do what is not the gateway's business: a buyer's part, or what a dashboard would do. Returns the JSON, or None."""
        return self._ask("POST", path, urlencode(fields))

    def _ask(self, method: str, path: str, body: str = "") -> Any:
        site = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Authorization": "Bearer sk_test_peers", "Content-Type": "application/x-www-form-urlencoded"}
        try:
            site.request(method, path, body, headers)
            said = site.getresponse().read()
        finally:
            site.close()
        with suppress(ValueError):
            return json.loads(said)
        return None

    def __enter__(self) -> Self:
        self.process.start()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.exit_code() is None:
            with suppress(OSError, http.client.HTTPException):
                self._ask("GET", "/v1/customers")
                return self
            time.sleep(0.1)
        self.process.stop()
        raise AssertionError(f"{self.process.name} does not start:\n{self.process.log_tail(30)}")

    def __exit__(self, *_: object) -> None:
        self.process.stop()


def localstripe(scratch: Path) -> Peer:
    """Customers, payment intents, charges, balance transactions, refunds. Needs its own Python."""
    return Peer("localstripe", [str(folder() / "py" / "bin" / "python"), str(HERE / "localstripe_on_loopback.py")], scratch)


def emulate(scratch: Path) -> Peer:
    """Checkout."""
    return Peer("emulate", ["node", str(HERE / "emulate_on_loopback.mjs"), str(folder())], scratch)


def stateful_mock(scratch: Path) -> Peer:
    """Charges, refunds, idempotency, what goes wrong."""
    return Peer("stripe-stateful-mock", ["node", str(HERE / "stateful_mock_on_loopback.cjs"), str(folder())], scratch)
