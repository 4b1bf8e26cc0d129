"""The web server, `python -m config.web`: granian, made to load new code (SIGHUP) without failing a call.

Left alone, granian loses calls that arrive while an old worker goes. Each of its workers opens a listening socket, among
which the kernel spreads connections, and what waits in the queue of a socket that closes is reset. And a worker that is
told to stop closes at once the connections on which nothing has been read yet. So here the sockets are the master's, a
worker hands its own on to its successor, and it stops accepting a moment before it stops.
"""

import os
import select
import signal
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from granian.constants import Interfaces
from granian.net import SocketSpec  # type: ignore[attr-defined]
from granian.server.mp import MPServer, WorkerProcess

READ_SECONDS = 0.5  # how long a call that was accepted has to arrive
# After SIGHUP the old worker goes this long after the new one was started: time enough to load.
RESPAWN_SECONDS = 30


class Server(MPServer):
    """Workers behind listening sockets that outlive them."""

    def _init_shared_socket(self) -> None:
        self._ssp = None
        self._sso = None
        spec = SocketSpec(self.bind_addr, self.bind_port, self.backlog)
        self.listeners = [spec.build() for _ in range(self.workers)]

    def _spawn_worker(self, idx: int, *args: Any, **kwargs: Any) -> WorkerProcess:
        self._shd = self.listener = self.listeners[idx]  # type: ignore[assignment]
        return super()._spawn_worker(idx, *args, **kwargs)

    def load(self) -> Callable[..., Any]:
        """Load the application, in a new worker. The master never does, so that a reload finds new code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # for all threads to come: only `_leave` hears it
        threading.Thread(target=self._leave, daemon=True).start()
        from config.wsgi import application

        return application

    def _leave(self) -> None:
        """Wait to be told to go; then accept nothing more, let what was accepted arrive, and have granian stop."""
        signal.sigwait({signal.SIGTERM})
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()) == "anon_inode:[eventpoll]":
                    with select.epoll.fromfd(os.dup(int(descriptor.name))) as events:
                        events.unregister(self.listener.get_fd())
        time.sleep(READ_SECONDS)
        os.kill(os.getpid(), signal.SIGINT)


def default_workers() -> int:
    """One for each core, up to four, unless WEB_WORKERS says otherwise."""
    return int(os.environ.get("WEB_WORKERS") or min(os.cpu_count() or 1, 4))


def default_threads() -> int:
    """As many calls as one worker serves at a time."""
    return int(os.environ.get("WEB_THREADS") or 32)


def main() -> None:
    parser = ArgumentParser(prog="python -m config.web", description="Serve the admin and the API. SIGHUP loads new code.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (8000)")
    parser.add_argument("--workers", type=int, default=default_workers(), help="processes (one for each core, up to 4)")
    parser.add_argument("--threads", type=int, default=default_threads(), help="threads of each process (32)")
    parser.add_argument("--respawn-interval", type=float, default=RESPAWN_SECONDS, help="seconds for new code to load (30)")
    asked = parser.parse_args()
    server = Server(
        "config.wsgi:application",
        interface=Interfaces.WSGI,
        address=asked.host,
        port=asked.port,
        workers=asked.workers,
        blocking_threads=asked.threads,
        websockets=False,
        respawn_failed_workers=True,
        respawn_interval=asked.respawn_interval,
        workers_kill_timeout=20,
    )
    server.serve(target_loader=server.load, wrap_loader=False)


if __name__ == "__main__":
    main()
