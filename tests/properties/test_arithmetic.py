"""The pure arithmetic of money: for any numbers, nothing is lost and nothing appears."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.accounts import Account, posting
from billing.allocation import OVERDRAFT, OpenLot, burn, share, spendable, value_of
from billing.models import EntryKind, LotKind
from config.base.exact import CREDIT_STEP, MONEY_STEP, Rounding, plain, round_money, round_to

NOW = datetime(2026, 11, 20, tzinfo=UTC)

credits = st.integers(1, 10**12).map(lambda units: Decimal(units).scaleb(-6))
money = st.integers(0, 10**18).map(lambda units: Decimal(units).scaleb(-12))
numbers = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=12)
steps = st.sampled_from(["1", "0.5", "0.25", "0.01", "0.000001", "3"]).map(Decimal)


@st.composite
def lots(draw: st.DrawFn) -> list[OpenLot]:
    """Draw lots in burn order: some expired, some of tiny value, perhaps a debt."""
    drawn = []
    for number in range(draw(st.integers(0, 6))):
        remaining, value = draw(credits), draw(money)
        ends = draw(st.none() | st.sampled_from([-1, 0, 1, 5]).map(lambda days: NOW + timedelta(days=days)))
        kind = draw(st.sampled_from(["paid", "promotional"]))
        drawn.append(OpenLot(number, kind, remaining, value, round_money(value / remaining), draw(st.integers(1, 3)), ends))
    if draw(st.booleans()):
        drawn.append(OpenLot(99, OVERDRAFT, -draw(credits), Decimal(0), Decimal("0.01"), 100, None))
    return sorted(drawn, key=OpenLot.burn_key)


class TestBurn:
    @given(lots(), credits, st.just(Decimal(0)) | credits)
    def test_conserves_credits_and_value(self, open_lots: list[OpenLot], wanted: Decimal, reserved: Decimal) -> None:
        before = {lot.id: (lot.remaining, lot.value_remaining) for lot in open_lots}
        movements, missing = burn(open_lots, wanted, now=NOW, reserved=reserved)
        assert missing - sum(m.credits for m in movements) == wanted
        taken = {m.lot_id: (m.credits, m.value) for m in movements}
        assert len(taken) == len(movements)
        for lot in open_lots:
            remaining, value = before[lot.id]
            moved, moved_value = taken.get(lot.id, (Decimal(0), Decimal(0)))
            assert (lot.remaining, lot.value_remaining) == (remaining + moved, value + moved_value)
            if lot.kind != OVERDRAFT:
                assert 0 <= lot.remaining <= remaining
                assert 0 <= lot.value_remaining <= value
                assert lot.remaining or not lot.value_remaining

    @given(lots(), credits, st.just(Decimal(0)) | credits)
    def test_takes_from_expired_lots_only_what_was_reserved(self, open_lots: list[OpenLot], wanted: Decimal, reserved: Decimal) -> None:
        expired = {lot.id for lot in open_lots if lot.is_expired(NOW)}
        movements, _ = burn(open_lots, wanted, now=NOW, reserved=reserved)
        assert -sum(m.credits for m in movements if m.lot_id in expired) <= reserved
        assert OVERDRAFT not in {lot.kind for lot in open_lots if lot.id in {m.lot_id for m in movements}}

    @given(lots(), credits)
    def test_skips_nothing_that_could_have_paid(self, open_lots: list[OpenLot], wanted: Decimal) -> None:
        movements, _ = burn(open_lots, wanted, now=NOW)
        used = [m.lot_id for m in movements]
        usable = [lot.id for lot in open_lots if lot.kind != OVERDRAFT and not lot.is_expired(NOW)]
        assert used == usable[: len(used)]


class TestSpendable:
    @given(lots(), st.just(Decimal(0)) | credits, st.just(Decimal(0)) | credits)
    def test_stays_within_its_bounds(self, open_lots: list[OpenLot], held: Decimal, limit: Decimal) -> None:
        found = spendable(open_lots, held=held, overdraft_limit=limit, now=NOW)
        fresh = sum((lot.remaining for lot in open_lots if lot.kind != OVERDRAFT and not lot.is_expired(NOW)), Decimal(0))
        assert 0 <= found <= fresh + limit
        assert found >= max(fresh - held, Decimal(0))
        assert spendable(open_lots, held=held + 1, overdraft_limit=limit, now=NOW) <= found


class TestShare:
    @given(credits, money, st.lists(st.integers(1, 100), min_size=1, max_size=8))
    def test_the_parts_add_up_exactly(self, whole: Decimal, value: Decimal, weights: list[int]) -> None:
        left, value_left = whole, value
        for weight in weights:
            part = round_to(whole * weight / 500, CREDIT_STEP, Rounding.DOWN)
            if 0 < part < left:
                given_back = share(whole, value, part, left=left, value_left=value_left)
                assert 0 <= given_back <= value_left
                left, value_left = left - part, value_left - given_back
        assert share(whole, value, left, left=left, value_left=value_left) == value_left


class TestValueOf:
    @given(credits, money, credits)
    def test_is_at_most_what_is_left_and_all_of_it_for_all(self, remaining: Decimal, value: Decimal, wanted: Decimal) -> None:
        lot = OpenLot(1, "paid", remaining, value, round_money(value / remaining), 50, None)
        assert value_of(lot, remaining) == value
        assert 0 <= value_of(lot, min(wanted, remaining)) <= value


class TestRounding:
    @given(numbers, steps, st.sampled_from(list(Rounding)))
    def test_gives_the_multiple_that_its_mode_names(self, value: Decimal, step: Decimal, mode: Rounding) -> None:
        rounded = round_to(value, step, mode)
        assert rounded % step == 0
        assert abs(rounded - value) < step
        if mode is Rounding.UP:
            assert abs(rounded) >= abs(value)
        elif mode is Rounding.DOWN:
            assert abs(rounded) <= abs(value)
        else:
            assert abs(rounded - value) * 2 <= step
        assert round_to(rounded, step, mode) == rounded

    @given(numbers)
    def test_money_has_twelve_places(self, value: Decimal) -> None:
        assert round_money(value / 7) % MONEY_STEP == 0

    @given(numbers)
    def test_plain_text_is_read_back_as_the_same_number(self, value: Decimal) -> None:
        text = plain(value)
        assert Decimal(text) == value
        assert "E" not in text


class TestPostings:
    @given(st.sampled_from(list(EntryKind)), st.sampled_from(list(LotKind)), numbers.filter(bool))
    def test_an_entry_and_its_reverse_cancel_out(self, kind: EntryKind, lot_kind: LotKind, value: Decimal) -> None:
        there, back = (posting(kind, lot_kind=lot_kind, credits=amount, value=amount) for amount in (value, -value))
        assert there.amount == back.amount >= 0
        assert there.debit != there.credit
        assert (there.debit, there.credit) == (back.credit, back.debit)
        ours = Account.RECEIVABLES if lot_kind == LotKind.OVERDRAFT else Account.DEFERRED_REVENUE
        assert (there.credit if value >= 0 else there.debit) == ours
