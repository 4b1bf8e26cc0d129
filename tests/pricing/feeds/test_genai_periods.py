from datetime import UTC, date, datetime
from decimal import Decimal

from genai_prices import types as feed

from pricing.feeds.genai_periods import Period, Stated, dated, periods
from pricing.feeds.statement import EPOCH

MARCH = datetime(2026, 3, 13, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)


def starts(year: int, month: int, day: int) -> feed.StartDateConstraint:
    return feed.StartDateConstraint(start_date=date(year, month, day))


def test_statements_have_their_date_or_the_epoch() -> None:
    price = feed.ModelPrice(input_mtok=Decimal(3))
    entries = [(None, price), (starts(2026, 3, 13), price)]
    figures = {"input_mtok": Decimal(3)}
    assert dated(entries) == [(EPOCH, figures), (MARCH, figures)]


def read(*stated: Stated) -> list[Period]:
    return list(periods("input_mtok", list(stated)))


def test_a_later_price_ends_the_earlier() -> None:
    assert read((EPOCH, {"input_mtok": Decimal(5)}), (MARCH, {"input_mtok": Decimal(4)})) == [
        Period(0, Decimal(5), EPOCH, MARCH),
        Period(0, Decimal(4), MARCH, None),
    ]


def test_the_same_price_again_is_one_period() -> None:
    stated: list[Stated] = [
        (EPOCH, {"input_mtok": Decimal(5)}),
        (MARCH, {"input_mtok": Decimal("5.0")}),
        (MAY, {"input_mtok": Decimal(4)}),
    ]
    assert read(*stated) == [Period(0, Decimal(5), EPOCH, MAY), Period(0, Decimal(4), MAY, None)]


def test_what_is_no_longer_stated_ends() -> None:
    assert read((EPOCH, {"input_mtok": Decimal(5)}), (MARCH, {})) == [Period(0, Decimal(5), EPOCH, MARCH)]


def test_of_two_statements_of_one_day_the_last_holds() -> None:
    assert read((MARCH, {"input_mtok": Decimal(5)}), (MARCH, {"input_mtok": Decimal(6)})) == [Period(0, Decimal(6), MARCH, None)]


def test_a_tier_applies_beyond_its_start() -> None:
    tiered = feed.TieredPrices(base=Decimal(3), tiers=[feed.Tier(start=200_000, price=Decimal(6))])
    assert read((EPOCH, {"input_mtok": tiered}), (MARCH, {"input_mtok": Decimal(3)})) == [
        Period(200_001, Decimal(6), EPOCH, MARCH),
        Period(0, Decimal(3), EPOCH, None),
    ]
