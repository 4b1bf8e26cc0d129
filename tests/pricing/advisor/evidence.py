"""Evidence for tests, made up: windows of a chat reply at 4 credits, with whatever a test changes."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from pricing.advisor.evidence import Consumed, Evidence, ModelUse, Window
from pricing.advisor.policy import Policy

AS_OF: Final = datetime(2026, 11, 1, tzinfo=UTC)
POLICY: Final = Policy(
    target_margin=Decimal("0.6"),
    tolerance=Decimal("0.02"),
    max_step=Decimal("0.25"),
    cooldown_days=14,
    minimum_events=200,
    max_unpriced=Decimal("0.05"),
    credit_value=Decimal("0.005"),
)
FLAT: Final[dict[str, Any]] = {
    "credits_per_event": "4",
    "components": [],
    "tiers": [],
    "minimum": "0",
    "rounding_step": "1",
    "rounding_mode": "half_up",
}


def a_model(model: str, requests: int, units: dict[str, tuple[str, str]], **route: Any) -> ModelUse:
    """Return what `model` did; `units` gives a quantity and its cost for each kind."""
    consumed = {unit: Consumed(Decimal(quantity), Decimal(cost)) for unit, (quantity, cost) in units.items()}
    given: dict[str, Any] = {"provider": "acme", "model": model, "service_tier": "standard", "batch": False} | route
    return ModelUse(**given, requests=requests, units=consumed)


def a_window(*models: ModelUse, **figures: Any) -> Window:
    """Return a window of 1,000 events that brought in 4 credits at half a cent each; its cost is that of `models`."""
    given: dict[str, Any] = {
        "start": datetime(2026, 10, 4, tzinfo=UTC),
        "end": AS_OF,
        "events": 1000,
        "failed": 0,
        "retries": 0,
        "fallbacks": 0,
        "unpriced": 0,
        "credits": "4000",
        "value": "20",
        "cost": sum((used.cost for use in models for used in use.units.values()), Decimal(0)),
        "cost_p50": "0.003",
        "cost_p95": "0.009",
    } | figures
    money = {name: Decimal(given[name]) for name in ("credits", "value", "cost", "cost_p50", "cost_p95")}
    return Window(**given | money, models=models)


def at_cost(cost: str, **figures: Any) -> Window:
    """Return a window of 1,000 events in which one model's input tokens cost `cost` in all."""
    return a_window(a_model("small", 1000, {"input": ("1000000", cost)}), **figures)


def an_evidence(current: Window, baseline: Window | None = None, **facts: Any) -> Evidence:
    """Return evidence for a flat price of 4 whole credits that was never changed."""
    given: dict[str, Any] = {
        "rule": "chat.reply/default",
        "version": 1,
        "definition": FLAT,
        "as_of": AS_OF,
        "currency": "USD",
        "last_change_at": None,
    } | facts
    return Evidence(**given, baseline=baseline, current=current)
