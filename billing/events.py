"""Events: what an app reports, and what it is told. Pure; no database.

An `Event` is one product action after validation; `charge` answers it with a `Charged` or a `Refused`. Nothing in an
event is trusted for money: the price comes from our rules, the cost from our catalogue.

What is made anew for every event is a named tuple: as immutable as a frozen dataclass, and made in half the time.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from billing.budgeting import Standing
from pricing.cost import Cost
from pricing.units import Usage

# Apps may run ahead of us by this much; a price change therefore takes effect no sooner than this after its publication.
MAX_CLOCK_SKEW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Caller:
    """Who reports: a project in one environment, by an API key (None: an import or an operator)."""

    project_id: int
    project_key: str
    environment: str
    team_id: int | None = None
    cost_center: str = ""
    api_key_id: int | None = None
    actor: str = "system:import"
    scopes: frozenset[str] = frozenset()
    rate_limit_per_minute: int | None = None
    # The generation of keys at which this was true; None: not from a cache.
    generation: int | None = None


class Route(NamedTuple):
    """How the request was routed (seed 004, "Route selected" and "Control behavior")."""

    endpoint: str = ""
    modality: str = ""
    service_tier: str = ""
    route_group: str = ""
    final_route: str = ""
    batch: bool = False
    stream: bool = False
    fallbacks: int = 0
    retries: int = 0
    gateway_log_id: str = ""
    batch_job_id: str = ""


class Outcome(NamedTuple):
    """How it went (seed 004, "Reliability")."""

    status: str = ""
    status_code: int | None = None
    error_class: str = ""
    latency_ms: int | None = None
    ttft_ms: int | None = None
    accepted: bool | None = None
    duration_ms: int | None = None
    timeout_reason: str = ""


class Owner(NamedTuple):
    """Who answers for it (seed 004, "Ownership" and "Environment and workflow")."""

    workflow: str = ""
    run_id: str = ""
    job_id: str = ""
    agent_type: str = ""
    user: str = ""
    cost_center: str = ""
    service_account: str = ""


class Overage(StrEnum):
    """What a capture does when the action costs more than was held."""

    REFUSE = "refuse"  # the capture fails and the hold stays open
    AVAILABLE = "available"  # take what the wallet has, waive the rest
    ALLOW = "allow"  # charge all of it; what is missing becomes overdraft


class Capture(NamedTuple):
    """The hold that an event ends."""

    hold_id: int
    overage: Overage = Overage.REFUSE


class Event(NamedTuple):
    """One product action. `customer` None is internal usage: owner, cost and budgets, but no wallet."""

    caller: Caller
    event: str
    idempotency_key: str
    body_hash: bytes
    customer: str | None = None
    quantity: Decimal = Decimal(1)
    occurred_at: datetime | None = None
    usage: Usage | None = None
    route: Route = Route()
    outcome: Outcome = Outcome()
    owner: Owner = Owner()
    provider_cost: Decimal | None = None
    trace_id: str = ""
    metadata: Mapping[str, Any] = MappingProxyType({})
    request_id: str = ""
    capture: Capture | None = None


class LotPart(NamedTuple):
    """Credits that one lot paid (positive)."""

    lot_id: int
    credits: Decimal


class Charged(NamedTuple):
    """An event as it was recorded: enough to answer it, the first time and every time."""

    record_id: int
    event: str
    customer: str | None
    credits: Decimal
    balance: Decimal | None
    available: Decimal | None
    rule: str | None
    version: int | None
    price_lines: list[dict[str, str]]
    lots: tuple[LotPart, ...]
    cost: Cost
    occurred_at: datetime
    recorded_at: datetime
    request_id: str
    hold_id: int | None = None
    replayed: bool = False
    budgets: tuple[Standing, ...] = ()  # as they stand now, also when the rest tells what was


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that changed nothing. `code` is stable; `figures` are what the caller needs to act."""

    code: str
    detail: str
    figures: Mapping[str, Any] = field(default_factory=dict)


Result = Charged | Refused


def facts(said: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return those fields of an event, by name, that are not as usual: what makes it another event than its neighbour.

    What is at its default does not count, so that a field that is added one day changes no hash of an event without it.
    """
    usual = Event._field_defaults
    return [
        (name, _facts_of(value) if isinstance(value, tuple) else value)
        for name, value in said.items()
        if name not in usual or value != usual[name]
    ]


def _facts_of(part: Any) -> list[tuple[str, Any]]:
    usual = part._field_defaults
    return [(name, value) for name, value in zip(part._fields, part, strict=True) if name not in usual or value != usual[name]]


def body_hash(operation: str, content: bytes) -> bytes:
    """Return 16 bytes that are equal for equal bodies of the same operation."""
    return hashlib.blake2b(f"{operation}\n".encode() + content, digest_size=16).digest()
