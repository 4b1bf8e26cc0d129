from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.advisor.evidence import Evidence, canonical
from pricing.advisor.policy import Policy
from pricing.advisor.recommend import Recommendation, Verdict, recommend
from pricing.definition import check
from tests.pricing.advisor.evidence import AS_OF, FLAT, POLICY, a_model, a_window, an_evidence, at_cost
from tests.pricing.advisor.strategies import evidences, policies, unhurried

FREE = FLAT | {"credits_per_event": "0"}


def closed(said: Recommendation) -> list[str]:
    return [rail.name for rail in said.guardrails if rail.clamped]


class TestProperties:
    @unhurried
    @given(evidences(), policies)
    def test_the_same_question_has_the_same_answer_byte_for_byte(self, evidence: Evidence, policy: Policy) -> None:
        said = recommend(evidence, policy)
        again = recommend(Evidence.from_json(evidence.as_json()), Policy.from_json(policy.as_json()))
        assert canonical(said.as_json()) == canonical(again.as_json())
        assert Recommendation.from_json(said.as_json()).as_json() == said.as_json()

    @unhurried
    @given(evidences(), policies)
    def test_there_is_a_price_exactly_where_one_is_suggested(self, evidence: Evidence, policy: Policy) -> None:
        said = recommend(evidence, policy)
        is_priced = said.verdict in {Verdict.RAISE, Verdict.LOWER}
        assert [said.definition is not None, said.factor is not None, said.margin.suggested is not None] == [is_priced] * 3
        assert said.headline.endswith(".")
        assert all(sentence.endswith(".") for sentence in said.rationale)
        if said.definition:
            assert check(said.definition) == []
            assert said.definition.as_json() != evidence.definition
            assert not {"cooldown", "minimum_sample", "maximum_unpriced"} & set(closed(said))

    @unhurried
    @given(st.lists(st.decimals(0, 100, places=6), min_size=2, max_size=2).map(sorted), policies, st.sampled_from(["1", "4", "4.5", "100"]))
    def test_a_higher_cost_is_never_a_lower_price(self, costs: list[Decimal], policy: Policy, credits: str) -> None:
        price = FLAT | {"credits_per_event": credits, "rounding_step": "0.5"}
        policy = replace(policy, minimum_events=1)
        said = [recommend(an_evidence(at_cost(str(cost)), definition=price), policy) for cost in costs if cost]
        asked = [one.definition.credits_per_event if one.definition else Decimal(credits) for one in said]
        assert asked == sorted(asked)


class TestTooLittleToGoBy:
    def test_no_events(self) -> None:
        said = recommend(an_evidence(a_window(events=0, credits="0", value="0")), POLICY)
        assert (said.verdict, said.current, said.margin.current, said.drift) == (Verdict.WITHHOLD, None, None, None)
        assert said.headline == "No advice on chat.reply/default: 0 events have a known provider cost; 200 are needed."
        assert closed(said) == ["minimum_sample"]

    def test_a_minimum_of_none_still_asks_for_one(self) -> None:
        policy = replace(POLICY, minimum_events=0)
        assert recommend(an_evidence(a_window(events=0, credits="0", value="0")), policy).verdict == Verdict.WITHHOLD

    def test_all_unpriced(self) -> None:
        said = recommend(an_evidence(a_window(unpriced=1000, credits="0", value="0")), POLICY)
        assert (said.verdict, said.current) == (Verdict.WITHHOLD, None)
        assert closed(said) == ["minimum_sample", "maximum_unpriced"]

    def test_too_many_unpriced(self) -> None:
        assert recommend(an_evidence(at_cost("12", unpriced=50)), POLICY).verdict == Verdict.RAISE
        said = recommend(an_evidence(at_cost("12", unpriced=51)), POLICY)
        assert said.verdict == Verdict.WITHHOLD
        assert said.headline == (
            "No advice on chat.reply/default: the provider cost of 5.1 % of the events is unknown; at most 5.0 % may be."
        )

    def test_the_sample_is_of_events_with_a_known_cost(self) -> None:
        policy = replace(POLICY, max_unpriced=Decimal("0.9"))
        assert recommend(an_evidence(at_cost("12", unpriced=800)), policy).verdict == Verdict.RAISE
        assert recommend(an_evidence(at_cost("12", unpriced=801)), policy).verdict == Verdict.WITHHOLD

    def test_a_thin_baseline_is_not_compared_with(self) -> None:
        said = recommend(an_evidence(at_cost("12"), at_cost("3", events=199)), POLICY)
        assert (said.verdict, said.drift, said.baseline, said.diagnosis) == (Verdict.RAISE, None, None, ())
        assert any("too few events of known cost to compare with" in sentence for sentence in said.rationale)

    def test_no_baseline(self) -> None:
        said = recommend(an_evidence(at_cost("12")), POLICY)
        assert (said.drift, said.margin.baseline) == (None, None)
        assert "There is nothing to compare with, so nothing is said about why the margin changed." in said.rationale

    def test_nothing_was_charged(self) -> None:
        said = recommend(an_evidence(at_cost("12", credits="0", value="0")), POLICY)
        assert (said.verdict, said.margin.current) == (Verdict.WITHHOLD, None)
        assert said.headline == "No advice on chat.reply/default: its events brought in no credits."


class TestCooldown:
    def test_a_price_rests_after_a_change(self) -> None:
        fresh = recommend(an_evidence(at_cost("12"), last_change_at=AS_OF - timedelta(days=13, hours=23)), POLICY)
        assert (fresh.verdict, fresh.definition, closed(fresh)) == (Verdict.WITHHOLD, None, ["maximum_step", "cooldown"])
        assert fresh.headline == (
            "No advice on chat.reply/default yet: the price changed 13 days ago; it rests for 14 days after a change."
        )
        rested = recommend(an_evidence(at_cost("12"), last_change_at=AS_OF - timedelta(days=14)), POLICY)
        assert rested.verdict == Verdict.RAISE

    def test_a_change_after_the_last_whole_day_is_fresh(self) -> None:
        said = recommend(an_evidence(at_cost("12"), last_change_at=AS_OF + timedelta(hours=5)), POLICY)
        assert said.verdict == Verdict.WITHHOLD
        assert "0 days ago" in said.headline


class TestNearTheTarget:
    @pytest.mark.parametrize(
        ("cost", "verdict"),
        [("7.6", Verdict.LOWER), ("7.61", Verdict.KEEP), ("8", Verdict.KEEP), ("8.4", Verdict.KEEP), ("8.41", Verdict.RAISE)],
    )
    def test_the_tolerance(self, cost: str, verdict: Verdict) -> None:
        # 8 of 20 leave exactly 60 %; the tolerance of two points is 0.4.
        policy = replace(POLICY, tolerance=Decimal("0.0199")) if cost == "7.6" else POLICY
        fine = FLAT | {"rounding_step": "0.01"}
        assert recommend(an_evidence(at_cost(cost), definition=fine), policy).verdict == verdict

    def test_a_target_of_nothing(self) -> None:
        policy = replace(POLICY, target_margin=Decimal(0))
        said = recommend(an_evidence(at_cost("22")), policy)
        assert (said.verdict, said.definition and said.definition.credits_per_event) == (Verdict.RAISE, 5)
        assert recommend(an_evidence(at_cost("20")), policy).verdict == Verdict.KEEP

    def test_no_price_meets_a_target_of_everything(self) -> None:
        with pytest.raises(ValueError, match="below 1"):
            recommend(an_evidence(at_cost("8")), replace(POLICY, target_margin=Decimal(1)))


class TestOddPrices:
    def test_free_events_stay_free(self) -> None:
        said = recommend(an_evidence(at_cost("12", credits="0", value="0"), definition=FREE), POLICY)
        assert (said.verdict, said.headline) == (
            Verdict.KEEP,
            "Leave chat.reply/default free: the Advisor moves prices and does not invent them.",
        )

    def test_no_cost(self) -> None:
        assert recommend(an_evidence(a_window()), POLICY).verdict == Verdict.KEEP

    def test_a_negative_margin(self) -> None:
        said = recommend(an_evidence(at_cost("50")), POLICY)
        assert (said.verdict, said.margin.current, said.margin.suggested) == (Verdict.RAISE, Decimal("-1.5"), Decimal(-1))
        assert "still costs more than it brings in" in " ".join(said.rationale)

    def test_credits_that_nobody_paid_for_are_taken_at_the_workspaces_value(self) -> None:
        said = recommend(an_evidence(at_cost("12", value="0")), POLICY)
        assert said.current is not None
        assert (said.verdict, said.current.value) == (Verdict.RAISE, Decimal("0.02"))
        assert "None of these credits was paid for: each is taken at 0.005 USD, the credit value of the workspace." in said.rationale

    def test_a_price_that_could_not_be_published_is_not_moved(self) -> None:
        said = recommend(an_evidence(at_cost("12"), definition=FLAT | {"minimum": "0.5"}), POLICY)
        assert said.verdict == Verdict.WITHHOLD
        assert "minimum must be a multiple of the rounding step 1" in said.headline

    def test_huge_figures(self) -> None:
        huge = a_window(
            a_model("small", 10**15, {"input": ("9" * 24, "9" * 14)}), events=10**12, credits="9" * 20, value="9" * 14 + "." + "9" * 12
        )
        assert recommend(an_evidence(huge, huge), POLICY).verdict == Verdict.RAISE

    def test_a_lone_reported_cost(self) -> None:
        now = a_window(a_model("", 1000, {"reported": ("1000", "12")}))
        said = recommend(an_evidence(now, a_window(a_model("", 1000, {"reported": ("1000", "6")}))), POLICY)
        assert [finding.cause for finding in said.diagnosis] == ["provider_price"]
        assert said.verdict == Verdict.RAISE

    def test_components_are_scaled_and_the_backtest_is_pointed_to(self) -> None:
        price = FLAT | {"components": [{"unit": "output", "credits": "0.5", "per": 1000, "model_class": "", "models": []}]}
        said = recommend(an_evidence(at_cost("9"), definition=price), POLICY)
        assert said.definition is not None
        assert (said.definition.credits_per_event, said.definition.components[0].credits) == (Decimal("4.5"), Decimal("0.563"))
        assert said.headline.startswith("Raise the figures of chat.reply/default (12.5 % more): ")
        assert said.rationale[-1] == "The minimum and the rounding of each event are not in this estimate; the backtest counts them."


class TestFaults:
    BEFORE = at_cost("6")  # 70 %

    def test_a_small_fall_does_not_hold_a_price_back(self) -> None:
        # From 55 % to 54.5 % by repeats alone: that is not why the price is too low.
        now = a_window(a_model("small", 1010, {"input": ("1011111", "9.1")}), retries=10)
        said = recommend(an_evidence(now, at_cost("9")), POLICY)
        assert said.verdict == Verdict.RAISE

    def test_failures_that_gave_credits_back(self) -> None:
        # Every fourth event failed and brought in nothing: 3 credits instead of 4.
        said = recommend(
            an_evidence(at_cost("6", credits="3000", value="15", failed=250), self.BEFORE), replace(POLICY, target_margin=Decimal("0.7"))
        )
        assert (said.verdict, [finding.cause for finding in said.diagnosis]) == (Verdict.FIX, ["failures"])
        assert said.diagnosis[0].sentence.endswith("Failed events bring in nothing, and 25.0 % instead of 0.0 % of the events failed.")

    def test_fewer_credits_without_failures_are_no_fault(self) -> None:
        said = recommend(an_evidence(at_cost("6", credits="3000", value="15"), self.BEFORE), replace(POLICY, target_margin=Decimal("0.7")))
        assert (said.verdict, [finding.cause for finding in said.diagnosis]) == (Verdict.RAISE, ["credits"])

    def test_no_diagnosis_of_a_rise(self) -> None:
        said = recommend(an_evidence(at_cost("5"), self.BEFORE), POLICY)
        assert (said.verdict, said.diagnosis) == (Verdict.LOWER, ())

    def test_a_fault_near_the_target_is_named_and_the_price_kept(self) -> None:
        calls = a_model("small", 1300, {"input": ("1300000", "7.8")})
        said = recommend(an_evidence(a_window(calls, retries=300), self.BEFORE), POLICY)
        assert (said.verdict, [finding.cause for finding in said.diagnosis]) == (Verdict.KEEP, ["retries"])

    def test_a_fault_is_told_while_the_price_rests(self) -> None:
        calls = a_model("small", 2000, {"input": ("2000000", "12")})
        said = recommend(an_evidence(a_window(calls, retries=1000), self.BEFORE, last_change_at=AS_OF - timedelta(days=1)), POLICY)
        assert said.verdict == Verdict.FIX


class TestBecause:
    """A recommendation in a few words, for a list of prices."""

    def test_of_a_margin(self) -> None:
        assert recommend(an_evidence(at_cost("12")), POLICY).because == "margin 40.0 %, target 60.0 %"

    def test_of_what_is_withheld(self) -> None:
        said = recommend(an_evidence(at_cost("12", unpriced=51)), POLICY)
        assert said.because == "the provider cost of 5.1 % of the events is unknown; at most 5.0 % may be"

    def test_of_a_price_that_rests(self) -> None:
        said = recommend(an_evidence(at_cost("12"), last_change_at=AS_OF - timedelta(days=3)), POLICY)
        assert said.because == "the price changed 3 days ago; it rests for 14 days after a change"

    def test_of_what_is_to_be_mended(self) -> None:
        calls = a_model("m", 2000, {"input": ("2000000", "12")})
        said = recommend(an_evidence(a_window(calls, retries=1000), at_cost("6")), POLICY)
        assert (said.verdict, said.because) == (Verdict.FIX, "retries and fallbacks")
