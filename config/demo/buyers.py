"""The customers of the demo company: how much they use, and how they pay."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from random import Random

from billing.events import Caller
from billing.services import customers

PRODUCTION = "production"
STAGING = "staging"


class Habit(StrEnum):
    """How a customer gets its credits."""

    FREE = "free"  # a grant each month, and nothing else
    BUYS = "buys"  # tops up when credits run low
    ONCE = "once"  # bought once and lets them run out: low wallets
    OWES = "owes"  # has a credit line and stopped topping up
    FROZEN = "frozen"  # bought with a stolen card, as it turned out
    TESTER = "tester"  # our own people in staging


@dataclass(frozen=True, slots=True)
class Pack:
    """Credits for money; the larger, the cheaper each."""

    credits: Decimal
    amount: Decimal


PACKS = {
    "pro": (Pack(Decimal(1_000), Decimal("10.00")), Pack(Decimal(2_500), Decimal("23.75"))),
    "business": (Pack(Decimal(10_000), Decimal("85.00")), Pack(Decimal(25_000), Decimal("195.00"))),
}
SMALL = Pack(Decimal(500), Decimal("5.00"))
# project, how its customers are numbered, how many on free, pro and business
_WHERE = (
    ("support-chat", "user_", 30, 20, 6),
    ("image-studio", "studio_", 20, 14, 3),
    ("agent-platform", "org_0", 10, 14, 7),
    ("search", "reader_", 15, 8, 3),
)
_WEIGHT = {"free": 1.0, "pro": 5.0, "business": 24.0}
_FIRST = (
    *("Alder", "Birch", "Cedar", "Delta", "Ember", "Fjord", "Grove", "Harbor", "Indigo", "Juniper"),
    *("Kestrel", "Lark", "Maple", "North", "Opal", "Pine", "Quartz", "River", "Slate", "Thistle"),
)
_SECOND = (
    *("Analytics", "Books", "Clinics", "Dental", "Energy", "Foods", "Games", "Housing", "Imports", "Legal"),
    *("Media", "Travel"),
)
_FIRST_PERSON = (
    *("Amara", "Bo", "Chiara", "Dario", "Elif", "Finn", "Greta", "Hana", "Ivo", "Jonas"),
    *("Kaya", "Lena", "Milo", "Nora", "Oskar", "Petra", "Ravi", "Selma", "Tomas", "Vera"),
)


@dataclass(frozen=True, slots=True)
class Buyer:
    """One customer with its wallet."""

    caller: Caller
    external_id: str
    plan: str
    habit: Habit
    weight: float
    pack: Pack
    wallet_id: int
    customer_id: int

    @property
    def project(self) -> str:
        """The key of its project."""
        return self.caller.project_key


def sign_up(callers: dict[tuple[str, str], Caller], random: Random, *, first: datetime) -> list[Buyer]:
    """Make the customers, the oldest first; production before staging."""
    buyers = []
    for project, prefix, *counts in _WHERE:
        plans = [plan for plan, count in zip(("business", "pro", "free"), reversed(counts), strict=True) for _ in range(count)]
        for number, plan in enumerate(plans):
            habit = _habit(project, plan, number, counts)
            name = _company(random) if plan != "free" else f"{random.choice(_FIRST_PERSON)} {random.choice('ABCDEFGHKLMNPRSTVW')}."
            weight = _WEIGHT[plan] * random.lognormvariate(0, 0.5)
            pack = _pack(plan, habit, random)
            joined = first - timedelta(days=random.randrange(1, 300), hours=random.randrange(24))
            who = (callers[project, PRODUCTION], f"{prefix}{101 + number}", plan, habit, weight, pack)
            buyers.append(_make(*who, name=f"{name} (demo)", now=joined))
    for project in ("support-chat", "search"):
        who = (callers[project, STAGING], "tester", "pro", Habit.TESTER, 1.0, SMALL)
        buyers.append(_make(*who, name="Test account (demo)", now=first))
    return buyers


def _make(caller: Caller, external_id: str, plan: str, habit: Habit, weight: float, pack: Pack, *, name: str, now: datetime) -> Buyer:
    changes = {"name": name, "plan": plan, "email": f"{external_id.replace('_', '.')}@example.com", "metadata": {"demo": True}}
    customer = customers.upsert(caller=caller, external_id=external_id, changes=changes, now=now).customer
    return Buyer(caller, external_id, plan, habit, weight, pack, customer.wallet.pk, customer.pk)


def _habit(project: str, plan: str, number: int, counts: list[int]) -> Habit:
    """Special ones stand at fixed places, so that every seed has them."""
    if plan == "free":
        return Habit.FREE
    if (project, number) == ("support-chat", 1):
        return Habit.OWES
    if (project, number) == ("image-studio", counts[2] + 1):
        return Habit.FROZEN
    return Habit.ONCE if plan == "pro" and number % 4 == 0 else Habit.BUYS


def _pack(plan: str, habit: Habit, random: Random) -> Pack:
    match habit:
        case Habit.BUYS:
            return random.choice(PACKS[plan])
        case Habit.FROZEN:
            return PACKS["business"][0]
        case _:
            return SMALL


def _company(random: Random) -> str:
    return f"{random.choice(_FIRST)} {random.choice(_SECOND)}"
