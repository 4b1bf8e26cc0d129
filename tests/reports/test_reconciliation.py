"""Matching by ids: each kind of disagreement is seen, and nothing is counted twice."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.balance import Category
from reports.reconciliation import PATIENCE, Booked, BreakKind, Known, KnownFee, KnownPayout, Matched, match

NOW = datetime(2026, 6, 1, tzinfo=UTC)
THEN = NOW - timedelta(days=10)


def booked(**fields: Any) -> Booked:
    """A charge of 5.00 USD without a fee, unless told otherwise."""
    facts: dict[str, Any] = {
        "id": "txn_1",
        "category": Category.CHARGE,
        "amount_minor": 500,
        "fee_minor": 0,
        "currency": "USD",
        "at": THEN,
        "source": "ch_1",
    }
    return Booked(**(facts | fields))


def known(**fields: Any) -> Known:
    """The top-up that it paid."""
    facts: dict[str, Any] = {
        "key": "top-up 1",
        "category": Category.CHARGE,
        "ids": ("ch_1", "pi_1"),
        "amount_minor": 500,
        "currency": "USD",
        "at": THEN,
    }
    return Known(**(facts | {"topup_id": 1, "book_value": Decimal(5)} | fields))


def compare(
    ours: Known | None = None, *moved: Booked, fees: tuple[KnownFee, ...] = (), payouts: tuple[KnownPayout, ...] = (), now: datetime = NOW
) -> Matched:
    return match(booked=moved, known=[ours] if ours else [], fees=fees, payouts=payouts, book_currency="USD", now=now)


def kinds(found: Matched) -> list[BreakKind]:
    return [one.kind for one in found.breaks]


class TestACharge:
    @pytest.mark.parametrize(
        "ids", [{"source": "ch_1"}, {"source": "py_9", "charge": "ch_1"}, {"source": "py_9", "payment_intent": "pi_1"}]
    )
    def test_is_matched_by_its_id_or_its_payment_intent(self, ids: dict[str, str]) -> None:
        found = compare(known(), booked(**ids))
        assert not found.breaks
        [line] = found.lines
        assert (line.stripe_minor, line.our_minor, line.known, line.is_matched) == (500, 500, "top-up 1", True)

    def test_of_the_same_amount_and_another_id_is_not_matched(self) -> None:
        found = compare(known(ids=("ch_2", "pi_2")), booked())
        assert sorted(kinds(found)) == [BreakKind.UNKNOWN_AT_STRIPE, BreakKind.UNKNOWN_HERE]

    def test_that_stripe_has_not_booked_is_waited_for(self) -> None:
        assert not compare(known(at=NOW - PATIENCE)).breaks
        assert kinds(compare(known(at=NOW - PATIENCE - timedelta(seconds=1)))) == [BreakKind.UNKNOWN_AT_STRIPE]

    def test_of_another_amount_is_a_break_of_the_difference(self) -> None:
        [broken] = compare(known(), booked(amount_minor=501)).breaks
        assert (broken.kind, broken.subject, broken.amount_minor, broken.topup_id) == (BreakKind.AMOUNT, "top-up 1", 1, 1)

    def test_that_was_booked_twice_is_a_break(self) -> None:
        [broken] = compare(known(), booked(), booked(id="txn_2")).breaks
        assert (broken.kind, broken.amount_minor) == (BreakKind.AMOUNT, 500)

    def test_without_a_deposit_is_a_break(self) -> None:
        assert kinds(compare(known(is_credited=False), booked())) == [BreakKind.NOT_CREDITED]


class TestCurrencies:
    def test_that_differ_without_a_rate_are_a_break(self) -> None:
        found = compare(known(currency="EUR"), booked())
        assert kinds(found) == [BreakKind.CURRENCY]
        assert {(line.currency, line.stripe_minor, line.our_minor) for line in found.lines} == {("USD", 500, None), ("EUR", None, 500)}

    def test_settled_at_another_rate_than_it_was_sold_at_is_an_exchange_difference(self) -> None:
        found = compare(known(currency="EUR", book_value=Decimal("5.50")), booked(amount_minor=543, exchange_rate=Decimal("1.086")))
        [broken] = found.breaks
        assert (broken.kind, broken.amount_minor, broken.currency) == (BreakKind.EXCHANGE, -7, "USD")
        assert found.groups[0].agrees

    def test_at_a_rate_that_does_not_lead_there_are_a_break(self) -> None:
        assert kinds(compare(known(currency="EUR"), booked(exchange_rate=Decimal("1.5")))) == [BreakKind.CURRENCY]

    def test_without_places_are_written_as_they_are(self) -> None:
        [broken] = compare(known(currency="JPY"), booked(currency="JPY", amount_minor=600)).breaks
        assert broken.detail == "Stripe moved 600 JPY, top-up 1 says 500 JPY."


class TestMoneyBack:
    def test_that_was_undone_comes_to_nothing(self) -> None:
        ours = known(key="dispute 1", category=Category.DISPUTE, ids=("dp_1",), amount_minor=0)
        taken = booked(category=Category.DISPUTE, amount_minor=-500, source="dp_1")
        given = booked(id="txn_2", category=Category.DISPUTE, amount_minor=500, source="dp_1", at=NOW)
        assert not compare(ours, taken, given).breaks
        assert kinds(compare(ours, taken)) == [BreakKind.AMOUNT]

    def test_without_credits_taken_is_a_break(self) -> None:
        ours = known(key="refund 1", category=Category.REFUND, ids=("re_1",), amount_minor=-500, lacks_withdrawal=True)
        assert kinds(compare(ours, booked(category=Category.REFUND, amount_minor=-500, source="re_1"))) == [BreakKind.WITHDRAWAL]

    def test_of_a_dispute_that_is_unknown_here_is_named_so(self) -> None:
        assert kinds(compare(None, booked(category=Category.DISPUTE, source="dp_1"))) == [BreakKind.DISPUTE]


class TestFees:
    fee = KnownFee("txn_1", 45, "USD", THEN, 1)

    def test_that_are_recorded_agree(self) -> None:
        found = compare(known(), booked(fee_minor=45), fees=(self.fee,))
        assert not found.breaks
        assert [(line.category, line.stripe_minor, line.our_minor) for line in found.lines][1:] == [(Category.FEE, -45, -45)]

    def test_that_are_missing_or_other_are_breaks_of_the_difference(self) -> None:
        [missing] = compare(known(), booked(fee_minor=45)).breaks
        [other] = compare(known(), booked(fee_minor=50), fees=(self.fee,)).breaks
        assert [(one.kind, one.amount_minor) for one in (missing, other)] == [(BreakKind.FEE, 45), (BreakKind.FEE, 5)]

    def test_of_a_strangers_charge_are_no_second_break(self) -> None:
        assert kinds(compare(None, booked(fee_minor=45))) == [BreakKind.UNKNOWN_HERE]

    def test_of_a_movement_that_stripe_has_not_booked_are_a_break(self) -> None:
        assert kinds(compare(None, fees=(self.fee,))) == [BreakKind.UNKNOWN_AT_STRIPE]


class TestAFeeOfItsOwn:
    def test_is_a_break_of_what_it_took(self) -> None:
        fee = booked(category=Category.FEE, amount_minor=0, fee_minor=123, source="")
        [broken] = compare(None, fee).breaks
        assert (broken.kind, broken.amount_minor) == (BreakKind.UNKNOWN_HERE, -123)
        assert broken.detail.startswith("Stripe booked -1.23 USD: a fee")


class TestAPayout:
    def test_that_its_movements_do_not_add_up_to_is_a_break(self) -> None:
        own = booked(category=Category.PAYOUT, amount_minor=-900, source="po_1")
        short = KnownPayout("po_1", 900, "USD", THEN, is_returned=False, parts_minor=455)
        [broken] = compare(None, own, payouts=(short,)).breaks
        assert (broken.kind, broken.subject, broken.amount_minor) == (BreakKind.PAYOUT, "po_1", 445)

    def test_that_a_person_made_cannot_be_taken_apart(self) -> None:
        own = booked(category=Category.PAYOUT, amount_minor=-900, source="po_1")
        assert not compare(None, own, payouts=(KnownPayout("po_1", 900, "USD", THEN, is_returned=False, parts_minor=None),)).breaks

    def test_that_came_back_comes_to_nothing(self) -> None:
        out = booked(category=Category.PAYOUT, amount_minor=-900, source="po_1")
        back = booked(id="txn_2", category=Category.PAYOUT, amount_minor=900, source="po_1")
        payout = KnownPayout("po_1", 900, "USD", THEN, is_returned=True, parts_minor=900)
        assert not compare(None, out, back, payouts=(payout,)).breaks

    def test_that_is_unknown_here_is_a_break(self) -> None:
        assert kinds(compare(None, booked(category=Category.PAYOUT, source="po_1"))) == [BreakKind.UNKNOWN_HERE]
