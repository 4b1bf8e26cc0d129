from decimal import Decimal

from config.base.exact import Rounding
from pricing.advisor.recommendation import Drift, Finding, Guardrail, Margins, Part, PerEvent, Recommendation, Verdict
from pricing.definition import Definition
from pricing.price import Component, Tier

RAISED = Recommendation(
    verdict=Verdict.RAISE,
    headline="Raise the price by 12.0 %.",
    rationale=("Provider prices rose.",),
    margin=Margins(Decimal("0.61"), Decimal("0.52"), Decimal("0.60"), Decimal("0.60")),
    baseline=PerEvent(Decimal("0.04"), Decimal("0.0156"), Decimal(4)),
    current=PerEvent(Decimal("0.04"), Decimal("0.0192"), Decimal(4)),
    drift=Drift("USD", Decimal("-0.0036"), (Part("provider_price", Decimal("-0.0036"), Decimal(1), "Provider prices rose."),)),
    diagnosis=(Finding("provider_price", "Provider prices rose.", "Change the price."),),
    guardrails=(Guardrail("rounding", clamped=True, before=Decimal("1.09"), after=Decimal("1.12"), sentence="Rounded up."),),
    definition=Definition(
        Decimal("4.5"), (Component("output", Decimal("0.5"), 1000),), (Tier(Decimal(10), Decimal(3)),), Decimal(1), Decimal(1), Rounding.UP
    ),
    factor=Decimal("1.12"),
    evidence_hash="00",
)
SILENT = Recommendation(
    verdict=Verdict.WITHHOLD,
    headline="No advice.",
    rationale=(),
    margin=Margins(None, None, Decimal("0.60"), None),
    baseline=None,
    current=None,
    drift=None,
    diagnosis=(),
    guardrails=(Guardrail("minimum_sample", clamped=True, before=None, after=None, sentence="No events."),),
    definition=None,
    factor=None,
    evidence_hash="00",
)


class TestJson:
    def test_is_read_back_equal(self) -> None:
        assert Recommendation.from_json(RAISED.as_json()) == RAISED
        assert Recommendation.from_json(SILENT.as_json()) == SILENT

    def test_decimals_are_strings_and_what_is_missing_is_null(self) -> None:
        assert RAISED.as_json()["margin"] == {"baseline": "0.61", "current": "0.52", "target": "0.6", "suggested": "0.6"}
        assert RAISED.as_json()["per_event"]["current"] == {"value": "0.04", "cost": "0.0192", "credits": "4"}
        assert SILENT.as_json()["per_event"] == {"baseline": None, "current": None}
        assert SILENT.as_json()["guardrails"][0]["before"] is None
