"""Prices to propose, and an Advisor that recommends what a test needs."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth.models import User

from config.base.exact import CREDIT_STEP, ZERO, Rounding
from pricing.advisor.evidence import Evidence, Window
from pricing.advisor.policy import Policy
from pricing.definition import Definition
from pricing.models import PriceRule, PriceVersion, Proposal
from pricing.services import advising, prices, proposals
from tests.pricing.factories import NOW

TOMORROW: Final = NOW + timedelta(days=1)
POLICY: Final = Policy(Decimal("0.6"), Decimal("0.02"), Decimal("0.25"), 14, 200, Decimal("0.05"), Decimal("0.01"))


@dataclass(frozen=True)
class Recommended:
    """As much of a recommendation as a proposal needs."""

    verdict: str
    definition: Definition | None
    headline: str
    because: str = "margin 46.4 %, target 60.0 %"

    def as_json(self) -> dict[str, Any]:
        return {"verdict": self.verdict, "headline": self.headline}


def a_price(credits: str = "5", **terms: Any) -> Definition:
    usual: dict[str, Any] = {
        "components": (),
        "tiers": (),
        "minimum": ZERO,
        "rounding_step": CREDIT_STEP,
        "rounding_mode": Rounding.HALF_UP,
    }
    return Definition(Decimal(credits), **usual | terms)


def a_proposal(rule: PriceRule, actor: User, **change: Any) -> Proposal:
    """Propose 5 credits from tomorrow on."""
    typed: dict[str, Any] = {"definition": a_price(), "reason": "Costs rose", "effective_from": TOMORROW, "now": NOW}
    return proposals.propose(rule=rule, actor=actor, **typed | change)


def an_advice(credits: str, verdict: str = "raise") -> Recommended:
    return Recommended(verdict, a_price(credits), "Raise it")


def evidence_of(rule: PriceRule, *, events: int = 500) -> Evidence:
    latest = rule.versions.order_by("-number").first()
    assert latest is not None
    figures = {name: Decimal(1) for name in ("credits", "value", "cost", "cost_p50", "cost_p95")}
    current = Window(NOW - timedelta(days=28), NOW, events, 0, 0, 0, 0, models=(), **figures)
    return Evidence(str(rule), latest.number, latest.definition().as_json(), NOW, "USD", None, current, None)


def advised(rule: PriceRule, **change: Any) -> Proposal | None:
    """Let the Advisor recommend 5 credits."""
    usual = {"evidence": None, "policy": POLICY, "recommendation": an_advice("5"), "backtest": None, "now": NOW}
    given = usual | change
    return advising.advise(rule=rule, **given | {"evidence": given["evidence"] or evidence_of(rule)})


def another_version(rule: PriceRule) -> PriceVersion:
    """Let the rule change beside all proposals."""
    return prices.publish_version(rule=rule, credits_per_event=Decimal(9), effective_from=TOMORROW, reason="Otherwise", actor=None, now=NOW)
