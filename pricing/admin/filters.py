"""Filters of effective-dated rows."""

from collections.abc import Iterator
from datetime import datetime, time
from typing import Any

from django import forms
from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from unfold.widgets import INPUT_CLASSES

from pricing.queries import timeline

_FIRST_YEAR, _LAST_YEAR = 1970, 2999


class _MomentForm(forms.Form):
    def __init__(self, *, name: str, label: str, value: str | None) -> None:
        super().__init__({name: value})
        widget = forms.DateInput(attrs={"type": "date", "class": " ".join(INPUT_CLASSES)})
        self.fields[name] = forms.CharField(label=label, required=False, widget=widget)


class InForceAt(SimpleListFilter):
    """Rows valid at the start of a day, or at a moment when the address names one."""

    title = "in force at"
    parameter_name = "in_force_at"
    template = "unfold/filters/filters_field.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return ()

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield {"form": _MomentForm(name=self.parameter_name, label="In force at the start of", value=self.value())}

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        text = self.value()
        return timeline.in_force(queryset, at=moment_of(text)) if text else queryset


def moment_of(text: str) -> datetime:
    """Return the moment that `text` names, of a day its start, in the current zone unless it names one.

    Raises:
        IncorrectLookupParameters: it names none, or one so far away that no zone could show it.
    """
    try:
        day, moment = parse_date(text), parse_datetime(text)
    except ValueError as error:
        raise IncorrectLookupParameters from error
    found = datetime.combine(day, time.min) if day else moment
    if found is None or not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise IncorrectLookupParameters
    return found if timezone.is_aware(found) else timezone.make_aware(found)
