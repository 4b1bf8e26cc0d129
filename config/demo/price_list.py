"""What the demo company charges, and how that has changed."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User

from config.base.exact import Rounding
from pricing.models import Segment
from pricing.price import Component, Tier
from pricing.services import prices
from pricing.units import UnitKind

VIP = "agent-platform/org_0101"  # the customer with a price of its own: the first of its project (`buyers`)
_LONG_AGO = 400


@dataclass(frozen=True, slots=True)
class Change:
    """One version: decided a week before it came into force, `days_ago` days before now (negative: still to come)."""

    days_ago: int
    credits: str
    reason: str
    terms: dict[str, Any] = field(default_factory=dict)


EVENT_TYPES = (
    ("chat.reply", "Chat reply", "reply"),
    ("image.generate", "Image", "image"),
    ("agent.run", "Agent run", "run"),
    ("doc.summary", "Document summary", "page"),
    ("search.query", "Search", "query"),
)
_AGENT = {
    "components": (Component(UnitKind.OUTPUT.value, Decimal("0.4"), 1000), Component(UnitKind.INPUT.value, Decimal("0.15"), 1000)),
    "minimum": Decimal(8),
    "rounding_step": Decimal(1),
    "rounding_mode": Rounding.UP,
}
_PAGES = {"tiers": (Tier(Decimal(10), Decimal(1)),)}
RULES: dict[tuple[str, Segment, str], tuple[Change, ...]] = {
    ("chat.reply", Segment.DEFAULT, ""): (
        Change(_LONG_AGO, "3", "Opening price"),
        Change(68, "4", "Longer answers cost more to make than three credits brought in"),
    ),
    ("chat.reply", Segment.PLAN, "business"): (Change(200, "3.5", "Volume plan"),),
    ("image.generate", Segment.DEFAULT, ""): (
        Change(_LONG_AGO, "14", "Opening price"),
        Change(120, "12", "The provider became cheaper"),
        Change(45, "10", "Half-price campaign of a competitor"),
    ),
    ("image.generate", Segment.PLAN, "pro"): (Change(120, "9", "Part of the pro plan"),),
    ("agent.run", Segment.DEFAULT, ""): (
        Change(_LONG_AGO, "6", "Opening price"),
        Change(80, "8", "Runs became longer: a part by tokens on top of the part per run", _AGENT),
    ),
    ("agent.run", Segment.CUSTOMER, VIP): (Change(60, "7", "Annual contract of the customer", _AGENT | {"minimum": Decimal(7)}),),
    ("doc.summary", Segment.DEFAULT, ""): (Change(_LONG_AGO, "2", "Opening price, cheaper from the tenth page", _PAGES),),
    ("search.query", Segment.DEFAULT, ""): (
        Change(_LONG_AGO, "1", "Opening price"),
        Change(52, "0.5", "Searches bring people to the paid answers"),
        Change(-14, "0.6", "From the next quarter on"),
    ),
}


def publish(users: dict[str, User], *, now: datetime) -> None:
    """Publish every version at the moment of its decision, the oldest first within each rule."""
    types = {
        name: prices.create_event_type(name=name, label=label, unit_name=unit, actor=users["product"]) for name, label, unit in EVENT_TYPES
    }
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for (event, segment, key), changes in RULES.items():
        rule = prices.create_rule(event_type=types[event], segment=segment, segment_key=key, actor=users["product"])
        for change in changes:
            starts = midnight - timedelta(days=change.days_ago)
            prices.publish_version(
                rule=rule,
                credits_per_event=Decimal(change.credits),
                effective_from=starts,
                reason=change.reason,
                actor=users["product"],
                approved_by=users["finance"],
                now=min(starts - timedelta(days=7), now),
                **change.terms,
            )
