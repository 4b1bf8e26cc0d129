"""What the simulator offers to choose from, and the price that it compares with."""

from datetime import datetime

from django.db.models import QuerySet

from pricing.models import PriceRule, PriceVersion, ProviderModel, ProviderRate
from pricing.queries import prices_as_of, timeline


def priced_models(*, at: datetime) -> tuple[str, ...]:
    """Return the names of the models that have a rate at `at`, as `provider/name`."""
    models = ProviderModel.objects.filter(pk__in=_rates(at).values("series__provider_model"))
    return tuple(map(str, models.order_by("provider", "name")))


def has_rates(*, at: datetime) -> bool:
    """Say whether the catalogue has any rate at `at`."""
    return _rates(at).exists()


def rule_named(rule: str) -> PriceRule | None:
    """Return the rule of this name."""
    return prices_as_of.rules_named(rule).first()


def version_in_force(rule: PriceRule, *, at: datetime) -> PriceVersion | None:
    """Return what the rule charges at `at`."""
    return timeline.in_force(rule.versions.select_related("rule__event_type"), at=at).first()


def _rates(at: datetime) -> "QuerySet[ProviderRate]":
    return timeline.in_force(ProviderRate.objects.filter(voided_at=None), at=at)
