"""Proposals as rows: one of the Advisor with all that it may hold, and a person's bare one."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth.models import User
from django.utils import timezone

from pricing.advisor.evidence import Consumed, Evidence, ModelUse, Window
from pricing.advisor.policy import Policy
from pricing.models import PriceRule, PriceVersion
from pricing.models.proposal import Proposal, ProposalSource
from tests.pricing.factories import LAST_YEAR, PriceRuleFactory, PriceVersionFactory

AS_OF: Final = datetime(2026, 11, 20, tzinfo=UTC)
POLICY: Final = Policy(
    target_margin=Decimal("0.60"),
    tolerance=Decimal("0.02"),
    max_step=Decimal("0.25"),
    cooldown_days=14,
    minimum_events=200,
    max_unpriced=Decimal("0.05"),
    credit_value=Decimal("0.01"),
)
PARTS: Final = {
    "provider_price": "-0.0021",
    "model_mix": "-0.0013",
    "tokens": "-0.0008",
    "cache": "-0.0004",
    "retries": "-0.0002",
    "credits": "0",
    "credit_value": "-0.0012",
}


def a_rule(event: str = "chat.reply", *, credits: str = "4", **fields: Any) -> PriceRule:
    """Make a rule with one version in force since last year."""
    rule: PriceRule = PriceRuleFactory.create(event_type__name=event, **fields)
    PriceVersionFactory.create(rule=rule, credits_per_event=Decimal(credits), effective_from=LAST_YEAR)
    return rule


def a_definition(credits: str = "4.5", **figures: Any) -> dict[str, Any]:
    flat = {"components": [], "tiers": [], "minimum": "0", "rounding_step": "0.000001", "rounding_mode": "half_up"}
    return {"credits_per_event": credits, **flat, **figures}


def a_window(end: datetime, *, cost: str, value: str) -> Window:
    tokens = {"input": Consumed(Decimal(6_400_000), Decimal(9)), "output": Consumed(Decimal(900_000), Decimal(cost) - 9)}
    return Window(
        start=end - timedelta(days=28),
        end=end,
        events=1600,
        failed=24,
        retries=61,
        fallbacks=7,
        unpriced=16,
        credits=Decimal(6400),
        value=Decimal(value),
        cost=Decimal(cost),
        cost_p50=Decimal("0.0121"),
        cost_p95=Decimal("0.0464"),
        models=(ModelUse("anthropic", "claude-sonnet-4-5", "standard", batch=False, requests=1661, units=tokens),),
    )


def some_evidence(version: PriceVersion) -> Evidence:
    return Evidence(
        rule=str(version.rule),
        version=version.number,
        definition=version.definition().as_json(),
        as_of=AS_OF,
        currency="USD",
        baseline=a_window(AS_OF - timedelta(days=90), cost="25.6", value="64"),
        current=a_window(AS_OF, cost="33.28", value="62.08"),
        last_change_at=LAST_YEAR,
        price_version_ids=(version.pk,),
        rate_ids=(11, 12),
        notes=("16 events without a known cost were left out.",),
    )


def a_recommendation(evidence_hash: str, **fields: Any) -> dict[str, Any]:
    return {
        "verdict": "raise",
        "definition": a_definition(),
        "factor": "1.125",
        "margin": {"baseline": "0.6", "current": "0.463917", "target": "0.6", "suggested": "0.5235"},
        "per_event": {
            "baseline": {"value": "0.04", "cost": "0.016", "credits": "4"},
            "current": {"value": "0.0388", "cost": "0.0208", "credits": "4"},
        },
        "drift": {
            "currency": "USD",
            "total": "-0.006",
            "parts": [
                {
                    "name": name,
                    "amount": amount,
                    "share": str(Decimal(amount) / Decimal("-0.006")),
                    "sentence": f"A sentence about {name}.",
                }
                for name, amount in PARTS.items()
            ],
        },
        "diagnosis": [{"cause": "retries", "sentence": "Retries rose from 2 % to 4 % of events.", "remedy": "Look at the time-outs."}],
        "guardrails": [
            {"name": "maximum step", "clamped": False, "before": "1.125", "after": "1.125", "sentence": "A price moves by at most 25 %."},
            {"name": "rounding", "clamped": True, "before": "1.3402", "after": "1.125", "sentence": "Rounded to halves of a credit."},
        ],
        "rationale": ["The margin fell from 60 % to 46.4 %.", "Most of it is the provider's price."],
        "headline": "Raise chat.reply by 12.5 %: its margin fell from 60 % to 46.4 %.",
        "evidence_hash": evidence_hash,
        **fields,
    }


def a_backtest(customers: int = 3, **fields: Any) -> dict[str, Any]:
    return {
        "start": (AS_OF - timedelta(days=28)).isoformat(),
        "end": AS_OF.isoformat(),
        "events": 1600,
        "credits_before": "6400",
        "credits_after": "7200",
        "value_before": "62.08",
        "value_after": "69.84",
        "cost": "33.28",
        "currency": "USD",
        "margin_before": "0.463917",
        "margin_after": "0.523482",
        "customers": {
            "up": customers,
            "down": 0,
            "same": 2,
            "top": [
                {"customer": f"user_{n}", "events": 100 - n, "credits_before": "400", "credits_after": f"{450 - n}", "delta": f"{50 - n}"}
                for n in range(min(customers, 50))
            ],
        },
        "wallets_at_zero": [{"customer": "user_1", "balance": "12", "would_have_ended_at": "2026-11-14T08:30:00+00:00"}],
        "wallets_at_zero_count": 1,
        "sampled": False,
        **fields,
    }


def an_advised_proposal(rule: PriceRule | None = None, **fields: Any) -> Proposal:
    """Make the Advisor's proposal to raise the price of `rule` from 4 to 4.5 credits."""
    rule = rule or a_rule()
    version = rule.versions.get()
    evidence = some_evidence(version)
    given = {
        "rule": rule,
        "base_version": version,
        "source": ProposalSource.ADVISOR,
        "definition": a_definition(),
        "reason": "Raise chat.reply by 12.5 %: its margin fell from 60 % to 46.4 %.",
        "evidence": evidence.as_json(),
        "evidence_hash": evidence.hash,
        "policy": POLICY.as_json(),
        "recommendation": a_recommendation(evidence.hash),
        "backtest": a_backtest(),
        "created_at": timezone.now() - timedelta(hours=30),
    }
    return Proposal.objects.create(**given | fields)


def a_persons_proposal(person: User, rule: PriceRule | None = None, **fields: Any) -> Proposal:
    """Make a proposal of 4.5 credits that has nothing but its reason."""
    rule = rule or a_rule()
    given = {
        "rule": rule,
        "base_version": rule.versions.first(),
        "source": ProposalSource.PERSON,
        "definition": a_definition(),
        "reason": "The new model costs more",
        "created_by": person,
        "created_at": timezone.now() - timedelta(hours=2),
    }
    return Proposal.objects.create(**given | fields)
