"""The inbox as people and monitors see it: what an event is about, and what waits."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, Min, Model, Q, QuerySet

from billing.models import Dispute, EventQueue, EventState, Payout, StripeEvent, TopUp, TopUpRefund

# What the object of an event is here, by the beginning of the event's type; the first that fits.
_ABOUT: Final[tuple[tuple[str, "QuerySet[Any]", str], ...]] = (
    ("checkout.session.", TopUp.objects.all(), "checkout_session"),
    ("payment_intent.", TopUp.objects.all(), "payment_intent"),
    ("charge.dispute.", Dispute.objects.all(), "stripe_id"),
    ("charge.refund.", TopUpRefund.objects.select_related("topup"), "stripe_id"),
    ("charge.", TopUp.objects.all(), "charge"),
    ("refund.", TopUpRefund.objects.select_related("topup"), "stripe_id"),
    ("payout.", Payout.objects.all(), "stripe_id"),
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What has not come to an end in a queue. `oldest_at` is when the first of those came that nobody has looked at."""

    new: int
    again: int
    dead: int
    oldest_at: datetime | None


def about(events: Iterable[StripeEvent]) -> dict[int, Model]:
    """Return what is known here of each event's object, by the event's key; one query for each kind of object."""
    sought: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for event in events:
        place = next((place for place, (beginning, _, _) in enumerate(_ABOUT) if event.type.startswith(beginning)), None)
        if place is not None and event.object_id:
            sought[place][event.object_id].append(event.pk)
    found: dict[int, Model] = {}
    for place, by_object in sought.items():
        _, rows, field = _ABOUT[place]
        for row in rows.filter(**{f"{field}__in": list(by_object)}):
            found |= dict.fromkeys(by_object[getattr(row, field)], row)
    return found


def dead() -> "QuerySet[StripeEvent]":
    """Return the events that failed too often."""
    return StripeEvent.objects.filter(state=EventState.DEAD)


def waiting() -> dict[EventQueue, Waiting]:
    """Count what waits in each queue; indexes hold just that."""
    due = StripeEvent.objects.filter(state=EventState.DUE).values("queue")
    found = due.annotate(
        new=Count("pk", filter=Q(attempts=0)),
        again=Count("pk", filter=Q(attempts__gt=0)),
        oldest_at=Min("received_at", filter=Q(attempts=0)),
    )
    rows: dict[str, Any] = {row["queue"]: row for row in found}
    lost = dict(dead().values_list("queue").annotate(Count("pk")))
    none = {"new": 0, "again": 0, "oldest_at": None}
    counted = {queue: rows.get(queue, none) for queue in EventQueue}
    return {queue: Waiting(row["new"], row["again"], lost.get(queue, 0), row["oldest_at"]) for queue, row in counted.items()}
