"""Whatever Stripe and we say, every movement is counted once, and the figures add up."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.balance import Category
from reports.reconciliation import Booked, Known, KnownFee, KnownPayout, match

NOW = datetime(2026, 6, 1, tzinfo=UTC)
IDS = [f"{kind}_{number}" for kind in ("ch", "pi", "re", "dp", "po") for number in range(4)]
ids = st.sampled_from(["", *IDS])
amounts = st.integers(-1_000, 1_000)
currencies = st.sampled_from(["USD", "EUR", "JPY"])
times = st.integers(0, 20).map(lambda days: NOW - timedelta(days=days))
rates = st.none() | st.sampled_from([Decimal(1), Decimal("1.086")])


@st.composite
def movements(draw: st.DrawFn) -> list[Booked]:
    row = st.tuples(st.sampled_from(Category), amounts, st.integers(0, 50), currencies, times, ids, ids, ids, rates)
    return [
        Booked(f"txn_{number}", category, amount, fee, currency, at, source, charge, intent, "", rate)
        for number, (category, amount, fee, currency, at, source, charge, intent, rate) in enumerate(draw(st.lists(row, max_size=12)))
    ]


@st.composite
def ours(draw: st.DrawFn) -> list[Known]:
    row = st.tuples(
        st.sampled_from([Category.CHARGE, Category.REFUND, Category.DISPUTE]),
        st.tuples(ids, ids),
        amounts,
        currencies,
        times,
        st.booleans(),
    )
    return [
        Known(f"thing {number}", category, names, amount, currency, at, number, Decimal(5), is_credited=is_credited)
        for number, (category, names, amount, currency, at, is_credited) in enumerate(draw(st.lists(row, max_size=8)))
    ]


@st.composite
def paid_out(draw: st.DrawFn) -> list[KnownPayout]:
    row = st.tuples(amounts, currencies, times, st.booleans(), st.none() | amounts)
    drawn = draw(st.lists(row, max_size=4))
    return [KnownPayout(f"po_{number}", *facts) for number, facts in enumerate(drawn)]


@given(booked=movements(), known=ours(), payouts=paid_out(), recorded=st.lists(st.integers(0, 15), unique=True, max_size=6))
def test_matching_is_a_partition_and_its_sums_add_up(
    booked: list[Booked], known: list[Known], payouts: list[KnownPayout], recorded: list[int]
) -> None:
    fees = [KnownFee(f"txn_{number}", 30, "USD", NOW, None) for number in recorded]
    found = match(booked=booked, known=known, fees=fees, payouts=payouts, book_currency="USD", now=NOW)

    # Each movement is in exactly one group, and each thing of ours too.
    assert Counter(one.id for group in found.groups for one in group.booked) == Counter(one.id for one in booked)
    assert Counter(group.known.key for group in found.groups if group.known) == Counter(
        [*(thing.key for thing in known), *(f"payout {payout.id}" for payout in payouts)]
    )

    # Stripe's side of the lines is Stripe's: amounts by currency, less the fees, is what the balance moved by.
    for currency in ("USD", "EUR", "JPY"):
        told = sum(line.stripe_minor or 0 for line in found.lines if line.currency == currency)
        assert told == sum(one.net_minor for one in booked if one.currency == currency)

    # What is matched is the same on both sides, and what is not, and is not awaited, is named as a break.
    assert all(line.stripe_minor == line.our_minor for line in found.lines if line.is_matched)
    named = {one.subject for one in found.breaks}
    for group in found.groups:
        if not group.agrees and group.booked:
            assert named & {group.booked[0].id, group.known.key if group.known else ""}

    # A break is found under one name.
    assert len({(one.kind, one.subject) for one in found.breaks}) == len(found.breaks)
