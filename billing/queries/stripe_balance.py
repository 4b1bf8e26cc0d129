"""Our balance at Stripe as people look at it: what a movement is about, and which payouts want looking at.

A movement names a charge, a refund or a dispute by Stripe's id; here that leads to the top-up, its wallet and its lots.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Subquery, Sum, When

from billing.balance import BY_REPORT, BY_SOURCE, BY_TYPE, Category
from billing.models import BalanceTransaction, Dispute, EntryKind, Lot, Payout, PlatformFee, TopUp, TopUpRefund
from billing.queries import lookup

# A payout is taken apart by Stripe within days.
PATIENCE: Final = timedelta(days=3)
_RETURNED: Final = ("failed", "canceled")
_WITH_CUSTOMER: Final = "wallet__customer"


@dataclass(frozen=True, slots=True)
class About:
    """What a movement of the balance is about, as far as it is known here."""

    topup: TopUp
    refund: TopUpRefund | None = None
    dispute: Dispute | None = None


def about(rows: Iterable[BalanceTransaction]) -> dict[int, About]:
    """Return what each movement is about, by its key; movements that nothing here is about are left out. Three queries."""
    listed = list(rows)
    sources = {row.source for row in listed} - {""}
    charges = sources | ({row.charge for row in listed} - {""})
    intents = {row.payment_intent for row in listed} - {""}
    topups = TopUp.objects.filter(Q(charge__in=charges) | Q(payment_intent__in=intents)).select_related(_WITH_CUSTOMER)
    by_name = {name: topup for topup in topups for name in (topup.charge, topup.payment_intent) if name}
    joined = f"topup__{_WITH_CUSTOMER}"
    refunds = {row.stripe_id: row for row in TopUpRefund.objects.filter(stripe_id__in=sources).select_related(joined)}
    disputes = {row.stripe_id: row for row in Dispute.objects.filter(stripe_id__in=sources).select_related(joined)}
    found: dict[int, About] = {}
    for row in listed:
        refund, dispute = refunds.get(row.source), disputes.get(row.source)
        back = refund or dispute
        topup = back.topup if back else by_name.get(row.source) or by_name.get(row.charge) or by_name.get(row.payment_intent)
        if topup is not None:
            found[row.pk] = About(topup, refund, dispute)
    return found


def lots_of(topups: Iterable[TopUp]) -> dict[int, list[Lot]]:
    """Return the lots that each top-up filled, by the key of the top-up."""
    sold = {topup.payment_id: topup.pk for topup in topups if topup.payment_id}
    found: dict[int, list[Lot]] = {}
    for lot in Lot.objects.filter(payment__in=sold).order_by("pk"):
        assert lot.payment_id is not None
        found.setdefault(sold[lot.payment_id], []).append(lot)
    return found


def movements_of(topup: TopUp) -> "QuerySet[BalanceTransaction]":
    """Return the movements of a top-up, its refunds and its disputes, in the order in which Stripe booked them."""
    return BalanceTransaction.objects.filter(source__in=_names(topup)).select_related("payout").order_by("created_at", "pk")


def found_by(rows: "QuerySet[Any]", text: str) -> "QuerySet[Any]":
    """Return the movements that this id is of: their own, their payout's, or one of a top-up, a refund or a dispute."""
    kind, _, _ = text.partition("_")
    if kind == "po":
        return rows.filter(Q(payout__stripe_id=text) | Q(source=text))
    if kind in {"pi", "cs", "topup"}:
        topup = lookup.topup(text)
        return rows.filter(source__in=_names(topup)) if topup else rows.none()
    return rows.filter(Q(stripe_id=text) | Q(source=text))


def fees_found_by(rows: "QuerySet[Any]", text: str) -> "QuerySet[Any]":
    """Return the fees that this id is of: of their movement, of their payment, or of a top-up, a refund or a dispute."""
    topup = lookup.topup(text)
    if topup is None:
        return rows.filter(balance_transaction=text)
    return rows.filter(payment=topup.payment_id) if topup.payment_id else rows.none()


def of_category(category: str) -> Q:
    """Choose the movements of a category, as `billing.balance.category_of` sorts them."""
    by_report = Q(reporting_category__in=_kinds(BY_REPORT, category))
    sorted_by_type = ~Q(reporting_category__in=BY_REPORT)
    by_type = sorted_by_type & Q(type__in=_kinds(BY_TYPE, category))
    sorted_by_source = sorted_by_type & ~Q(type__in=BY_TYPE)
    begins = Q(pk__in=())
    for prefix in _kinds(BY_SOURCE, category):
        begins |= Q(source=prefix) | Q(source__startswith=f"{prefix}_")
    if category == Category.OTHER:
        begins = Q()
        for prefix in BY_SOURCE:
            begins &= ~Q(source=prefix) & ~Q(source__startswith=f"{prefix}_")
    return by_report | by_type | sorted_by_source & begins


def unexplained_payouts(*, now: datetime) -> "QuerySet[Payout]":
    """Return the payouts that Stripe should have taken apart by now and whose movements do not add up to them."""
    open_ = Payout.objects.filter(is_reconciled=False, is_automatic=True, created_at__lt=now - PATIENCE)
    return open_.exclude(status__in=_RETURNED)


def with_platform_fee(entries: "QuerySet[Any]") -> "QuerySet[Any]":
    """Give each deposit what its payment cost us, in the book currency, as `fee_in_books`; `has_other_fees` says that it is not all.

    An entry never changes and a fee arrives after it, so the ledger itself knows none.
    """
    fees = PlatformFee.objects.filter(payment=OuterRef("payment"))
    summed = fees.order_by().values("payment").annotate(sum=Sum("amount")).values("sum")
    is_deposit = Q(kind=EntryKind.DEPOSIT)
    told: QuerySet[Any] = entries.annotate(
        fee_in_books=Case(When(is_deposit, then=Subquery(summed))),
        has_other_fees=Case(When(is_deposit, then=Exists(fees.filter(amount__isnull=True))), default=False),
    )
    return told


def fees_of(payment_id: int) -> "QuerySet[PlatformFee]":
    """Return what a payment cost us, in the order in which it was taken."""
    return PlatformFee.objects.filter(payment=payment_id).order_by("happened_at", "pk")


def _names(topup: TopUp) -> set[str]:
    refunds = topup.refunds.values_list("stripe_id", flat=True)
    disputes = topup.disputes.values_list("stripe_id", flat=True)
    return {topup.charge, *refunds, *disputes} - {""}


def _kinds(table: dict[str, Category], category: str) -> list[str]:
    return [kind for kind, of in table.items() if of == category]
