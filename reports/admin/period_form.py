"""A period of whole days in the workspace's zone, as people choose it: usual ones by a link, any other by two dates."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from unfold.widgets import INPUT_CLASSES

from config.base.database import EARLIEST, LATEST

MOST_DAYS: Final = 366


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days, both ends included; `since` and `until` are its half-open bounds."""

    first: date
    last: date

    @property
    def since(self) -> datetime:
        return _midnight(self.first)

    @property
    def until(self) -> datetime:
        return _midnight(self.last + timedelta(days=1))

    @property
    def before(self) -> "Period":
        """The period that ends where this one begins: as many whole months, where it is whole months, else as many days."""
        last = self.first - timedelta(days=1)
        if self.first.day != 1 or (self.last + timedelta(days=1)).day != 1:
            return Period(last - (self.last - self.first), last)
        months = (self.last.year - self.first.year) * 12 + self.last.month - self.first.month + 1
        year, month = divmod(self.first.year * 12 + self.first.month - 1 - months, 12)
        return Period(date(year, month + 1, 1), last)

    @property
    def query(self) -> str:
        return f"?from={self.first.isoformat()}&to={self.last.isoformat()}"

    def __str__(self) -> str:
        return f"{self.first.isoformat()} to {self.last.isoformat()}"


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


class Day(forms.DateField):
    """A day of this century or the next, with the browser's own picker."""

    def __init__(self, **options: Any) -> None:
        picker = forms.DateInput(attrs={"type": "date", "class": " ".join(INPUT_CLASSES)}, format="%Y-%m-%d")
        words: Any = {"invalid": "Write a day as 2026-04-30."}
        terms: dict[str, Any] = {"widget": picker, "input_formats": ["%Y-%m-%d"], "error_messages": words}
        super().__init__(**terms | options)

    def clean(self, value: Any) -> Any:
        day = super().clean(value)
        if day is not None and not EARLIEST.date() <= day < LATEST.date() - timedelta(days=1):
            raise ValidationError(f"Choose a day from {EARLIEST.year} to {LATEST.year - 1}.")
        return day


def ordered(first: date | None, last: date | None) -> None:
    """Refuse a period that ends before it begins, or is longer than a year."""
    if first and last and last < first:
        raise ValidationError("The last day is before the first. Turn them round.")
    if first and last and (last - first).days >= MOST_DAYS:
        raise ValidationError(f"Choose at most {MOST_DAYS} days.")


class PeriodForm(forms.Form):
    """Sent by GET, so that the address holds the question. Without days it is the current month."""

    def __init__(self, data: Any, *, today: date) -> None:
        usual = this_month(today)
        typed = {"from": data.get("from") or usual.first.isoformat(), "to": data.get("to") or usual.last.isoformat()}
        super().__init__({name: text.replace("\0", "") for name, text in typed.items()})
        self.fields["from"] = Day(label="From")
        self.fields["to"] = Day(label="To, this day included")

    def clean(self) -> None:
        ordered(self.cleaned_data.get("from"), self.cleaned_data.get("to"))

    def period(self) -> Period:
        return Period(self.cleaned_data["from"], self.cleaned_data["to"])


def this_month(today: date) -> Period:
    first = today.replace(day=1)
    return Period(first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))


def last_month(today: date) -> Period:
    return this_month(today.replace(day=1) - timedelta(days=1))


def presets(today: date) -> list[tuple[str, Period]]:
    """Return the usual periods, each with its words."""
    return [
        ("This month", this_month(today)),
        ("Last month", last_month(today)),
        ("Last 7 days", Period(today - timedelta(days=6), today)),
        ("Last 90 days", Period(today - timedelta(days=89), today)),
        ("This year", Period(today.replace(month=1, day=1), today)),
    ]
