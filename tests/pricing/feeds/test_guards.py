from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from pricing.feeds.diff import Catalogue, Known, Line, compare
from pricing.feeds.guards import TITLES, Guard, Statement, Surroundings, guard
from pricing.feeds.statement import EPOCH, Candidate, Figure, ModelName, Reading, SeriesKey
from pricing.units import UnitKind
from tests.pricing.feeds.test_diff import AS_OF, CACHED, INPUT, JULY, LONG, MAY, figure, knows, says

OUTPUT = INPUT._replace(unit=UnitKind.OUTPUT)


def judged(
    *candidates: Candidate,
    known: dict[SeriesKey, list[Known]] | None = None,
    others: dict[SeriesKey, list[Statement]] | None = None,
    currency: str = "USD",
    names: tuple[str, ...] = (),
    aliases: dict[ModelName, tuple[str, ...]] | None = None,
) -> list[Line]:
    reading = Reading("a feed", {c.key.owner: names for c in candidates}, list(candidates))
    ours = Catalogue({key.owner: () for key in known or {}} | (aliases or {}), known or {})
    lines = compare(reading, ours, as_of=AS_OF, holds_from=None)
    guard(lines, Surroundings(reading, ours, others or {}, currency, AS_OF))
    return lines


def guards(*candidates: Candidate, **around: object) -> dict[SeriesKey | None, set[str]]:
    return {line.key: {name for name, _ in line.guards} for line in judged(*candidates, **around)}  # type: ignore[arg-type]


def of_change(before: str, after: str) -> set[str]:
    return guards(says(after), known={INPUT: [knows(before)]})[INPUT]


def test_every_guard_has_a_title() -> None:
    assert set(TITLES) == set(Guard)


def test_an_ordinary_change_passes() -> None:
    found = guards(
        says("2"), says("8", OUTPUT), says("0.2", CACHED), known={INPUT: [knows("3")], OUTPUT: [knows("9")], CACHED: [knows("0.3")]}
    )
    assert found == {INPUT: set(), OUTPUT: set(), CACHED: set()}


class TestJump:
    @pytest.mark.parametrize(("before", "after"), [("0.1", "0.8"), ("0.1", "1"), ("2", "10"), ("1", "0.2"), ("0.8", "0.08")])
    def test_of_five_times_is_held(self, before: str, after: str) -> None:
        assert of_change(before, after) == {"jump"}

    @pytest.mark.parametrize(("before", "after"), [("2", "9.99"), ("1", "0.2001"), ("0.15", "0.3")])
    def test_below_passes(self, before: str, after: str) -> None:
        assert of_change(before, after) == set()

    def test_says_how_much_and_what_to_do(self) -> None:
        [up] = judged(says("0.8"), known={INPUT: [knows("0.1")]})
        [down] = judged(says("0.08"), known={INPUT: [knows("1")]})
        assert up.guards[0][1].startswith("From 0.1 USD per 1,000,000 to 0.8 USD per 1,000,000: 8 times as much.")
        assert ": 12.5 times less." in down.guards[0][1]
        assert "compare with the provider's page" in up.guards[0][1]


class TestOfTheFigure:
    def test_nothing_is_not_known(self) -> None:
        assert of_change("3", "0") == {"zero"}
        assert guards(says("0"))[INPUT] == {"zero"}

    def test_a_price_of_one_token_taken_for_a_million(self) -> None:
        assert guards(says("0.000003"))[INPUT] == {"unit"}
        assert guards(says("3000000"))[INPUT] == {"unit"}
        assert guards(says("600"))[INPUT] == set()

    def test_an_image_may_cost_anything(self) -> None:
        image = INPUT._replace(unit=UnitKind.IMAGE)
        dear = Candidate(image, Figure(Decimal(3), 1, "USD"), EPOCH, None, "")
        assert guards(dear)[image] == set()

    def test_another_number_of_units(self) -> None:
        per_thousand = Candidate(INPUT, figure("0.004", per=1000), EPOCH, None, "")
        assert guards(per_thousand, known={INPUT: [knows("3")]})[INPUT] == {"unit"}

    def test_another_currency_than_the_books(self) -> None:
        assert guards(says("3"), currency="EUR")[INPUT] == {"currency"}
        euros = Known(Figure(Decimal(3), 1_000_000, "EUR"), EPOCH, None, "a feed")
        assert guards(says("3"), known={INPUT: [euros]})[INPUT] == {"unit"}


class TestOfTheModel:
    def test_cached_dearer_than_input(self) -> None:
        assert guards(says("1"), says("1.5", CACHED)) == {INPUT: {"cache_dearer"}, CACHED: {"cache_dearer"}}
        assert guards(says("1.5", CACHED), known={INPUT: [knows("1")], CACHED: [knows("1")]})[CACHED] == {"cache_dearer"}
        assert guards(says("1"), says("1", CACHED)) == {INPUT: set(), CACHED: set()}

    def test_output_cheaper_than_input(self) -> None:
        assert guards(says("3"), says("2", OUTPUT)) == {INPUT: {"output_cheaper"}, OUTPUT: {"output_cheaper"}}

    def test_is_judged_at_the_time_of_the_price(self) -> None:
        cut = [says("10", end=MAY), says("2", start=MAY), says("40", OUTPUT, end=MAY), says("8", OUTPUT, start=MAY)]
        assert {name for line in judged(*cut) for name, _ in line.guards} == set()

    def test_a_flat_price_becomes_tiers(self) -> None:
        assert guards(says("2"), says("6", LONG), known={INPUT: [knows("3")]}) == {INPUT: {"tiers"}, LONG: {"tiers"}}

    def test_tiers_become_a_flat_price(self) -> None:
        found = guards(says("2"), known={INPUT: [knows("3")], LONG: [knows("6")]})
        assert found == {INPUT: {"tiers"}, LONG: {"tiers", "dropped"}}

    def test_a_new_model_may_have_tiers(self) -> None:
        assert guards(says("3"), says("6", LONG)) == {INPUT: set(), LONG: set()}


class TestOfTime:
    def test_a_rise_ahead_waits_for_a_person(self) -> None:
        held = judged(says("2", end=JULY), says("4", start=JULY), known={INPUT: [knows("2")]})
        assert [(line.effective_from, [name for name, _ in line.guards]) for line in held] == [(JULY, ["announced_rise"])]

    def test_a_cut_ahead_does_not(self) -> None:
        assert guards(says("4", end=JULY), says("2", start=JULY), known={INPUT: [knows("4")]})[INPUT] == set()

    def test_a_price_that_comes_back_soon(self) -> None:
        known = {INPUT: [knows("3", end=MAY), knows("2", start=MAY)]}
        assert guards(says("3"), known=known)[INPUT] == {"returned"}
        assert guards(says("2.5"), known=known)[INPUT] == set()

    def test_a_price_that_comes_back_late(self) -> None:
        long_ago = AS_OF - timedelta(days=181)
        assert guards(says("3"), known={INPUT: [knows("3", end=long_ago), knows("2", start=long_ago)]})[INPUT] == set()

    def test_a_statement_older_than_the_catalogue(self) -> None:
        known = {INPUT: [knows("3", end=JULY), knows("2", start=JULY)]}
        assert guards(says("3.5"), known=known)[INPUT] == {"older"}

    def test_a_feed_that_no_longer_states_a_price(self) -> None:
        assert guards(says("3"), known={INPUT: [knows("3")], CACHED: [knows("0.3")]})[CACHED] == {"dropped"}


class TestOtherFeeds:
    def stated(self, price: str, at: datetime = MAY) -> dict[SeriesKey, list[Statement]]:
        return {INPUT: [Statement("another feed", figure(price), at)]}

    def test_that_disagree_hold_a_change_back(self) -> None:
        [line] = judged(says("2"), known={INPUT: [knows("3")]}, others=self.stated("3"))
        assert [name for name, _ in line.guards] == ["disagreement"]
        assert line.guards[0][1].startswith("another feed stated 3 USD per 1,000,000 as of 2026-05-01.")

    def test_that_agree_let_it_pass(self) -> None:
        assert guards(says("2"), known={INPUT: [knows("3")]}, others=self.stated("2"))[INPUT] == set()

    def test_that_were_not_read_for_long_say_nothing(self) -> None:
        old = self.stated("3", AS_OF - timedelta(days=181))
        assert guards(says("2"), known={INPUT: [knows("3")]}, others=old)[INPUT] == set()


class TestNames:
    def test_that_another_model_answers_to(self) -> None:
        family = ModelName("anthropic", "family")
        assert guards(says("3"), names=("nimbus-*",), aliases={family: ("Nimbus-*",)})[INPUT] == {"name_taken"}
        assert guards(says("3"), names=("nimbus-*",), aliases={family: ("other-*",)})[INPUT] == set()
        added = guards(says("3"), names=("nimbus-*",), known={INPUT: [knows("3")]}, aliases={family: ("nimbus-*",)})
        assert added == {None: {"name_taken"}}

    def test_that_the_catalogue_prices_otherwise(self) -> None:
        family = INPUT._replace(model="family")
        found = guards(says("2"), says("0.3", CACHED), known={family: [knows("3")]}, aliases={family.owner: ("nimbus*",)})
        assert found == {INPUT: {"other_name"}, CACHED: {"other_name"}}
