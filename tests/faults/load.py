"""Apps that go on reporting while things break: threads that post events and, as apps must, send again what failed."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Load:
    """`with Load(port, token) as load:` posts events until the block ends; then `sent` holds the key of each that succeeded.

    With `retries` a key is sent until it succeeds, also after the block; without, whatever fails is counted only. A server
    may close a kept-alive connection in the moment in which it is used again. Pools then send a call that has an
    `Idempotency-Key` again, once, on a new connection (Go's net/http does); so does this, and counts it as `resent`.
    """

    port: int
    token: str
    threads: int = 32
    retries: bool = True
    keep_alive: bool = True
    customers: tuple[str, ...] = ("hot", "hot", *(f"user_{number}" for number in range(10)))
    prefix: str = "e"
    sent: set[str] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    resent: int = 0
    gave_up: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.stop = threading.Event()
        self.running = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(self.threads)]
        for thread in self.running:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.running:
            thread.join(120)
            assert not thread.is_alive()

    def percentile(self, share: float) -> float:
        """Milliseconds that this share of the answered calls took at most."""
        ordered = sorted(self.seconds)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000 if ordered else 0.0

    def summary(self) -> str:
        times = f"p50 {self.percentile(0.5):.0f} ms, p99 {self.percentile(0.99):.0f} ms, max {self.percentile(1):.0f} ms"
        return f"{len(self.sent)} events, {times}, failed calls: {dict(self.failures) or 'none'}, resent {self.resent}"

    def _run(self, number: int) -> None:
        pick = random.Random(number)
        self_connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        count = 0
        while not self.stop.is_set():
            count += 1
            key = f"{self.prefix}-{number}-{count}"
            self._post(self_connection, key, pick.choice(self.customers))
        self_connection.close()

    def _post(self, site: http.client.HTTPConnection, key: str, customer: str) -> None:
        body = json.dumps({"event": "chat.reply", "customer": customer, "idempotency_key": key, "trace_id": key})
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        if not self.keep_alive:
            headers["Connection"] = "close"
        give_up_at = time.monotonic() + 60
        while True:
            began = time.monotonic()
            is_reused = site.sock is not None
            try:
                site.request("POST", "/api/v1/events", body, headers)
                answer = site.getresponse()
                answer.read()
                problem = "" if answer.status in {200, 201} else str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                site.close()
                if is_reused and not self.retries:
                    self.resent += 1
                    continue
                problem = type(error).__name__
            self.seconds.append(time.monotonic() - began)
            if not problem:
                self.sent.add(key)
                return
            self.failures[problem] += 1
            if not self.retries or time.monotonic() > give_up_at:
                self.gave_up.append(key)
                return
            time.sleep(0.05)
