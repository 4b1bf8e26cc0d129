"""Filters of the list of budgets: which run, how they stand, whose they are, and what they are about."""

from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter, RadioFilter

from billing.budgeting import State
from billing.models import Budget, Project
from billing.queries import budgets


class RunningFilter(RadioFilter):
    """Running ones unless others are asked for."""

    title = "time"
    parameter_name = "time"
    all_option = None

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return (("running", "Running"), ("ended", "Ended"), ("all", "All"))

    def value(self) -> str:
        return super().value() or "running"

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset if self.value() == "all" else queryset.filter(ended_at__isnull=self.value() == "running")


class StateFilter(RadioFilter):
    """How they stand in the window that runs. The last of the filters, so that it works out only what the others left."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return ((State.GREEN, "Green: below 80 %"), (State.YELLOW, "Yellow: 80-99 %"), (State.RED, "Red: 100 % and more"))

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        if self.value() not in set(State):
            return queryset
        running = queryset.filter(ended_at__isnull=True)
        standing = budgets.shown(running, now=timezone.now())
        return queryset.filter(pk__in=[one.row.pk for one in standing if one.standing.state == self.value()])


class OwnerFilter(DropdownFilter):
    title = "owner"
    parameter_name = "owner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        owners = User.objects.filter(pk__in=Budget.objects.values("owner")).order_by("username")
        return [("mine", "Mine"), ("nobody", "Nobody"), *((str(owner.pk), str(owner)) for owner in owners)]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        match self.value():
            case None | "":
                return queryset
            case "mine":
                return queryset.filter(owner=request.user)
            case "nobody":
                return queryset.filter(owner__isnull=True)
        return queryset.filter(owner=_id(self.value()))


class ProjectFilter(DropdownFilter):
    """Those that name a project, one of its keys or one of its customers."""

    title = "project"
    parameter_name = "project"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(project.pk), str(project)) for project in Project.objects.order_by("name")]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        if not self.value():
            return queryset
        project = _id(self.value())
        return queryset.filter(Q(project=project) | Q(api_key__project=project) | Q(customer__project=project))


def _id(text: str | None) -> int:
    if not text or not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise IncorrectLookupParameters
    return int(text)
