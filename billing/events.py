"""Events: what an app reports, and what it is told. Pure; no database.

An `Event` is one product action after validation; `charge` answers it with a `Charged` or a `Refused`. Nothing in an
event is trusted for money: the price comes from our rules, the cost from our catalogue.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Route:
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went (seed 004, "Reliability")."""

    status: str = ""
    status_code: int | None = None
    error_class: str = ""
    latency_ms: int | None = None
    ttft_ms: int | None = None
    accepted: bool | None = None
    duration_ms: int | None = None
    timeout_reason: str = ""


@dataclass(frozen=True, slots=True)
class Owner:
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


@dataclass(frozen=True, slots=True)
class Capture:
    """The hold that an event ends."""

    hold_id: int
    overage: Overage = Overage.REFUSE


@dataclass(frozen=True, slots=True)
class Event:
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
    metadata: Mapping[str, Any] = field(default_factory=dict)
    request_id: str = ""
    capture: Capture | None = None


@dataclass(frozen=True, slots=True)
class LotPart:
    """Credits that one lot paid (positive)."""

    lot_id: int
    credits: Decimal


@dataclass(frozen=True, slots=True)
class Charged:
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


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that changed nothing. `code` is stable; `figures` are what the caller needs to act."""

    code: str
    detail: str
    figures: Mapping[str, Any] = field(default_factory=dict)


Result = Charged | Refused


def body_hash(operation: str, content: str) -> bytes:
    """Return 16 bytes that are equal for equal bodies of the same operation."""
    return hashlib.blake2b(f"{operation}\n{content}".encode(), digest_size=16).digest()
