"""The shape of demand: hours, weekdays, growth, the drift and the storm. Pure."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

from config.demo import DAYS

UTC = ZoneInfo("UTC")
STORM_DAYS_AGO = 21  # the day on which a provider failed from 13 to 19 h
STORM_HOURS = range(13, 19)
DRIFT_DAYS_AGO = 50  # until then tokens and models are steady
# Working hours with a dip at noon, a second evening peak, and nights that are quiet but never silent.
_HOURS = (2, 1, 1, 1, 1, 2, 4, 8, 14, 18, 19, 17, 13, 16, 18, 18, 16, 13, 10, 9, 9, 8, 6, 4)
_WEEKDAYS = (1.0, 1.06, 1.08, 1.04, 0.92, 0.42, 0.36)


@dataclass(frozen=True, slots=True)
class Day:
    """One day of the demo: `ago` days before the last one."""

    on: date
    ago: int

    @property
    def starts(self) -> datetime:
        """Its first moment."""
        return datetime.combine(self.on, time(), UTC)

    @property
    def is_weekend(self) -> bool:
        """Saturday and Sunday."""
        return self.on.weekday() >= 5

    @property
    def is_storm(self) -> bool:
        """The day of retries."""
        return self.ago == STORM_DAYS_AGO

    @property
    def drift(self) -> float:
        """How far mix and tokens have drifted: 0 before it began, 1 today."""
        return max(0.0, 1 - self.ago / DRIFT_DAYS_AGO)

    def count(self, base: int, random: Random) -> int:
        """How many of something that happens `base` times on an ordinary working day at the end of the period."""
        growth = 1 - 0.35 * self.ago / DAYS
        return round(base * growth * _WEEKDAYS[self.on.weekday()] * random.uniform(0.92, 1.08))

    def moments(self, count: int, random: Random) -> list[datetime]:
        """As many moments of the day, in order, spread as people work."""
        hours = random.choices(range(24), weights=_HOURS, k=count)
        return sorted(self.starts + timedelta(hours=hour, microseconds=random.randrange(3_600_000_000)) for hour in hours)


def days(now: datetime) -> list[Day]:
    """Return the days of the demo, the oldest first; the last is today."""
    today = now.astimezone(UTC).date()
    return [Day(today - timedelta(days=ago), ago) for ago in range(DAYS, -1, -1)]


def is_stormy(day: Day, at: datetime) -> bool:
    """Say whether the provider fails at that moment."""
    return day.is_storm and at.hour in STORM_HOURS


def some(random: Random, mean: float, spread: float = 0.45) -> int:
    """Return a count of tokens or milliseconds around `mean`, skewed as such counts are; at least 1."""
    return max(1, round(random.lognormvariate(0, spread) * mean))
