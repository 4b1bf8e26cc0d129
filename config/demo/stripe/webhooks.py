"""Sending events to the desk: signed, in order, and again until it says 200."""

import hashlib
import hmac
import http.client
import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from config.demo.stripe.objects import Fields
from config.demo.stripe.state import State

_PAUSES = (1, 2, 5, 15, 60, 300, 900, 3600)  # seconds before the next attempt; the last one again and again
_ATTEMPTS = 40
_TIMEOUT = 20


def signature(body: bytes, *, secret: str, at: int) -> str:
    """Return the header Stripe-Signature."""
    signed = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


@dataclass(slots=True)
class Webhooks:
    """The deliveries that are due, and the thread that makes them."""

    state: State
    url: str = ""
    secret: str = ""
    woken: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            self.woken.wait(1)
            self.woken.clear()
            with suppress(OSError):  # a full disk: try again
                self.deliver()

    def deliver(self, *, is_everything_due: bool = False) -> list[dict[str, Any]]:
        """Try what is due; returns (event, type, status) of each attempt. Status 0: nobody answered."""
        with self.state.lock:
            waiting = list(self.state.data["deliveries"]) if self.url else []
        return [self._try(one) for one in waiting if is_everything_due or one["due"] <= time.time()]

    def _try(self, delivery: dict[str, Any]) -> dict[str, Any]:
        with self.state.lock:
            event = next((one for one in self.state.data["events"] if one["id"] == delivery["event"]), None)
        status = self._post(event) if event else 200
        with self.state.lock:
            delivery["attempts"] += 1
            delivery["due"] = time.time() + _PAUSES[min(delivery["attempts"], len(_PAUSES)) - 1]
            if 200 <= status < 300 or delivery["attempts"] >= _ATTEMPTS:
                with suppress(ValueError):
                    self.state.data["deliveries"].remove(delivery)
            self.state.save()
        return {"event": delivery["event"], "type": event["type"] if event else "", "status": status}

    def _post(self, event: Fields) -> int:
        target = urlsplit(self.url)
        body = json.dumps(event, indent=2).encode()
        headers = {"Content-Type": "application/json", "Stripe-Signature": signature(body, secret=self.secret, at=int(time.time()))}
        desk = http.client.HTTPConnection(target.hostname or "", target.port, timeout=_TIMEOUT)
        try:
            desk.request("POST", target.path, body, headers)
            return desk.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            desk.close()
