"""Filters of the inbox."""

from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import RadioFilter
from unfold.contrib.filters.admin.dropdown_filters import DropdownFilter

from billing.models import AlertState
from billing.queries import alerts

_DEAD, _EVERY = "dead", "every"


class ShowsFilter(RadioFilter):
    """Without a choice: what is not over."""

    title = "state"
    parameter_name = "state"
    all_option = ("", "Not over")

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return (*((value, str(words)) for value, words in AlertState.choices), (_DEAD, "Not told: given up"), (_EVERY, "Every alert"))

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        chosen = self.value()
        if chosen == _EVERY:
            return queryset
        if chosen == _DEAD:
            return queryset.filter(pk__in=alerts.dead().values("alert"))
        if chosen in AlertState.values:
            return queryset.filter(state=chosen)
        return queryset.exclude(state=AlertState.RESOLVED)


class OwnerFilter(DropdownFilter):
    """By who answers for it: the budget's owner, or the team's."""

    title = "owner"
    parameter_name = "owner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(person.pk), person.get_username()) for person in alerts.owners()]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        if not (chosen := self.value()):
            return queryset
        if not str(chosen).isdecimal() or len(str(chosen)) > 9:
            raise IncorrectLookupParameters
        return alerts.owned_by(queryset, int(str(chosen)))
