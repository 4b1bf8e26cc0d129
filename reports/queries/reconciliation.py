"""What both sides of the reconciliation are, read from the database, and the figures that its page and its files show.

Read for a period: the movements that Stripe booked in it, and what was done here in it. Whatever belongs to one of these is
read as well, whenever it was, so that a dispute that was lost in March is compared with its payment's refund of January.

Everything here is of one mode, real money or Stripe's test mode: `is_live`, the usual one (`stripe_modes`) if None is given.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import Case, Count, F, Q, QuerySet, Sum, When
from django.db.models.functions import Coalesce

from billing.balance import Category, category_of
from billing.models import (
    BalanceTransaction,
    Dispute,
    DisputeState,
    EntryKind,
    LedgerEntry,
    Lot,
    Payout,
    PlatformFee,
    RefundState,
    TopUp,
    TopUpRefund,
    TopUpStatus,
    UnappliedPayment,
    UnappliedState,
)
from billing.queries import stripe_modes
from config.base.database import patient, snapshot
from config.base.errors import DomainError
from config.base.exact import ZERO
from pricing.queries import workspace
from reports import reconciliation
from reports.models import BreakState, ReconciliationBreak, ReconciliationSignOff
from reports.reconciliation import Booked, Known, KnownFee, KnownPayout, Line, Matched

# What a page compares at once; the task that finds breaks takes as much as there is.
MOST_MOVEMENTS: Final = 100_000
_SECONDS: Final = 120
_CALLED_RETURNED: Final = ("failed", "canceled")
OPEN_STATES: Final = (BreakState.OPEN, BreakState.IN_WORK)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the summary, in minor units: what Stripe booked, what is known here, and what of Stripe's is matched."""

    currency: str
    category: Category
    stripe_count: int
    stripe_minor: int
    our_count: int
    our_minor: int
    matched: int
    open_breaks: int

    @property
    def difference_minor(self) -> int:
        return self.stripe_minor - self.our_minor


@dataclass(frozen=True, slots=True)
class Balance:
    """Our balance at Stripe over the period: `closing = opening + movements - payouts`, in minor units."""

    currency: str
    opening_minor: int
    movements_minor: int
    payouts_minor: int

    @property
    def closing_minor(self) -> int:
        return self.opening_minor + self.movements_minor - self.payouts_minor


@dataclass(frozen=True, slots=True)
class Statement:
    """A period as finance signs it. `digest` covers every line, so that no later change goes unseen."""

    since: datetime
    until: datetime
    is_live: bool
    figures: tuple[Figure, ...]
    balances: tuple[Balance, ...]
    lines: tuple[Line, ...]
    digest: str

    @property
    def as_json(self) -> list[dict[str, Any]]:
        return [
            {
                "currency": figure.currency,
                "category": figure.category.value,
                "stripe": [figure.stripe_count, figure.stripe_minor],
                "ours": [figure.our_count, figure.our_minor],
                "matched": figure.matched,
            }
            for figure in self.figures
        ]


@dataclass(frozen=True, slots=True)
class Became:
    """What became of the credits of a top-up, by their value in the book currency: it adds up to what was paid."""

    paid: Decimal
    revenue: Decimal
    breakage: Decimal
    given_back: Decimal
    moved: Decimal  # by hand, to other wallets, or to settle what was owed
    left: Decimal


class TooMuchToCompare(DomainError):
    """Choose a shorter period."""

    code = "too_much_to_compare"


def matched(*, since: datetime, until: datetime, now: datetime, is_live: bool | None = None, most: int = MOST_MOVEMENTS) -> Matched:
    """Compare the two sides for a period, and what belongs to it. Raises TooMuchToCompare above so many movements."""
    is_live = stripe_modes.usual() if is_live is None else is_live
    with snapshot():
        patient(seconds=_SECONDS)
        there = BalanceTransaction.objects.filter(is_live=is_live)
        rows = list(there.filter(created_at__gte=since, created_at__lt=until)[: most + 1])
        if len(rows) > most:
            raise TooMuchToCompare(f"More than {most:,} movements of the balance are in this period. Choose a shorter one.")
        named = {name for row in rows for name in (row.source, row.charge, row.payment_intent) if name}
        known = _known(since, until, named, is_live)
        payouts = _payouts(since, until, named, is_live)
        charges = {name for thing in known if thing.category is Category.CHARGE for name in thing.ids if name} - named
        # A refund, a dispute and a payout may move money twice, months apart.
        ids = charges | {name for thing in known if thing.category is not Category.CHARGE for name in thing.ids}
        ids |= {payout.id for payout in payouts}
        fee_rows = PlatformFee.objects.filter(happened_at__gte=since, happened_at__lt=until, is_live=is_live)
        fees = {fee.balance_transaction: fee for fee in fee_rows.select_related("payment__topup")}
        here = {row.stripe_id for row in rows}
        # One by one, so that each is looked up by its own index; the intents' has no row without one.
        for others in (Q(source__in=ids), Q(payment_intent__in=charges) & ~Q(payment_intent=""), Q(stripe_id__in=fees.keys() - here)):
            rows += [row for row in there.filter(others) if row.stripe_id not in here]
            here = {row.stripe_id for row in rows}
        without = [row.stripe_id for row in rows if row.fee_minor and row.stripe_id not in fees]
        more = PlatformFee.objects.filter(balance_transaction__in=without, is_live=is_live)
        fees |= {fee.balance_transaction: fee for fee in more.select_related("payment__topup")}
        return reconciliation.match(
            booked=[_booked(row) for row in rows],
            known=known,
            fees=[_fee(fee) for fee in fees.values()],
            payouts=payouts,
            book_currency=workspace.load().currency,
            now=now,
        )


def statement(*, since: datetime, until: datetime, now: datetime, is_live: bool | None = None) -> Statement:
    """Return the figures of a period as of one moment, every line of which they are made, and the balance at both ends.

    Raises TooMuchToCompare.
    """
    is_live = stripe_modes.usual() if is_live is None else is_live
    with snapshot():
        found = matched(since=since, until=until, now=now, is_live=is_live)
        lines = tuple(line for line in found.lines if since <= line.at < until)
        figures = _figures(lines, _open_breaks(since, until, is_live))
        return Statement(since, until, is_live, figures, _balances(since, until, is_live), lines, _digest(lines))


def breaks(*, since: datetime, until: datetime, is_live: bool | None = None) -> "QuerySet[ReconciliationBreak]":
    """Return the breaks of a period that are still there, those that nobody has explained first."""
    is_live = stripe_modes.usual() if is_live is None else is_live
    rows = ReconciliationBreak.objects.filter(is_live=is_live, happened_at__gte=since, happened_at__lt=until)
    rows = rows.exclude(state=BreakState.RESOLVED)
    first = Case(When(state__in=OPEN_STATES, then=0), default=1)
    return rows.select_related("owner", "topup").order_by(first, "-happened_at", "-pk")


def open_breaks(*, is_live: bool | None = None) -> "QuerySet[ReconciliationBreak]":
    """Return the breaks that nobody has explained."""
    is_live = stripe_modes.usual() if is_live is None else is_live
    return ReconciliationBreak.objects.filter(state__in=OPEN_STATES, is_live=is_live)


@dataclass(frozen=True, slots=True)
class Said:
    """What a person wrote about a break."""

    at: datetime
    by: str
    state: BreakState
    note: str


def notes_of(broken: ReconciliationBreak) -> tuple[Said, ...]:
    """Return all that was written about a break, the newest first: explaining it takes no earlier note away."""
    said: list[Said] = []
    for then in broken.history.select_related("history_user").order_by("history_date", "history_id"):
        if then.note and (not said or (said[-1].note, said[-1].state) != (then.note, then.state)):
            by = then.history_user.get_username() if then.history_user else "-"
            said.append(Said(then.history_date, by, BreakState(then.state), then.note))
    return tuple(reversed(said))


def payouts(*, since: datetime, until: datetime, is_live: bool | None = None) -> "QuerySet[Any]":
    """Return the payouts made in a period, newest first, with the count and the sum of the movements that name them."""
    own = Q(transactions__source=F("stripe_id"))
    is_live = stripe_modes.usual() if is_live is None else is_live
    rows: Any = Payout.objects.filter(created_at__gte=since, created_at__lt=until, is_live=is_live)
    listed: QuerySet[Any] = rows.annotate(
        parts=Count("transactions", filter=~own), parts_minor=Coalesce(Sum("transactions__net_minor", filter=~own), 0)
    ).order_by("-created_at", "-pk")
    return listed


def lines_of_payout(payout: Payout, *, now: datetime) -> tuple[Line, ...]:
    """Return the lines of the movements that a payout took along, their fees not among them."""
    rows = list(payout.transactions.exclude(source=payout.stripe_id).order_by("created_at", "pk"))
    if not rows:
        return ()
    last = max(row.created_at for row in rows).replace(microsecond=999_999)
    found = matched(since=rows[0].created_at, until=last, now=now, is_live=payout.is_live)
    wanted = {row.stripe_id for row in rows}
    return tuple(line for line in found.lines if line.stripe_id in wanted and line.category is not Category.FEE)


def last_sign_off(*, since: datetime, until: datetime, is_live: bool | None = None) -> ReconciliationSignOff | None:
    """Return the newest signature under exactly this period."""
    is_live = stripe_modes.usual() if is_live is None else is_live
    signed = ReconciliationSignOff.objects.filter(since=since, until=until, is_live=is_live)
    return signed.select_related("signed_by").order_by("-pk").first()


def became(topups: Iterable[int]) -> dict[int, Became]:
    """Return what became of the credits of each top-up, the bonus among them."""
    sold = {topup.payment_id: topup for topup in TopUp.objects.filter(pk__in=list(topups), payment__isnull=False)}
    of_lot = dict(Lot.objects.filter(payment__in=sold).values_list("pk", "payment_id"))
    wallets = {topup.wallet_id for topup in sold.values()}
    rows = LedgerEntry.objects.filter(wallet__in=wallets, lot__in=of_lot).values_list("lot_id", "kind").annotate(value=Sum("value"))
    sums: dict[int, dict[str, Decimal]] = {payment: {} for payment in sold if payment is not None}
    for lot, kind, value in rows:
        payment = of_lot[lot]
        assert payment is not None
        sums[payment][kind] = sums[payment].get(kind, ZERO) + value
    return {sold[payment].pk: _became(by_kind) for payment, by_kind in sums.items()}


def _became(by_kind: dict[str, Decimal]) -> Became:
    def left_as(*kinds: EntryKind) -> Decimal:
        return -sum((by_kind.get(kind.value, ZERO) for kind in kinds), ZERO)

    return Became(
        paid=-left_as(EntryKind.DEPOSIT, EntryKind.GRANT),
        revenue=left_as(EntryKind.CHARGE, EntryKind.REFUND),
        breakage=left_as(EntryKind.EXPIRY),
        given_back=left_as(EntryKind.WITHDRAWAL),
        moved=left_as(EntryKind.ADJUSTMENT, EntryKind.TRANSFER),
        left=sum(by_kind.values(), ZERO),
    )


def _booked(row: BalanceTransaction) -> Booked:
    return Booked(
        id=row.stripe_id,
        category=category_of(kind=row.type, reporting_category=row.reporting_category, source=row.source),
        amount_minor=row.amount_minor,
        fee_minor=row.fee_minor,
        currency=row.currency,
        at=row.created_at,
        source=row.source,
        charge=row.charge,
        payment_intent=row.payment_intent,
        payout=row.payout_id_at_stripe,
        exchange_rate=row.exchange_rate,
        told_otherwise=row.told_otherwise,
        off_by_minor=row.off_by_minor,
    )


def _known(since: datetime, until: datetime, named: set[str], is_live: bool) -> list[Known]:
    """Return what was done here in the period, and what the movements of the period name though it was at another time.

    Orders that a movement names are among it whether or not they were credited.
    """
    of_mode = Q(topup__is_live=is_live)
    in_period = _topups(Q(status=TopUpStatus.PAID, paid_at__gte=since, paid_at__lt=until, is_live=is_live))
    in_period += _unapplied(of_mode & Q(state=UnappliedState.RETURNED, arrived_at__gte=since, arrived_at__lt=until))
    in_period += _refunds(of_mode & Q(created_at__gte=since, created_at__lt=until))
    in_period += _disputes(of_mode & Q(opened_at__gte=since, opened_at__lt=until))
    others = named - {name for thing in in_period for name in thing.ids}
    paid_by = Q(charge__in=others) | Q(payment_intent__in=others)
    outside = Q(status__in=(TopUpStatus.MISMATCH, TopUpStatus.RETURNED), unapplied__payment_intent=F("payment_intent"))
    named_too = [*_topups(Q(is_live=is_live) & paid_by & ~outside), *_unapplied(of_mode & paid_by)]
    named_too += [*_refunds(of_mode & Q(stripe_id__in=others)), *_disputes(of_mode & Q(stripe_id__in=others))]
    return [*in_period, *named_too]


def _topups(wanted: Q) -> list[Known]:
    return [
        Known(
            key=f"top-up {topup.pk}",
            category=Category.CHARGE,
            ids=(topup.charge, topup.payment_intent),
            amount_minor=topup.amount_minor,
            currency=topup.currency,
            at=topup.paid_at or topup.changed_at,
            topup_id=topup.pk,
            book_value=topup.book_value,
            is_credited=topup.status == TopUpStatus.PAID,
        )
        for topup in TopUp.objects.filter(wanted)
    ]


def _unapplied(wanted: Q) -> list[Known]:
    """Return payments that were not credited: what went back is explained, what waits for a decision is not."""
    return [
        Known(
            key=f"payment {row.pk} outside top-up {row.topup_id}",
            category=Category.CHARGE,
            ids=(row.charge, row.payment_intent),
            amount_minor=row.amount_minor,
            currency=row.currency,
            at=row.arrived_at,
            topup_id=row.topup_id,
            is_credited=row.state == UnappliedState.RETURNED,
            keeps_fees=False,
        )
        for row in UnappliedPayment.objects.filter(wanted).exclude(state=UnappliedState.CREDITED)
    ]


def _refunds(wanted: Q) -> list[Known]:
    away = (RefundState.PENDING, RefundState.SUCCEEDED)
    return [
        Known(
            key=f"refund {refund.pk}",
            category=Category.REFUND,
            ids=(refund.stripe_id,),
            amount_minor=-refund.amount_minor if refund.state in away else 0,
            currency=refund.currency,
            at=refund.created_at,
            topup_id=refund.topup_id,
            lacks_withdrawal=refund.state in away and refund.withdrawal is None and refund.unapplied_id is None,
        )
        for refund in TopUpRefund.objects.filter(wanted).exclude(stripe_id="").select_related("topup", "unapplied")
    ]


def _disputes(wanted: Q) -> list[Known]:
    away = (DisputeState.OPEN, DisputeState.LOST)
    return [
        Known(
            key=f"dispute {dispute.pk}",
            category=Category.DISPUTE,
            ids=(dispute.stripe_id,),
            amount_minor=-dispute.amount_minor if dispute.state in away else 0,
            currency=dispute.currency,
            at=dispute.opened_at,
            topup_id=dispute.topup_id,
            lacks_withdrawal=dispute.state in away and dispute.withdrawal is None,
        )
        for dispute in Dispute.objects.filter(wanted)
    ]


def _payouts(since: datetime, until: datetime, named: set[str], is_live: bool) -> list[KnownPayout]:
    own = Q(transactions__source=F("stripe_id"))
    wanted = Q(created_at__gte=since, created_at__lt=until) | Q(stripe_id__in=named)
    rows: Any = Payout.objects.filter(wanted, is_live=is_live)
    return [
        KnownPayout(
            id=payout.stripe_id,
            amount_minor=payout.amount_minor,
            currency=payout.currency,
            at=payout.created_at,
            is_returned=payout.status in _CALLED_RETURNED,
            parts_minor=payout.parts_minor if payout.is_automatic else None,
        )
        for payout in rows.annotate(parts_minor=Coalesce(Sum("transactions__net_minor", filter=~own), 0))
    ]


def _fee(fee: PlatformFee) -> KnownFee:
    topup = getattr(fee.payment, "topup", None)
    return KnownFee(fee.balance_transaction, fee.amount_minor, fee.currency, fee.happened_at, topup.pk if topup else None)


def _open_breaks(since: datetime, until: datetime, is_live: bool) -> dict[tuple[str, str], int]:
    rows = open_breaks(is_live=is_live).filter(happened_at__gte=since, happened_at__lt=until).values_list("currency", "category")
    return {(currency, category): count for currency, category, count in rows.annotate(count=Count("pk"))}


def _figures(lines: Sequence[Line], open_: dict[tuple[str, str], int]) -> tuple[Figure, ...]:
    by_key: dict[tuple[str, Category], list[Line]] = {}
    for line in lines:
        by_key.setdefault((line.currency, line.category), []).append(line)
    for currency, category in open_:
        by_key.setdefault((currency, Category(category)), [])
    order = list(Category)
    return tuple(
        Figure(
            currency=currency,
            category=category,
            stripe_count=sum(line.stripe_minor is not None for line in same),
            stripe_minor=sum(line.stripe_minor or 0 for line in same),
            our_count=sum(line.our_minor is not None for line in same),
            our_minor=sum(line.our_minor or 0 for line in same),
            matched=sum(line.is_matched for line in same),
            open_breaks=open_.get((currency, category.value), 0),
        )
        for (currency, category), same in sorted(by_key.items(), key=lambda item: (item[0][0], order.index(item[0][1])))
    )


def _balances(since: datetime, until: datetime, is_live: bool) -> tuple[Balance, ...]:
    before, within = Q(created_at__lt=since), Q(created_at__gte=since)
    is_payout = Q(reporting_category__in=("payout", "payout_reversal")) | Q(type__in=("payout", "payout_cancel", "payout_failure"))
    rows = (
        BalanceTransaction.objects.filter(created_at__lt=until, is_live=is_live)
        .values_list("currency")
        .annotate(
            opening=Coalesce(Sum("net_minor", filter=before), 0),
            movements=Coalesce(Sum("net_minor", filter=within & ~is_payout), 0),
            payouts=Coalesce(Sum("net_minor", filter=within & is_payout), 0),
        )
        .order_by("currency")
    )
    return tuple(Balance(currency, opening, movements, -paid) for currency, opening, movements, paid in rows)


def _digest(lines: Iterable[Line]) -> str:
    """Hash every line, in their order: what was signed can be told from what was changed since."""
    seal = hashlib.sha256()
    for line in lines:
        facts = (
            line.category,
            line.currency,
            line.at.isoformat(),
            line.stripe_id,
            line.stripe_minor,
            line.our_minor,
            line.known,
            line.payout,
        )
        seal.update(json.dumps(facts).encode() + b"\n")
    return seal.hexdigest()
