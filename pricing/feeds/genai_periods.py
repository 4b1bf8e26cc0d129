"""When each price of genai-prices holds: its dated statements turned into periods."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal

from genai_prices import types as feed

from pricing.feeds.statement import EPOCH

Stated = tuple[datetime, dict[str, Decimal | feed.TieredPrices]]  # from when on, and the prices by the feed's own key
_Constraint = feed.StartDateConstraint | feed.TimeOfDateConstraint | None


@dataclass(frozen=True, slots=True)
class Period:
    """One price while it did not change, for requests of `threshold` input tokens and more."""

    threshold: int
    price: Decimal
    start: datetime
    end: datetime | None


def dated(prices: Iterable[tuple[_Constraint, feed.ModelPrice]]) -> list[Stated]:
    """Return each statement with its start, in the feed's order."""
    rows: list[Stated] = []
    for constraint, figures in prices:
        start = constraint.start_date if isinstance(constraint, feed.StartDateConstraint) else None
        moment = datetime.combine(start, time(), UTC) if start else EPOCH
        rows.append((moment, {key: value for key, value in vars(figures).items() if value is not None}))
    return rows


def periods(key: str, stated: list[Stated]) -> Iterator[Period]:
    """Yield the periods of one price key. The last statement whose start has come is in force; what it lacks, ends."""
    running: dict[int, tuple[Decimal, datetime]] = {}
    for moment in sorted({start for start, _ in stated}):
        in_force = next(figures for start, figures in reversed(stated) if start <= moment)
        prices = _by_threshold(in_force.get(key))
        for threshold, (price, start) in list(running.items()):
            if prices.get(threshold) != price:
                yield Period(threshold, price, start, moment)
                del running[threshold]
        for threshold, price in prices.items():
            running.setdefault(threshold, (price, moment))
    for threshold, (price, start) in running.items():
        yield Period(threshold, price, start, None)


def _by_threshold(value: Decimal | feed.TieredPrices | None) -> dict[int, Decimal]:
    """Return the price by the input tokens from which on it applies; a tier means more than `start` tokens."""
    if value is None:
        return {}
    if isinstance(value, feed.TieredPrices):
        return {0: value.base} | {tier.start + 1: tier.price for tier in value.tiers}
    return {0: value}
