"""What the simulation knows, in one JSON file that is replaced as a whole."""

import json
import os
import secrets
import threading
import time
from pathlib import Path
from typing import Any

from config.demo.stripe.errors import missing
from config.demo.stripe.objects import Fields, declared, has_field

KEPT_SECONDS = 30 * 86_400  # Stripe lists events for so long
KEYS_KEPT_SECONDS = 86_400  # and knows an idempotency key for so long


class State:
    """All objects by id, the events in order, the answers by idempotency key. Hold `lock` while using it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        self.data: dict[str, Any] = {}
        self.clock: int | None = None  # a moment in the past, while history is made
        try:
            self.data = json.loads(path.read_text())
        except FileNotFoundError:
            self.forget()

    def forget(self) -> None:
        """Begin anew. The tag keeps ids of one life apart from those of another, as a database may remember them."""
        self.data = {
            "tag": secrets.token_hex(4),
            "last": 0,
            "objects": {},
            "facts": {},
            "events": [],
            "answers": {},
            "deliveries": [],
            "refunds": "succeeded",
            "minima": {},
        }
        self.clock = None

    def save(self) -> None:
        """Replace the file, or leave the old one whole. History is saved when it ends."""
        if self.clock is not None:
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        with fresh.open("w") as file:
            json.dump(self.data, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)

    def now(self) -> int:
        return int(time.time()) if self.clock is None else self.clock

    def new_id(self, prefix: str) -> str:
        self.data["last"] += 1
        return f"{prefix}_{self.data['tag']}{self.data['last']:06d}"

    def add(self, prefix: str, fields: Fields, **facts: Any) -> Fields:
        """Keep a new object; `facts` are what Stripe knows of it and does not tell."""
        usual = {"id": self.new_id(prefix), "created": self.now(), "livemode": False}
        fields = declared({name: value for name, value in usual.items() if has_field(fields, name)} | fields)
        self.data["objects"][fields["id"]] = fields
        self.data["facts"][fields["id"]] = facts
        return fields

    def find(self, kind: str, name: str) -> Fields:
        """Return the object `name`. Raises Refusal (404)."""
        found: Fields = self.data["objects"].get(name, {})
        if found.get("object") != kind:
            raise missing(kind.replace("_", " ").replace("checkout.", "checkout "), name)
        if kind == "balance_transaction" and found["available_on"] <= self.now():
            found["status"] = "available"
        return found

    def facts(self, name: str) -> dict[str, Any]:
        """Return what Stripe knows of an object and does not tell; may be written into."""
        facts: dict[str, Any] = self.data["facts"][name]
        return facts

    def all(self, kind: str) -> list[Fields]:
        """Return all objects of a kind, the newest first."""
        return [one for one in reversed(self.data["objects"].values()) if one["object"] == kind]

    def tell(self, kind: str, about: Fields) -> None:
        """Write an event about `about` as it is now, and queue it for the desk."""
        snapshot = json.loads(json.dumps(declared(about)))
        event = declared(
            {
                "id": self.new_id("evt"),
                "object": "event",
                "api_version": _version(),
                "created": self.now(),
                "data": {"object": snapshot},
                "livemode": False,
                "pending_webhooks": 1,
                "request": {"id": None, "idempotency_key": None},
                "type": kind,
            }
        )
        self.data["events"].append(event)
        if self.clock is None:
            self.data["deliveries"].append({"event": event["id"], "attempts": 0, "due": 0.0})
        else:
            self.clock += 1  # so that history has an order for whoever reads only the times

    def forget_old(self) -> int:
        """Drop what Stripe would no longer list or remember; return how much that was."""
        data, now = self.data, self.now()
        events = [event for event in data["events"] if event["created"] > now - KEPT_SECONDS]
        answers = {key: one for key, one in data["answers"].items() if one["at"] > now - KEYS_KEPT_SECONDS}
        dropped = len(data["events"]) - len(events) + len(data["answers"]) - len(answers)
        data.update(events=events, answers=answers)
        return dropped


def _version() -> str:
    import stripe

    return stripe.api_version
