"""A company on paper beside the same company in the database: its customers' wallets and its price list."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from billing.events import Charged, Event
from billing.models import Hold, Wallet
from tests.billing.factories import NOW
from tests.properties.paper import No, PaperHold, PaperLot, PaperWallet, Part, half_up

# Twelve places, so that nearly everything that is owed has to be rounded.
LIST_VALUE = Decimal("0.012345678901")
FUTURE = timedelta(seconds=60)


@dataclass(frozen=True)
class ListPrice:
    """One version: from when, which number, how many millionths of a credit."""

    starts: datetime
    number: int
    credits: int


@dataclass
class PaperPrices:
    """Versions by (event, segment, key). A version ends where the next one starts."""

    versions: dict[tuple[str, str, str], list[ListPrice]] = field(default_factory=dict)

    def find(self, event: str, customer: str, plan: str, at: datetime) -> ListPrice:
        for segment, key in (("customer", customer), ("plan", plan), ("default", "")):
            started = [price for price in self.versions.get((event, segment, key), []) if price.starts <= at]
            if started:
                return max(started, key=lambda price: price.starts)
        raise No("no_price")


@dataclass(eq=False)
class Bill:
    """A charge on paper, its record's id, and what is needed to refund it."""

    wallet: PaperWallet
    parts: list[Part]
    record_id: int = 0


@dataclass(eq=False)
class Person:
    """A customer: the name that the app gives, the wallet in the database, the wallet on paper."""

    name: str
    wallet: Wallet
    paper: PaperWallet


@dataclass
class Company:
    people: dict[str, Person] = field(default_factory=dict)
    prices: PaperPrices = field(default_factory=PaperPrices)
    events: list[tuple[Event, Charged]] = field(default_factory=list)
    bills: list[Bill] = field(default_factory=list)
    holds: list[tuple[Hold, PaperHold, Person]] = field(default_factory=list)
    now: datetime = NOW

    def join(self, name: str, wallet: Wallet, plan: str) -> Person:
        debt = PaperLot(0, unit=int(LIST_VALUE.scaleb(12)))
        self.people[name] = Person(name, wallet, PaperWallet(debt, plan=plan))
        return self.people[name]

    def cost(self, event: str, person: Person, quantity: int, at: datetime, price_key: str) -> tuple[int, int]:
        """Return (version number, micro-credits) of `quantity` millionths of an event; raises No("no_price")."""
        price = self.prices.find(event, price_key, person.paper.plan, at)
        return price.number, half_up(price.credits * quantity, 10**6)

    def hold(self, hold_id: int) -> PaperHold | None:
        return next((paper for hold, paper, _ in self.holds if hold.pk == hold_id), None)

    def ends(self) -> list[datetime]:
        """Return when open holds and lots with something left in them will end, the soonest first."""
        lots = [lot.ends for person in self.people.values() for lot in person.paper.lots if lot.left and lot.ends]
        return sorted(end for end in [*lots, *(hold.ends for _, hold, _ in self.holds if hold.state == "open")] if end > self.now)

    def events_by_key(self) -> dict[str, tuple[Event, Charged]]:
        return {event.idempotency_key: (event, charged) for event, charged in self.events}
