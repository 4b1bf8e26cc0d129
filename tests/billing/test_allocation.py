"""Which lot pays, with figures."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.allocation import OpenLot, burn, share, spendable, take

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def a_lot(number: int, remaining: str = "10", **fields: Any) -> OpenLot:
    facts: dict[str, Any] = {"kind": "paid", "unit_value": Decimal("0.01"), "priority": 50, "expires_at": None}
    facts["value_remaining"] = Decimal(remaining) / 100
    return OpenLot(number, remaining=Decimal(remaining), **(facts | fields))


def order(*lots: OpenLot) -> list[int]:
    return [lot.id for lot in sorted(lots, key=OpenLot.burn_key)]


class TestBurnOrder:
    def test_priority_before_expiry(self) -> None:
        assert order(a_lot(1, expires_at=NOW), a_lot(2, priority=49)) == [2, 1]

    def test_soonest_expiry_before_never(self) -> None:
        assert order(a_lot(1), a_lot(2, expires_at=NOW + timedelta(days=900)), a_lot(3, expires_at=NOW)) == [3, 2, 1]

    def test_promotional_before_paid(self) -> None:
        assert order(a_lot(1), a_lot(2, kind="promotional")) == [2, 1]

    def test_oldest_first(self) -> None:
        assert order(a_lot(2), a_lot(1)) == [1, 2]

    def test_overdraft_last(self) -> None:
        assert order(a_lot(1, "-5", kind="overdraft", priority=1), a_lot(2, priority=100)) == [2, 1]


class TestExpiry:
    def test_the_moment_itself_is_too_late(self) -> None:
        lot = a_lot(1, expires_at=NOW)
        assert lot.is_expired(NOW)
        assert not lot.is_expired(NOW - timedelta(microseconds=1))

    def test_reserved_credits_survive_it_and_no_others(self) -> None:
        lots = [a_lot(1, expires_at=NOW), a_lot(2)]
        movements, missing = burn(lots, Decimal(15), now=NOW, reserved=Decimal(4))
        assert [(m.lot_id, m.credits) for m in movements] == [(1, -4), (2, -10)]
        assert missing == 1


class TestValues:
    def test_the_emptying_entry_takes_the_rest(self) -> None:
        lot = a_lot(1, "3", value_remaining=Decimal(10), unit_value=Decimal("3.333333333333"))
        assert [take(lot, Decimal(1)).value for _ in range(3)] == [
            Decimal("-3.333333333333"),
            Decimal("-3.333333333333"),
            Decimal("-3.333333333334"),
        ]

    def test_a_share_is_rounded_half_up(self) -> None:
        half = share(Decimal(2), Decimal("0.000000000001"), Decimal(1), left=Decimal(2), value_left=Decimal("0.000000000001"))
        assert half == Decimal("0.000000000001")


class TestSpendable:
    def test_counts_fresh_lots_and_room_less_what_is_held(self) -> None:
        lots = [a_lot(1), a_lot(2, "-2", kind="overdraft")]
        assert spendable(lots, held=Decimal(3), overdraft_limit=Decimal(5), now=NOW) == 10

    def test_expired_credits_serve_holds_only(self) -> None:
        lots = [a_lot(1, "4", expires_at=NOW), a_lot(2)]
        assert [spendable(lots, held=Decimal(held), overdraft_limit=Decimal(0), now=NOW) for held in (0, 4, 6)] == [10, 10, 8]

    def test_a_debt_beyond_a_lowered_limit_takes_nothing_away(self) -> None:
        lots = [a_lot(1), a_lot(2, "-5", kind="overdraft")]
        assert spendable(lots, held=Decimal(0), overdraft_limit=Decimal(0), now=NOW) == 10
