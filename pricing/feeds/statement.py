"""What a feed states: the names of models, their prices by period, and what it holds that no rate can say."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from config.base.exact import plain
from pricing.rate_catalogue import STANDARD_TIER
from pricing.units import UnitKind

# Since when a price holds of which nobody stated it; before any model that is sold today.
EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)
MILLION: Final = 1_000_000


# In the place of what a file says twice, differently: no later word is better than an earlier one.
STATED_TWICE: Final = object()


class FeedError(ValueError):
    """The file is not a feed that can be read; the message says what was expected."""


class ModelName(NamedTuple):
    """A model as a feed and the catalogue call it."""

    provider: str
    name: str


class SeriesKey(NamedTuple):
    """What a sequence of prices is the price of."""

    provider: str
    model: str
    unit: UnitKind
    service_tier: str = STANDARD_TIER
    is_batch: bool = False
    context_threshold: int = 0

    @property
    def owner(self) -> ModelName:
        return ModelName(self.provider, self.model)

    def __str__(self) -> str:
        batch = ", batch" if self.is_batch else ""
        size = f", from {self.context_threshold:,} input tokens" if self.context_threshold else ""
        return f"{self.provider}/{self.model} {self.unit.value.replace('_', ' ')}, {self.service_tier}{batch}{size}"


class Figure(NamedTuple):
    """A price: so much for `per` units."""

    price: Decimal
    per: int
    currency: str

    @property
    def each(self) -> Fraction:
        return Fraction(self.price) / self.per

    def says_the_same(self, other: "Figure") -> bool:
        """Say whether both come to the same, such as 3 per million and 0.003 per thousand."""
        return self.currency == other.currency and self.each == other.each

    def __str__(self) -> str:
        return f"{plain(self.price)} {self.currency} per {self.per:,}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One price as a feed states it, for one period; it starts at `EPOCH` where the feed does not say when."""

    key: SeriesKey
    figure: Figure
    effective_from: datetime
    effective_to: datetime | None
    detail: str  # which release the figure is from, and what it leaves open

    @property
    def is_dated(self) -> bool:
        return self.effective_from != EPOCH


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in the feed that does not become a rate, and why."""

    provider: str
    model: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What one release of a feed holds."""

    source: str
    names: dict[ModelName, tuple[str, ...]] = field(default_factory=dict)  # other names and patterns of each model
    candidates: list[Candidate] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
