"""The diff of an import, as its page shows it: lines grouped by model, a page of models at a time."""

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from django.core.paginator import Page, Paginator
from django.db.models import Q, QuerySet

from pricing.feeds.guards import TITLES, Guard
from pricing.models import ChangeState, RateChange, RateImport

MODELS_A_PAGE: Final = 25


@dataclass(frozen=True, slots=True)
class Only:
    """Which lines are asked for; empty values ask for all."""

    guard: str = ""
    kind: str = ""
    provider: str = ""
    state: str = ""
    model: str = ""  # any part of its name

    def apply(self, changes: "QuerySet[RateChange]") -> "QuerySet[RateChange]":
        if self.guard == "any":
            changes = changes.exclude(guards=[])
        elif self.guard == "none":
            changes = changes.filter(guards=[])
        elif self.guard:
            changes = changes.filter(guards__contains=[{"guard": self.guard}])
        wanted = {"kind": self.kind, "provider": self.provider, "state": self.state, "model__icontains": self.model}
        return changes.filter(**{name: value for name, value in wanted.items() if value})


@dataclass(frozen=True, slots=True)
class ModelLines:
    """The lines of one model, in the order of their units."""

    provider: str
    model: str
    lines: tuple[RateChange, ...]


@dataclass(frozen=True, slots=True)
class Diff:
    """One page of the diff, and what the whole import comes to."""

    models: "Page[tuple[str, str]]"
    groups: tuple[ModelLines, ...]
    matching: int  # lines that the filters leave
    total: int
    by_state: dict[str, int]
    held: int  # waiting behind a guard
    guards: tuple[tuple[str, str, int], ...]  # name, title and how many waiting lines each holds back
    providers: tuple[str, ...]


def of_import(rate_import: RateImport, *, only: Only, page: str) -> Diff:
    """Return the page called `page` of the lines that `only` leaves; an odd number is the nearest page there is."""
    changes = RateChange.objects.filter(rate_import=rate_import)
    found = only.apply(changes)
    models = Paginator(list(found.order_by("provider", "model").values_list("provider", "model").distinct()), MODELS_A_PAGE).get_page(page)
    waiting = list(changes.filter(state=ChangeState.PENDING).exclude(guards=[]).values_list("guards", flat=True))
    held = Counter(guard["guard"] for guards in waiting for guard in guards)
    by_state = Counter(changes.values_list("state", flat=True))
    return Diff(
        models=models,
        groups=_groups(found, list(models.object_list)),
        matching=found.count(),
        total=sum(by_state.values()),
        by_state=dict(by_state),
        held=len(waiting),
        guards=tuple((name, TITLES[Guard(name)], count) for name, count in held.most_common()),
        providers=tuple(changes.order_by("provider").values_list("provider", flat=True).distinct()),
    )


def _groups(found: "QuerySet[RateChange]", models: list[tuple[str, str]]) -> tuple[ModelLines, ...]:
    if not models:
        return ()
    of_models = Q(*(Q(provider=provider, model=model) for provider, model in models), _connector=Q.OR)
    lines = found.filter(of_models).select_related("decided_by", "rate").order_by("provider", "model", "id")
    return tuple(
        ModelLines(provider, model, tuple(rows)) for (provider, model), rows in groupby(lines, key=lambda line: (line.provider, line.model))
    )
