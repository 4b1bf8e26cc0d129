"""Filters by time, in the zone that the page shows its times in, with the last day inside."""

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from unfold.contrib.filters.admin import RangeDateFilter
from unfold.widgets import INPUT_CLASSES


class DayRangeFilter(RangeDateFilter):
    """From the start of one day to the end of another, in the current time zone; the browser's own calendar."""

    template = "admin/base/range_filter.html"
    input_type = "date"

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        if first := self.used_parameters.get(f"{self.parameter_name}_from"):
            queryset = queryset.filter(**{f"{self.parameter_name}__gte": _moment(first)})
        if last := self.used_parameters.get(f"{self.parameter_name}_to"):
            queryset = queryset.filter(**{f"{self.parameter_name}__lt": _moment(last, is_end=True)})
        return queryset

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield {"form": _RangeForm(str(self.parameter_name), self.input_type, self.used_parameters)}


class MomentRangeFilter(DayRangeFilter):
    """From one minute up to another; a day alone means the whole of it."""

    input_type = "datetime-local"


class _RangeForm(forms.Form):
    def __init__(self, name: str, input_type: str, values: dict[str, Any]) -> None:
        super().__init__(values)
        for side in ("from", "to"):
            widget = forms.TextInput(attrs={"type": input_type, "class": " ".join(INPUT_CLASSES)})
            self.fields[f"{name}_{side}"] = forms.CharField(label=side.capitalize(), required=False, widget=widget)


def _moment(text: str, *, is_end: bool = False) -> datetime:
    """Return the moment that `text` names; of a day its start, or with `is_end` the start of the next."""
    try:
        day, moment = parse_date(text), parse_datetime(text)
        if day is not None and len(text) <= 10:
            moment = datetime.combine(day, time.min) + timedelta(days=int(is_end))
    except (ValueError, OverflowError) as error:  # no date, or the last day that there is
        raise IncorrectLookupParameters from error
    if moment is None:
        raise IncorrectLookupParameters
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
