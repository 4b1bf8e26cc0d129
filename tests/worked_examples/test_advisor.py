"""What the Pricing Advisor says, worked out by hand: why the margin fell, part by part, and which price follows."""

from decimal import Decimal

from pricing.advisor.drift import PARTS
from pricing.advisor.recommend import Recommendation, Verdict, recommend
from tests.pricing.advisor.evidence import FLAT, POLICY, a_model, a_window, an_evidence, at_cost

# When the price was young: 1,000 replies, one call each to the small model.
#   500 input tokens   at 4.00 per million   0.0020
#   500 from the cache at 0.40 per million   0.0002
#   100 output tokens  at 8.00 per million   0.0008    a call, and so a reply, costs 0.0030
# A reply brought in 4 credits at 0.005: 0.0200. The margin was 0.0170 per reply, 85 %.
SMALL_THEN = a_model("small", 1000, {"input": ("500000", "2.0"), "cache_read": ("500000", "0.2"), "output": ("100000", "0.8")})
THEN = a_window(SMALL_THEN)


def parts(said: Recommendation) -> list[tuple[str, Decimal]]:
    """Return the parts of the drift that moved anything."""
    assert said.drift is not None
    assert tuple(part.name for part in said.drift.parts) == PARTS
    return [(part.name, part.amount) for part in said.drift.parts if part.amount]


class TestEverythingAtOnce:
    """Seven things went wrong with the replies, and the price follows as far as it may."""

    # Now: 1,000 replies took 1,250 calls, 250 of them repeats; 750 went to the small model and 500 to a large one.
    #   small: 1,200 input      at 6.00 per million   0.00720
    #            300 from cache at 0.60 per million   0.00018
    #            150 output     at 8.00 per million   0.00120   a call costs 0.00858
    #   large: 1,000 input      at 5.00 per million   0.00500
    #            100 output     at 30.0 per million   0.00300   a call costs 0.00800
    # In all 750 x 0.00858 + 500 x 0.008 = 6.435 + 4 = 10.435, so 0.010435 per reply.
    # Replies brought in 3,800 credits (some failed and were given back) at 0.0045: 17.10, so 0.0171 per reply.
    NOW = a_window(
        a_model("large", 500, {"input": ("500000", "2.5"), "output": ("50000", "1.5")}),
        a_model("small", 750, {"input": ("900000", "5.4"), "cache_read": ("225000", "0.135"), "output": ("112500", "0.9")}),
        credits="3800",
        value="17.1",
        failed=50,
        retries=250,
    )
    SAID = recommend(an_evidence(NOW, THEN), POLICY)

    def test_the_drift(self) -> None:
        """One factor after the other is moved to what it is now; what a reply costs then is worked out each time.

        at first                                                                           0.003
        prices  500 x 6/M + 500 x 0.6/M + 100 x 8/M = 0.003 + 0.0003 + 0.0008              0.0041    + 0.0011
        mix     0.6 x 0.0041 + 0.4 x 0.008 = 0.00246 + 0.0032                              0.00566   + 0.00156
        tokens  small: 750 x 6/M + 750 x 0.6/M + 150 x 8/M = 0.00615; x 0.6, + 0.0032      0.00689   + 0.00123
        cache   small: 1200 x 6/M + 300 x 0.6/M + 150 x 8/M = 0.00858; x 0.6, + 0.0032     0.008348  + 0.001458
        calls   1.25 x 0.008348                                                            0.010435  + 0.002087

        Then what it brings in: at first 4 x 0.005 = 0.02
        credits 3.8 x 0.005                                                                0.019     - 0.001
        value   3.8 x 0.0045                                                               0.0171    - 0.0019

        The margin fell from 0.017 to 0.0171 - 0.010435 = 0.006665, by 0.010335; that is what the parts add up to.
        """
        assert parts(self.SAID) == [
            ("provider_price", Decimal("-0.0011")),
            ("model_mix", Decimal("-0.00156")),
            ("tokens", Decimal("-0.00123")),
            ("cache", Decimal("-0.001458")),
            ("retries", Decimal("-0.002087")),
            ("credits", Decimal("-0.001")),
            ("credit_value", Decimal("-0.0019")),
        ]
        assert self.SAID.drift is not None
        assert self.SAID.drift.total == Decimal("-0.010335")

    def test_the_sentences(self) -> None:
        """The shares: 0.0011 of 0.010335 are 10.6 %, and so on. The 50 failures are 5 % of 1,000 replies."""
        assert self.SAID.drift is not None
        assert [part.sentence for part in self.SAID.drift.parts] == [
            "Provider prices rose, above all small: 0.0011 USD more cost per event, 10.6 % of the fall.",
            (
                "Calls moved to dearer models, large took 40.0 % instead of 0.0 % of the calls: "
                "0.00156 USD more cost per event, 15.1 % of the fall."
            ),
            # 0.6 x 1,500 + 0.4 x 1,000 = 1,300 instead of 1,000; 0.6 x 150 + 0.4 x 100 = 130 instead of 100
            (
                "Use per call rose, 1,300 instead of 1,000 input tokens and 130 instead of 100 output tokens: "
                "0.00123 USD more cost per event, 11.9 % of the fall."
            ),
            # 0.6 x 300 = 180 of 1,300 instead of 0.6 x 750 = 450 of 1,300
            (
                "The provider's cache saved less, 13.8 % instead of 34.6 % of the input came from it: "
                "0.00146 USD more cost per event, 14.1 % of the fall."
            ),
            "An event took more calls, 1.25 instead of 1: 0.00209 USD more cost per event, 20.2 % of the fall.",
            "An event brought in fewer credits, 3.8 instead of 4: 0.001 USD less income per event, 9.7 % of the fall.",
            "Customers paid less for a credit, 0.0045 USD instead of 0.005 USD: 0.0019 USD less income per event, 18.4 % of the fall.",
        ]
        assert [finding.cause for finding in self.SAID.diagnosis] == [
            "retries",
            "credit_value",
            "model_mix",
            "cache",
            "tokens",
            "provider_price",
            "failures",
        ]

    def test_the_price(self) -> None:
        """Faults (calls, cache, failures) made 20.2 + 14.1 + 9.7 = 44.0 % of the fall, less than half: a price is in order.

        For 60 % a reply that costs 0.010435 has to bring in 0.010435 / 0.4 = 0.0260875, 1.525585 times 0.0171. It may rise
        by a quarter: 4 x 1.25 = 5 credits. They will bring in 0.0171 x 1.25 = 0.021375 and leave 0.01094, 51.2 %.
        """
        assert self.SAID.verdict == Verdict.RAISE
        assert self.SAID.headline == "Raise chat.reply/default from 4 to 5 credits (25.0 % more): its margin is 39.0 %, the target 60.0 %."
        assert self.SAID.definition is not None
        assert (self.SAID.definition.credits_per_event, self.SAID.factor) == (5, Decimal("1.25"))
        margin = self.SAID.margin
        assert (margin.baseline, margin.current, margin.suggested) == (Decimal("0.85"), Decimal("0.389766"), Decimal("0.511813"))
        assert [(rail.name, rail.clamped, rail.before, rail.after) for rail in self.SAID.guardrails] == [
            ("floor", False, Decimal("1.525585"), Decimal("1.525585")),
            ("maximum_step", True, Decimal("1.525585"), Decimal("1.25")),
            ("rounding", False, Decimal("1.25"), Decimal("1.25")),
            ("cooldown", False, Decimal("1.25"), Decimal("1.25")),
            ("minimum_sample", False, Decimal("1.25"), Decimal("1.25")),
            ("maximum_unpriced", False, Decimal("1.25"), Decimal("1.25")),
        ]


class TestFaults:
    def test_a_lost_cache_is_repaired_and_not_charged_for(self) -> None:
        """Nothing comes from the cache any more: 1,000 input tokens at 4 per million and 100 at 8 are 0.0048 per reply.

        The margin falls from 85 % to (0.02 - 0.0048) / 0.02 = 76 %, and all of it is the cache. The target is 90 %.
        """
        now = a_window(a_model("small", 1000, {"input": ("1000000", "4"), "output": ("100000", "0.8")}))
        policy = POLICY.from_json(POLICY.as_json() | {"target_margin": "0.9"})
        said = recommend(an_evidence(now, THEN), policy)
        assert parts(said) == [("cache", Decimal("-0.0018"))]
        assert (said.verdict, said.definition, said.margin.suggested) == (Verdict.FIX, None, None)
        assert said.headline == (
            "Repair before you raise chat.reply/default: its margin is 76.0 %, the target 90.0 %, "
            "and 100.0 % of the fall comes from faults."
        )
        assert [finding.cause for finding in said.diagnosis] == ["cache"]

    def test_repeats_are_a_fault_and_wanted_calls_are_not(self) -> None:
        """Replies take 3 calls of 0.003 instead of one: 0.009, a margin of 55 %. Two in three were repeats: repair.

        Were none of them repeats, agents work longer: 0.009 / 0.4 = 0.0225 is 1.125 x 0.02, so 4.5 credits, up to 5.
        """
        calls = a_model("small", 3000, {"input": ("1500000", "6.0"), "cache_read": ("1500000", "0.6"), "output": ("300000", "2.4")})
        repeated = recommend(an_evidence(a_window(calls, retries=1500, fallbacks=500), THEN), POLICY)
        assert (repeated.verdict, [finding.cause for finding in repeated.diagnosis]) == (Verdict.FIX, ["retries"])
        wanted = recommend(an_evidence(a_window(calls), THEN), POLICY)
        assert (wanted.verdict, [finding.cause for finding in wanted.diagnosis]) == (Verdict.RAISE, ["calls"])
        assert wanted.definition is not None
        assert wanted.definition.credits_per_event == 5


class TestSmallPrices:
    def test_four_credits(self) -> None:
        """A reply costs 0.0085; 0.0085 / 0.4 = 0.02125 is 1.0625 x 0.02, so 4.25 credits: rounded up, 5 is just within 25 %."""
        said = recommend(an_evidence(at_cost("8.5")), POLICY)
        assert said.definition is not None
        assert (said.verdict, said.definition.credits_per_event, said.factor) == (Verdict.RAISE, 5, Decimal("1.25"))

    def test_one_credit_cannot_rise_by_a_quarter(self) -> None:
        """A quarter of 1 credit is nothing that can be charged, and 2 credits would be twice the price: a person's decision."""
        said = recommend(an_evidence(at_cost("8.5"), definition=FLAT | {"credits_per_event": "1"}), POLICY)
        assert (said.verdict, said.definition) == (Verdict.KEEP, None)
        [rounding] = [rail for rail in said.guardrails if rail.name == "rounding"]
        assert (rounding.clamped, rounding.before, rounding.after) == (True, Decimal("1.0625"), 1)
        assert rounding.sentence == (
            "Prices have at most three digits that matter and are multiples of 1 credit: the next is 2 credits, "
            "which is beyond the maximum step, so the price stays."
        )

    def test_one_credit_charged_in_quarters_can(self) -> None:
        """With steps of a quarter of a credit, 1.0625 is rounded up to 1.25."""
        quarters = FLAT | {"credits_per_event": "1", "rounding_step": "0.25"}
        said = recommend(an_evidence(at_cost("8.5"), definition=quarters), POLICY)
        assert said.definition is not None
        assert (said.verdict, said.definition.credits_per_event) == (Verdict.RAISE, Decimal("1.25"))


class TestLowering:
    def test_customers_may_pay_less(self) -> None:
        """A reply costs 0.006, so 0.015 would do for 60 %: 3 credits instead of 4. That is just a quarter less."""
        said = recommend(an_evidence(at_cost("6")), POLICY)
        assert said.definition is not None
        assert (said.verdict, said.definition.credits_per_event, said.margin.suggested) == (Verdict.LOWER, 3, Decimal("0.6"))
        assert said.headline == "Lower chat.reply/default from 4 to 3 credits (25.0 % less): its margin is 70.0 %, the target 60.0 %."

    def test_never_so_far_that_the_target_is_missed(self) -> None:
        """At 0.0065 per reply 0.01625 would do: 3.25 credits, rounded up 4, which is what it is."""
        said = recommend(an_evidence(at_cost("6.5")), POLICY)
        assert (said.verdict, said.definition) == (Verdict.KEEP, None)
