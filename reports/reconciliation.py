"""Matching what Stripe booked with what is known here. Pure; no database.

Stripe's side are movements of our balance; ours are top-ups, refunds of them, disputes, payouts, and the fees recorded with
payments. Everything is matched by ids, never by amounts: a charge by its own id or its payment intent, a refund and a dispute
by theirs. Each movement is in exactly one group, and so is each thing of ours: a group is one thing of ours with all
movements that name it, or one movement (or payout) that nobody here knows.

A group agrees when its movements add up to what ours should have moved: a charge its amount, a refund and a lost dispute
minus theirs, a failed refund and a won dispute nothing. What does not is a break, named by its kind and its subject, so that
it is found again as the same one.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from billing.balance import Category, comes_to
from billing.minor_units import exponent, to_major, written
from config.base.exact import CONTEXT, Rounding, round_to

# Stripe books and tells within minutes; a bank transfer and a payout take days.
PATIENCE: Final = timedelta(days=3)


class BreakKind(StrEnum):
    UNKNOWN_HERE = "unknown_here"  # Stripe booked it, and nothing here is about it
    NOT_CREDITED = "not_credited"  # it was paid, and the order has no deposit
    UNKNOWN_AT_STRIPE = "unknown_at_stripe"  # it is in our books, and Stripe has not booked it in time
    AMOUNT = "amount"
    CURRENCY = "currency"
    EXCHANGE = "exchange"  # Stripe settled in the book currency, at another rate than it was sold at
    FEE = "fee"  # the fee is not recorded with its payment, or not as Stripe says
    PAYOUT = "payout"  # its movements do not add up to it
    WITHDRAWAL = "withdrawal"  # money went back and no credits left the wallet
    DISPUTE = "dispute"  # a dispute of which nothing is known here


@dataclass(frozen=True, slots=True)
class Booked:
    """A movement of the balance at Stripe, in minor units of `currency`: `net = amount - fee`."""

    id: str
    category: Category
    amount_minor: int
    fee_minor: int
    currency: str
    at: datetime
    source: str = ""
    charge: str = ""
    payment_intent: str = ""
    payout: str = ""
    exchange_rate: Decimal | None = None
    told_otherwise: str = ""  # what was said of it otherwise, in words
    off_by_minor: int = 0  # by how much that differs

    @property
    def net_minor(self) -> int:
        return self.amount_minor - self.fee_minor


@dataclass(frozen=True, slots=True)
class Known:
    """One thing of ours: `amount_minor` is what it should have moved at Stripe, with its sign, in its own currency.

    `key` names it (`topup 7`); `ids` are Stripe's names for it. `book_value` is what a sale is worth in the book currency.
    """

    key: str
    category: Category
    ids: tuple[str, ...]
    amount_minor: int
    currency: str
    at: datetime
    topup_id: int | None = None
    book_value: Decimal | None = None
    is_credited: bool = True
    lacks_withdrawal: bool = False
    is_expected: bool = True  # False: it may have no movement at all
    keeps_fees: bool = True  # False: no payment of ours bears its fee; the movement itself tells of it


@dataclass(frozen=True, slots=True)
class KnownFee:
    """The fee that is recorded with a payment for one movement."""

    movement: str
    amount_minor: int
    currency: str
    at: datetime
    topup_id: int | None


@dataclass(frozen=True, slots=True)
class KnownPayout:
    """A payout; `parts_minor` is what the movements that name it add up to, None where it cannot be taken apart."""

    id: str
    amount_minor: int
    currency: str
    at: datetime
    is_returned: bool
    parts_minor: int | None


@dataclass(frozen=True, slots=True)
class Break:
    """What does not agree, by how much, and a sentence about it. `kind` and `subject` name it for good."""

    kind: BreakKind
    subject: str
    category: Category
    amount_minor: int
    currency: str
    at: datetime
    detail: str
    topup_id: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the comparison: Stripe's amount beside ours, either of which may be missing. In minor units of `currency`."""

    category: Category
    currency: str
    at: datetime
    stripe_id: str = ""
    source: str = ""
    payout: str = ""
    stripe_minor: int | None = None
    our_minor: int | None = None
    known: str = ""
    topup_id: int | None = None
    is_matched: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """One thing of ours with its movements, or a movement on its own."""

    category: Category
    booked: tuple[Booked, ...]
    known: Known | None
    agrees: bool
    breaks: tuple[Break, ...]


@dataclass(frozen=True, slots=True)
class Matched:
    """All groups, the lines that they make, and all breaks, those of fees and payouts included."""

    groups: tuple[Group, ...]
    lines: tuple[Line, ...]
    breaks: tuple[Break, ...]


def match(
    *,
    booked: Sequence[Booked],
    known: Sequence[Known],
    fees: Sequence[KnownFee],
    payouts: Sequence[KnownPayout],
    book_currency: str,
    now: datetime,
) -> Matched:
    """Compare the two sides as they are at `now`."""
    ours = [*known, *map(_own_movement, payouts)]
    groups = tuple(_group(thing, moved, book_currency, now) for thing, moved in _pairs(booked, ours))
    fee_lines, fee_breaks = _fees(groups, fees, now)
    lines = sorted(
        [*(line for group in groups for line in _lines(group)), *fee_lines], key=lambda line: (line.at, line.stripe_id, line.known)
    )
    found = [*(one for group in groups for one in group.breaks), *fee_breaks, *_unequal(payouts, now), *_told_in_two_ways(groups)]
    return Matched(groups, tuple(lines), tuple(found))


def _own_movement(payout: KnownPayout) -> Known:
    moved = 0 if payout.is_returned else -payout.amount_minor
    return Known(f"payout {payout.id}", Category.PAYOUT, (payout.id,), moved, payout.currency, payout.at)


def _pairs(booked: Iterable[Booked], known: Sequence[Known]) -> Iterator[tuple[Known | None, tuple[Booked, ...]]]:
    """Yield each thing of ours with what names it, then each movement that names nothing of ours."""
    named = {(thing.category, name): index for index, thing in enumerate(known) for name in thing.ids if name}
    moved: dict[int, list[Booked]] = defaultdict(list)
    alone = []
    for one in booked:
        names = (one.source, one.charge, one.payment_intent) if one.category is Category.CHARGE else (one.source,)
        index = next((named[one.category, name] for name in names if (one.category, name) in named), None)
        if index is None:
            alone.append(one)
        else:
            moved[index].append(one)
    for index, thing in enumerate(known):
        yield thing, tuple(sorted(moved[index], key=lambda one: (one.at, one.id)))
    for one in alone:
        yield None, (one,)


def _group(known: Known | None, booked: tuple[Booked, ...], book_currency: str, now: datetime) -> Group:
    if known is None:
        return Group(booked[0].category, booked, None, agrees=False, breaks=(_stranger(booked[0]),))
    if not booked:
        return Group(known.category, (), known, agrees=not known.amount_minor, breaks=tuple(_missing(known, now)))
    agrees, breaks = _compared(known, booked, book_currency)
    if known.lacks_withdrawal and agrees:
        total = sum(one.amount_minor for one in booked)
        words = f"{known.key} moved {written(total, booked[0].currency)}, and no credits left the wallet."
        breaks = [*breaks, _break(BreakKind.WITHDRAWAL, known, booked[0], total, words)]
    return Group(known.category, booked, known, agrees, tuple(breaks))


def _stranger(one: Booked) -> Break:
    kind = BreakKind.DISPUTE if one.category is Category.DISPUTE else BreakKind.UNKNOWN_HERE
    what = {
        Category.CHARGE: "a payment that no top-up here was made for",
        Category.REFUND: "a refund of which nothing is known here",
        Category.DISPUTE: "a dispute of which nothing is known here",
        Category.PAYOUT: "a payout that is not known here",
        Category.FEE: "a fee that belongs to no single payment",
    }.get(one.category, "a movement of another kind")
    moved = one.amount_minor or one.net_minor  # what is all fee has no amount of its own
    words = f"Stripe booked {written(moved, one.currency)}: {what} ({one.source or one.id})."
    return Break(kind, one.id, one.category, moved, one.currency, one.at, words)


def _missing(known: Known, now: datetime) -> Iterator[Break]:
    if known.is_expected and known.amount_minor and now - known.at > PATIENCE:
        words = f"{known.key} should have moved {written(known.amount_minor, known.currency)}, and Stripe has booked nothing."
        kind = BreakKind.UNKNOWN_AT_STRIPE
        yield Break(kind, known.key, known.category, known.amount_minor, known.currency, known.at, words, known.topup_id)


def _compared(known: Known, booked: tuple[Booked, ...], book_currency: str) -> tuple[bool, list[Break]]:
    """Say whether the movements come to what ours should have moved, and what is wrong or odd about it."""
    first, total = booked[0], sum(one.amount_minor for one in booked)
    if not known.is_credited:
        words = f"{known.key} was paid with {written(total, first.currency)}, and no credits were deposited."
        return False, [_break(BreakKind.NOT_CREDITED, known, first, total, words)]
    if any(one.currency != first.currency for one in booked):
        return False, [_break(BreakKind.CURRENCY, known, first, total, f"The movements of {known.key} are in several currencies.")]
    if first.currency == known.currency:
        difference = total - known.amount_minor
        if not difference:
            return True, []
        words = f"Stripe moved {written(total, first.currency)}, {known.key} says {written(known.amount_minor, known.currency)}."
        return False, [_break(BreakKind.AMOUNT, known, first, difference, words)]
    return _exchanged(known, booked, total, book_currency)


def _exchanged(known: Known, booked: tuple[Booked, ...], total: int, book_currency: str) -> tuple[bool, list[Break]]:
    """Compare what Stripe settled in another currency, by the rate that it says it used."""
    first = booked[0]
    if not _fits(known, booked):
        words = (
            f"Stripe moved {written(total, first.currency)}, {known.key} says {written(known.amount_minor, known.currency)},"
            " and no rate of exchange leads from one to the other."
        )
        return False, [_break(BreakKind.CURRENCY, known, first, total, words)]
    if known.book_value is None or first.currency != book_currency:
        return True, []
    settled = to_major(total, first.currency)
    difference = round_to(CONTEXT.subtract(settled, known.book_value), Decimal(1).scaleb(-exponent(book_currency)), Rounding.HALF_UP)
    if not difference:
        return True, []
    words = f"{known.key} was sold for {known.book_value.normalize():f} {book_currency} in the books, and Stripe settled {settled:f}."
    minor = int(CONTEXT.scaleb(difference, exponent(book_currency)))
    return True, [_break(BreakKind.EXCHANGE, known, first, minor, words)]


def _fits(known: Known, booked: tuple[Booked, ...]) -> bool:
    """Say whether a movement is what was agreed, converted at its own rate; of several, one is only a part of it."""
    if not all(one.exchange_rate for one in booked):
        return False
    if len(booked) > 1 or not known.amount_minor:
        return True
    [one] = booked
    return comes_to(
        one.amount_minor,
        one.currency,
        expected_minor=known.amount_minor,
        expected_currency=known.currency,
        exchange_rate=one.exchange_rate,
    )


def _break(kind: BreakKind, known: Known, first: Booked, amount_minor: int, words: str) -> Break:
    return Break(kind, known.key, known.category, amount_minor, first.currency, first.at, words, known.topup_id)


def _lines(group: Group) -> Iterator[Line]:
    """Yield a line per movement. Ours stands beside each where they agree; else all of it beside the first."""
    known = group.known
    if not group.booked:
        if known is not None and known.amount_minor:
            yield Line(group.category, known.currency, known.at, our_minor=known.amount_minor, known=known.key, topup_id=known.topup_id)
        return
    for index, one in enumerate(group.booked):
        ours = None
        if known is not None and group.agrees:
            ours = one.amount_minor
        elif known is not None and index == 0 and known.is_credited and one.currency == known.currency:
            ours = known.amount_minor
        yield Line(
            group.category,
            one.currency,
            one.at,
            stripe_id=one.id,
            source=one.source,
            payout=one.payout,
            stripe_minor=one.amount_minor,
            our_minor=ours,
            known=known.key if known else "",
            topup_id=known.topup_id if known else None,
            is_matched=group.agrees,
        )
    if known is not None and not group.agrees and known.is_credited and group.booked[0].currency != known.currency:
        yield Line(group.category, known.currency, known.at, our_minor=known.amount_minor, known=known.key, topup_id=known.topup_id)


def _fees(groups: Iterable[Group], fees: Sequence[KnownFee], now: datetime) -> tuple[list[Line], list[Break]]:
    """Compare the fee of each movement with what is recorded; fees are money that left, so they are negative on both sides."""
    recorded = {fee.movement: fee for fee in fees}
    lines, breaks = [], []
    for group in groups:
        for one in group.booked:
            fee = recorded.pop(one.id, None)
            if not one.fee_minor and fee is None:
                continue
            owner = group.known
            is_ours = owner is None or owner.keeps_fees
            is_matched = (fee.amount_minor, fee.currency) == (one.fee_minor, one.currency) if fee else not is_ours
            ours = -fee.amount_minor if fee and fee.currency == one.currency else None if is_ours else -one.fee_minor
            lines.append(
                Line(
                    Category.FEE,
                    one.currency,
                    one.at,
                    stripe_id=one.id,
                    source=one.source,
                    payout=one.payout,
                    stripe_minor=-one.fee_minor,
                    our_minor=ours,
                    known=owner.key if owner else "",
                    topup_id=owner.topup_id if owner else None,
                    is_matched=is_matched,
                )
            )
            if not is_matched and owner is not None and owner.is_credited:
                said = f"{written(fee.amount_minor, fee.currency)} is recorded" if fee else "none is recorded"
                words = f"Stripe took {written(one.fee_minor, one.currency)} for {owner.key}, and {said}."
                missing = one.fee_minor - (fee.amount_minor if ours is not None and fee else 0)
                breaks.append(Break(BreakKind.FEE, one.id, Category.FEE, missing, one.currency, one.at, words, owner.topup_id))
    for fee in recorded.values():
        lines.append(
            Line(Category.FEE, fee.currency, fee.at, our_minor=-fee.amount_minor, known=f"fee {fee.movement}", topup_id=fee.topup_id)
        )
        if now - fee.at > PATIENCE:
            words = f"A fee of {written(fee.amount_minor, fee.currency)} is recorded for {fee.movement}, which Stripe has not booked."
            kind = BreakKind.UNKNOWN_AT_STRIPE
            breaks.append(Break(kind, fee.movement, Category.FEE, fee.amount_minor, fee.currency, fee.at, words, fee.topup_id))
    return lines, breaks


def _unequal(payouts: Iterable[KnownPayout], now: datetime) -> Iterator[Break]:
    for payout in payouts:
        difference = payout.amount_minor - (payout.amount_minor if payout.parts_minor is None else payout.parts_minor)
        if difference and now - payout.at > PATIENCE:
            parts = written(payout.parts_minor or 0, payout.currency)
            words = f"{payout.id} paid out {written(payout.amount_minor, payout.currency)}, and its movements here come to {parts}."
            yield Break(BreakKind.PAYOUT, payout.id, Category.PAYOUT, difference, payout.currency, payout.at, words)


def _told_in_two_ways(groups: Iterable[Group]) -> Iterator[Break]:
    """Yield the movements of which a file, or Stripe later, said something else: which of the two is right, a person finds out."""
    for group in groups:
        for one in group.booked:
            if one.told_otherwise:
                topup = group.known.topup_id if group.known else None
                words = f"{one.id} was told in two ways. {one.told_otherwise}"
                yield Break(BreakKind.AMOUNT, one.id, one.category, one.off_by_minor, one.currency, one.at, words, topup)
