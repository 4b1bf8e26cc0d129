"""The evidence that the Pricing Advisor looks at.

The current window are the last whole days of the workspace's time zone, as many as the workspace says. A price answers
only for what happened under it, so the window begins no earlier than the first whole day of the version in force. The
baseline shows how things were when that price was young: the version's first days where they end before the current
window, else the days just before it, whatever version they were charged by.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from config.base.errors import DomainError
from pricing.advisor.evidence import Evidence
from pricing.models import PriceRule, PriceVersion
from pricing.queries import workspace
from reports.queries import recorded_usage
from reports.queries.recorded_usage import Found


class NoPriceInForceError(DomainError):
    """There is nothing to advise on."""

    code = "no_price_in_force"


def last_days(*, now: datetime) -> tuple[datetime, datetime]:
    """Return from when to when the last whole days went, as many as the Advisor looks at."""
    row = workspace.load()
    zone = ZoneInfo(row.time_zone)
    today = now.astimezone(zone).date()
    return _midnight(today - timedelta(days=row.advisor_window_days), zone), _midnight(today, zone)


def evidence_for(rule: PriceRule, *, now: datetime) -> Evidence:
    """Return what is known at `now` about the price of `rule` that is in force then.

    The same rows give the same evidence, with the same hash, all day long: what it looks at ends at midnight.
    Raises NoPriceInForceError, TooMuchUsageError.
    """
    with recorded_usage.reading():
        row = workspace.load()
        versions = list(PriceVersion.objects.filter(rule=rule).order_by("effective_from"))
        started = [version for version in versions if version.effective_from <= now]
        version = started[-1] if started and (started[-1].effective_to is None or started[-1].effective_to > now) else None
        if version is None:
            raise NoPriceInForceError(f"{rule} has no price in force: publish one before asking for advice.")
        days = _Days(version, timedelta(days=row.advisor_window_days), ZoneInfo(row.time_zone), now)

        def read(start: date, end: date) -> Found:
            period = {"start": _midnight(start, days.zone), "end": _midnight(end, days.zone), "known_at": now}
            return recorded_usage.window(recorded_usage.scope_of(rule, versions=versions, **period))

        current = read(days.begin, days.today)
        baseline, notes = None, "No baseline: nothing with a known cost was recorded before the current window."
        for start, end, words in days.baselines():
            earlier = read(start, end)
            if earlier.window.events > earlier.window.unpriced:
                baseline, notes = earlier, words
                break
        seen = (baseline, current) if baseline else (current,)
        return Evidence(
            rule=str(rule),
            version=version.number,
            definition=version.definition().as_json(),
            as_of=current.window.end,
            currency=row.currency,
            baseline=baseline.window if baseline else None,
            current=current.window,
            last_change_at=version.effective_from if len(started) > 1 else None,
            price_version_ids=tuple(sorted(set[int]().union(*(found.version_ids for found in seen)))),
            rate_ids=tuple(sorted(set[int]().union(*(found.rate_ids for found in seen)))),
            notes=(days.current_in_words(), notes),
        )


@dataclass(frozen=True, slots=True)
class _Days:
    """The days that evidence about `version` looks at, seen from `now`."""

    version: PriceVersion
    length: timedelta
    zone: ZoneInfo
    now: datetime

    @property
    def today(self) -> date:
        return self.now.astimezone(self.zone).date()

    @property
    def first(self) -> date:
        """The first whole day of the version."""
        starts = self.version.effective_from.astimezone(self.zone)
        return starts.date() if starts == _midnight(starts.date(), self.zone) else starts.date() + timedelta(days=1)

    @property
    def begin(self) -> date:
        """The first day of the current window; today where the version has no whole day yet."""
        return min(max(self.today - self.length, self.first), self.today)

    def baselines(self) -> Iterator[tuple[date, date, str]]:
        """Yield the periods that may serve as a baseline, the best first, each with the words for it."""
        if (ends := self.first + self.length) <= self.begin:
            yield self.first, ends, f"Baseline: the first days of version {self.version.number}, {_period(self.first, ends)}."
        starts = self.begin - self.length
        yield starts, self.begin, f"Baseline: the days just before the current window, {_period(starts, self.begin)}."

    def current_in_words(self) -> str:
        if self.begin == self.today:
            return f"Version {self.version.number} has not been in force for a whole day yet."
        words = f"Current window: {_period(self.begin, self.today)}"
        is_short = self.begin > self.today - self.length
        return f"{words}, all whole days of version {self.version.number} so far." if is_short else f"{words}."


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _period(start: date, end: date) -> str:
    return f"{start} to {end - timedelta(days=1)}"
