"""The web server as `up` starts it, on a free port, for tests that need real sockets and processes that can be killed."""

import http.client
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from django.conf import settings

from config.embedded.process import Process

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class WebServer:
    """One web server. `with WebServer(var_dir, database_url=…, redis_url=…) as web:` waits until it is ready."""

    def __init__(
        self,
        var_dir: Path,
        *,
        database_url: str,
        redis_url: str,
        workers: int = 1,
        threads: int = 32,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        arguments = ["--port", str(self.port), "--workers", str(workers), "--threads", str(threads), *options]
        self.process = Process(
            name="web",
            argv=[sys.executable, "-m", "config.web", *arguments],
            log=var_dir / "log" / "web.log",
            stop_seconds=25,
            env={
                "DATABASE_URL": database_url,
                "REDIS_URL": redis_url,
                "VAR_DIR": str(var_dir),
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "PYTHONUNBUFFERED": "1",
                "SECRET_KEY": settings.SECRET_KEY,
                **(env or {}),
            },
            cwd=ROOT,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def workers(self) -> list[int]:
        """The pids of the worker processes."""
        master = self.process.pid
        listed = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return [int(pid) for pid in listed if b"config.web" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def kill_workers(self) -> None:
        for pid in self.workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def wait_ready(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/readyz")[0] == 200:
                    return
            if self.process.exit_code() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"the web server does not start:\n{self.process.log_tail(30)}")

    def request(self, method: str, path: str, body: Any = None, *, token: str = "", timeout: float = 30) -> tuple[int, Any]:
        """Make one call on a connection of its own; return status and JSON."""
        site = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            site.request(method, path, None if body is None else json.dumps(body), headers)
            answer = site.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            site.close()

    def __enter__(self) -> Self:
        self.process.start()
        try:
            self.wait_ready()
        except BaseException:
            self.process.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()
