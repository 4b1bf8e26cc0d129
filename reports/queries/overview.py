"""The figures behind "are we OK?": small, bounded in time or capped, so that the page opens as fast on a large desk.

Credits are counted from the ledger by the time it learned of them, since that is what its time index orders. Counts of
work stop at a cap: whether 1,000 or 40,000 wallets are low, the next step is the same.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Max, Min, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from billing.models import (
    Alert,
    AlertState,
    ApiKey,
    CheckRun,
    Customer,
    EntryKind,
    Hold,
    HoldStatus,
    LedgerEntry,
    Lot,
    LotKind,
    Project,
    Seal,
    UsageRecord,
    Wallet,
    WalletStatus,
)
from billing.queries import alerts as alert_inbox
from billing.queries import badges, costs, money_back
from billing.queries.alerts import Person
from config.base.exact import CONTEXT, ZERO
from pricing.models import PriceVersion, Proposal
from pricing.queries import proposal_page, proposals, workspace

WEEK = timedelta(days=6)  # and today
CAP = 1_000
NAMED = 5
_SPENT = (EntryKind.CHARGE, EntryKind.REFUND)
_ODD = 10
_ASKS = "needs_response"  # a dispute that was answered waits for the bank


@dataclass(frozen=True, slots=True)
class Sums:
    """Credits of today, and of today and the six days before."""

    today: Decimal
    week: Decimal


@dataclass(frozen=True, slots=True)
class EventRow:
    """What one event type took out of wallets, refunds taken off."""

    event: str
    credits: Sums
    share_percent: int


@dataclass(frozen=True, slots=True)
class Dearest:
    """The charge of the week that cost us most, by what is known now, and what one of its event type brings in on average, at the
    credits' list value.
    """

    event: str
    cost: Decimal
    usual_value: Decimal

    @property
    def is_odd(self) -> bool:
        return self.cost > _ODD * self.usual_value


@dataclass(frozen=True, slots=True)
class Movements:
    """Credits out by event, credits in by how they came, and what refunds of top-ups and disputes took back of them since;
    `paid_week` and `paid_back_week` in the book currency.
    """

    since: datetime
    spent: Sums
    events: tuple[EventRow, ...]
    bought: Sums
    given: Sums
    paid_week: Decimal
    withdrawn: Sums
    paid_back_week: Decimal
    currency: str
    dearest: Dearest | None  # an odd one before others; None where no cost is known


@dataclass(frozen=True, slots=True)
class Capped:
    """A number of things, exact up to the cap."""

    number: int

    @property
    def text(self) -> str:
        return f"{CAP:,}+" if self.number > CAP else f"{self.number:,}"

    def __bool__(self) -> bool:
        return self.number > 0


@dataclass(frozen=True, slots=True)
class Undecided:
    """Prices that wait for a decision, and the first of them."""

    count: Capped
    first: tuple[Proposal, ...]


@dataclass(frozen=True, slots=True)
class Wallets:
    """Wallets that somebody should look at."""

    low: Capped
    frozen: Capped
    in_debt: Capped


@dataclass(frozen=True, slots=True)
class Alerts:
    """Alerts that nobody has seen to, and the newest of them."""

    open: Capped
    newest: Alert | None


@dataclass(frozen=True, slots=True)
class Disputes:
    """Disputes and inquiries that are not decided, and by when the first of them must be answered; None where Stripe names no date."""

    open: Capped
    first_due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Holds:
    """Credits set aside now; `overdue` should have been given back by time already."""

    open: Capped
    credits: Decimal
    overdue: Capped


@dataclass(frozen=True, slots=True)
class Proof:
    """The newest seal and the last check of the ledger; None where there was none yet."""

    sealed_until: datetime | None
    digest: str
    checked_at: datetime | None
    is_clean: bool
    broken_rules: int


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """What a new desk has already."""

    has_key: bool
    has_price: bool
    has_customer: bool
    has_usage: bool

    @property
    def are_done(self) -> bool:
        return self.has_usage


def count(rows: "QuerySet[Any]") -> Capped:
    """Count rows, at most so many that the cap says it."""
    return Capped(rows.order_by()[: CAP + 1].count())


def movements(*, now: datetime) -> Movements:
    """Return what moved in and out of wallets today and this week, in the current time zone's days."""
    today = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - WEEK
    rows = (
        costs.with_known_charge_costs(LedgerEntry.objects.filter(recorded_at__gte=since))
        .values("kind", "event_type__name")
        .annotate(
            week=Sum("credits"),
            today=Coalesce(Sum("credits", filter=Q(recorded_at__gte=today)), ZERO),
            paid=Sum("value"),
            entries=Count("pk"),
            dearest=Max("known_cost", filter=Q(kind=EntryKind.CHARGE)),
        )
        .order_by()
    )
    found: list[Any] = list(rows)
    company = workspace.load()
    return Movements(
        since=since,
        spent=_sums([row for row in found if row["kind"] in _SPENT], sign=-1),
        events=_event_rows([row for row in found if row["kind"] in _SPENT]),
        bought=_sums([row for row in found if row["kind"] == EntryKind.DEPOSIT]),
        given=_sums([row for row in found if row["kind"] == EntryKind.GRANT]),
        paid_week=sum((row["paid"] for row in found if row["kind"] == EntryKind.DEPOSIT), ZERO),
        withdrawn=_sums([row for row in found if row["kind"] == EntryKind.WITHDRAWAL], sign=-1),
        paid_back_week=-sum((row["paid"] for row in found if row["kind"] == EntryKind.WITHDRAWAL), ZERO),
        currency=company.currency,
        dearest=_dearest([row for row in found if row["kind"] == EntryKind.CHARGE and row["dearest"] is not None], company.credit_value),
    )


def record_of(dearest: Dearest, *, since: datetime) -> int:
    """Return the id of a usage record that cost so much; reads entries since then until one is found."""
    entries = LedgerEntry.objects.filter(recorded_at__gte=since, kind=EntryKind.CHARGE, event_type__name=dearest.event)
    record_id: int = (
        costs.with_known_charge_costs(entries).filter(known_cost=dearest.cost).order_by().values_list("transaction_id", flat=True)[0]
    )
    return record_id


def wallets() -> Wallets:
    """Return how many wallets are low, frozen, or owe credits."""
    in_debt = Lot.objects.filter(kind=LotKind.OVERDRAFT, is_open=True)
    return Wallets(
        low=count(badges.below_threshold()),
        frozen=count(Wallet.objects.filter(status=WalletStatus.FROZEN)),
        in_debt=count(in_debt),
    )


def holds(*, now: datetime) -> Holds:
    """Return what is set aside for actions still running."""
    open_holds = Hold.objects.filter(status=HoldStatus.OPEN)
    first = list(open_holds.order_by().values_list("credits", flat=True)[: CAP + 1])
    return Holds(open=Capped(len(first)), credits=sum(first, ZERO), overdue=count(open_holds.filter(expires_at__lte=now)))


def alerts(person: Person) -> Alerts:
    """Return the alerts that nobody has seen to, as far as the person sees them."""
    found = alert_inbox.visible(Alert.objects.filter(state=AlertState.OPEN), person)
    newest = found.order_by("-raised_at", "-pk").first()
    return Alerts(open=count(found) if newest else Capped(0), newest=newest)


def disputes() -> Disputes:
    """Return how many disputes are not decided, and when the first answer is due."""
    found = money_back.under_way()
    return Disputes(
        open=count(found), first_due_at=found.aggregate(first=Min("evidence_due_at", filter=Q(stripe_status__endswith=_ASKS)))["first"]
    )


def unpriced(*, now: datetime) -> Capped:
    """Return how many records of the last 30 days have no known provider cost."""
    return count(badges.unpriced(since=now - badges.UNPRICED_WINDOW))


def undecided() -> Undecided:
    """Return the proposed prices that wait for a decision, those that wait longest by name."""
    waiting = proposals.open_proposals()
    return Undecided(count=count(waiting), first=tuple(waiting.defer(*proposal_page.LARGE)[:NAMED]))


def proof() -> Proof:
    """Return how far the ledger is sealed and what the last check found."""
    seal = Seal.objects.order_by("-starts_at").only("ends_at", "digest").first()
    check = CheckRun.objects.order_by("-started_at").only("started_at", "is_clean", "rules").first()
    return Proof(
        sealed_until=seal.ends_at if seal else None,
        digest=seal.digest if seal else "",
        checked_at=check.started_at if check else None,
        is_clean=check.is_clean if check else True,
        broken_rules=sum(1 for rule in check.rules if rule["break_count"]) if check else 0,
    )


def first_steps() -> FirstSteps:
    """Return what there is of: a key, a price, a customer, a usage record."""
    return FirstSteps(
        has_key=Project.objects.exists() and ApiKey.objects.exists(),
        has_price=PriceVersion.objects.exists(),
        has_customer=Customer.objects.exists(),
        has_usage=UsageRecord.objects.exists(),
    )


def _dearest(charges: list[dict[str, Any]], credit_value: Decimal) -> Dearest | None:
    """Return the dearest; a charge that two lots paid counts as two, which makes what is usual a little less."""
    each = (
        Dearest(row["event_type__name"], row["dearest"], CONTEXT.divide(CONTEXT.multiply(-row["week"], credit_value), row["entries"]))
        for row in charges
    )
    return max(each, key=lambda one: (one.is_odd, one.cost), default=None)


def _event_rows(rows: list[dict[str, Any]]) -> tuple[EventRow, ...]:
    """Return one row per event type, the largest first, each with its share of the largest."""
    by_event: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_event[row["event_type__name"] or "without an event"].append(row)
    sums = sorted(((_sums(parts, sign=-1), event) for event, parts in by_event.items()), key=lambda found: (-found[0].week, found[1]))
    largest = max((week.week for week, _ in sums), default=ZERO)
    return tuple(EventRow(event, credits, round(100 * credits.week / largest) if largest > 0 else 0) for credits, event in sums)


def _sums(rows: list[dict[str, Any]], *, sign: int = 1) -> Sums:
    return Sums(sum((row["today"] for row in rows), ZERO) * sign, sum((row["week"] for row in rows), ZERO) * sign)
