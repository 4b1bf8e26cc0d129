from decimal import Decimal

from config.base.exact import Rounding
from pricing.comparison import Figure, compare
from pricing.price import Component, Tier
from tests.pricing.proposing import a_price


class TestCompare:
    def test_tells_by_how_much_a_figure_changes(self) -> None:
        [figure] = compare(a_price("4"), a_price("4.5"))
        assert figure == Figure("Per event", Decimal(4), Decimal("4.5"))
        assert (figure.is_changed, figure.change) == (True, Decimal("0.125"))

    def test_a_figure_that_stays_is_not_changed(self) -> None:
        [figure] = compare(a_price("4"), a_price("4.0"))
        assert (figure.is_changed, figure.change) == (False, 0)

    def test_without_a_price_before_there_is_nothing_to_compare_with(self) -> None:
        [figure] = compare(None, a_price("4"))
        assert (figure.before, figure.change) == (None, None)

    def test_from_free_there_is_no_share(self) -> None:
        [figure] = compare(a_price("0"), a_price("4"))
        assert (figure.is_changed, figure.change) == (True, None)

    def test_figures_for_other_amounts_are_compared_for_the_same(self) -> None:
        before = a_price("0", components=(Component("output", Decimal("0.5"), 1000),))
        after = a_price("0", components=(Component("output", Decimal(600), 1_000_000),))
        [figure] = compare(before, after)
        assert figure == Figure("Per 1,000,000 output tokens", Decimal(500), Decimal(600))
        assert figure.change == Decimal("0.2")

    def test_what_comes_and_what_goes_is_shown(self) -> None:
        large = Component("output", Decimal(2), 1000, "large", ("gpt-5",))
        before = a_price("4", components=(large,), rounding_step=Decimal(1), rounding_mode=Rounding.UP)
        after = a_price("4", tiers=(Tier(Decimal(10), Decimal(3)),), minimum=Decimal(2))
        assert [(figure.label, figure.before, figure.after) for figure in compare(before, after)] == [
            ("Per event", 4, 4),
            ("Per event beyond 10", None, 3),
            ("At least", None, 2),
            ("Per 1,000 output tokens (large: gpt-5)", 2, None),
            ("Rounded", "up, in steps of 1", None),
        ]

    def test_one_class_may_have_a_figure_for_each_group_of_models(self) -> None:
        """Two rows that read the same would hide one of the two."""
        parts = (Component("output", Decimal(2), 1000, "large", ("gpt-5",)), Component("output", Decimal(3), 1000, "large", ("opus",)))
        figures = compare(None, a_price("0", components=parts))
        assert [figure.after for figure in figures] == [2, 3]
