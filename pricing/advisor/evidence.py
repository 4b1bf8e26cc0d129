"""Evidence: what the Advisor looks at, frozen as it was, so that a recommendation can be replayed.

One evidence is about one price rule. It compares a baseline window (how things were when the price was decided) with the
current one. Everything is an exact count or sum; shares and averages are computed from them, never stored.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

from config.base.exact import plain

REPORTED = "reported"  # the unit of a cost that the app stated itself, without units: one per request


@dataclass(frozen=True, slots=True)
class Consumed:
    """So much of one unit kind, and what the provider charged for it (book currency)."""

    quantity: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True)
class ModelUse:
    """What one model did in a window. `units` is keyed by `pricing.units.UnitKind` or `REPORTED`; priced usage only."""

    provider: str
    model: str
    service_tier: str
    batch: bool
    requests: int  # calls to the provider, retries and fallbacks among them
    units: Mapping[str, Consumed]


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in `[start, end)` to the events of one rule. Money in the book currency.

    `events` counts all of them and `unpriced` those without a known cost; every other figure, `credits` and `value` among
    them, is of the rest. So all averages divide by `costed`: what an event brought in and what it cost are then about the
    same events, and an unknown cost is never taken for nothing.
    """

    start: datetime
    end: datetime
    events: int  # records that the rule priced
    failed: int  # of them without an accepted output
    retries: int
    fallbacks: int
    unpriced: int  # of them without a known cost: in no other figure of the window
    credits: Decimal
    value: Decimal  # what customers had paid for these credits: packs, discounts and promotions are in it
    cost: Decimal
    cost_p50: Decimal
    cost_p95: Decimal
    models: tuple[ModelUse, ...]  # ordered by provider, model, tier, batch

    @property
    def costed(self) -> int:
        """The number of events whose cost is known."""
        return self.events - self.unpriced


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a recommendation stands on."""

    rule: str
    version: int
    definition: Mapping[str, Any]  # the price in force, as `Definition.as_json` writes it
    as_of: datetime
    currency: str
    baseline: Window | None  # None: the rule is too young to compare
    current: Window
    last_change_at: datetime | None
    price_version_ids: tuple[int, ...] = ()
    rate_ids: tuple[int, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Write the evidence as it is stored; `from_json` reads it back equal."""
        return {
            "rule": self.rule,
            "version": self.version,
            "definition": dict(self.definition),
            "as_of": self.as_of.isoformat(),
            "currency": self.currency,
            "baseline": _window_json(self.baseline) if self.baseline else None,
            "current": _window_json(self.current),
            "last_change_at": self.last_change_at.isoformat() if self.last_change_at else None,
            "price_version_ids": list(self.price_version_ids),
            "rate_ids": list(self.rate_ids),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(
            rule=row["rule"],
            version=row["version"],
            definition=row["definition"],
            as_of=datetime.fromisoformat(row["as_of"]),
            currency=row["currency"],
            baseline=_window(row["baseline"]) if row["baseline"] else None,
            current=_window(row["current"]),
            last_change_at=datetime.fromisoformat(row["last_change_at"]) if row["last_change_at"] else None,
            price_version_ids=tuple(row["price_version_ids"]),
            rate_ids=tuple(row["rate_ids"]),
            notes=tuple(row["notes"]),
        )

    @property
    def hash(self) -> str:
        """Return the SHA-256 of the canonical JSON, in hex."""
        return digest(self.as_json())


def digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of `document` in its one canonical spelling."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()


def canonical(document: Mapping[str, Any]) -> str:
    """Spell `document` in the one way that equal documents share."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _window_json(window: Window) -> dict[str, Any]:
    return {
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "events": window.events,
        "failed": window.failed,
        "retries": window.retries,
        "fallbacks": window.fallbacks,
        "unpriced": window.unpriced,
        "credits": plain(window.credits),
        "value": plain(window.value),
        "cost": plain(window.cost),
        "cost_p50": plain(window.cost_p50),
        "cost_p95": plain(window.cost_p95),
        "models": [
            {
                "provider": use.provider,
                "model": use.model,
                "service_tier": use.service_tier,
                "batch": use.batch,
                "requests": use.requests,
                "units": {unit: {"quantity": plain(used.quantity), "cost": plain(used.cost)} for unit, used in sorted(use.units.items())},
            }
            for use in window.models
        ],
    }


def _window(row: Mapping[str, Any]) -> Window:
    return Window(
        start=datetime.fromisoformat(row["start"]),
        end=datetime.fromisoformat(row["end"]),
        events=row["events"],
        failed=row["failed"],
        retries=row["retries"],
        fallbacks=row["fallbacks"],
        unpriced=row["unpriced"],
        credits=Decimal(row["credits"]),
        value=Decimal(row["value"]),
        cost=Decimal(row["cost"]),
        cost_p50=Decimal(row["cost_p50"]),
        cost_p95=Decimal(row["cost_p95"]),
        models=tuple(
            ModelUse(
                provider=use["provider"],
                model=use["model"],
                service_tier=use["service_tier"],
                batch=use["batch"],
                requests=use["requests"],
                units={unit: Consumed(Decimal(used["quantity"]), Decimal(used["cost"])) for unit, used in use["units"].items()},
            )
            for use in row["models"]
        ),
    )
