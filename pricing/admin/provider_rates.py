"""The catalogue: providers' models and what providers charge, read-only. Rates are facts with a source; imports bring them."""

from datetime import datetime
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, TextFilter

from config.base.admin import ReadOnlyAdmin, dialog, lines, link, moment, money, names
from pricing.admin.filters import InForceAt
from pricing.admin.rate_dialogs import CorrectDialog, correct
from pricing.models import ProviderModel, ProviderRate, RateSeries
from pricing.rating import UNIT_WORDS
from pricing.units import UnitKind

_WHEN_EMPTY: Final = "Without provider rates every cost is unknown. Compare the installed feed under Rate imports and accept what it says."


class ProviderFilter(DropdownFilter):
    title = "provider"
    parameter_name = "provider"
    column = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        providers = ProviderModel.objects.order_by("provider").values_list("provider", flat=True).distinct()
        return [(provider, provider) for provider in providers]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.filter(**{self.column: self.value()}) if self.value() else queryset


class RateProviderFilter(ProviderFilter):
    column = "series__provider_model__provider"


class ModelFilter(TextFilter):
    title = "beginning of the model's name"
    parameter_name = "model"

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.filter(series__provider_model__name__istartswith=self.value()) if self.value() else queryset


class SourceFilter(DropdownFilter):
    title = "source"
    parameter_name = "source"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        sources = ProviderRate.objects.order_by("source").values_list("source", flat=True).distinct()
        return [(source, source) for source in sources]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.filter(source=self.value()) if self.value() else queryset


class RateInForceAt(InForceAt):
    """Without rates that a correction has voided."""

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return super().queryset(request, queryset.filter(voided_at=None) if self.value() else queryset)


@admin.register(ProviderModel)
class ProviderModelAdmin(ReadOnlyAdmin):
    when_empty = _WHEN_EMPTY
    show_full_result_count = True
    list_display = ("name", "provider", "other_names", "rates")
    list_filter = (ProviderFilter,)
    search_fields = ("name__istartswith",)
    search_help_text = "Beginning of the model's name"
    ordering = ("provider", "name")
    fields = ("provider", "name", "other_names", "rates")
    readonly_fields = fields

    @admin.display(description="other names")
    def other_names(self, model: ProviderModel) -> str:
        return names(model.aliases)

    @admin.display(description="rates")
    def rates(self, model: ProviderModel) -> str:
        return link("Show", "pricing_providerrate_changelist", query=f"provider={model.provider}&model={model.name}")


@admin.register(RateSeries)
class RateSeriesAdmin(ReadOnlyAdmin):
    """Reached from a rate; what is priced is shown there too, so it is in no menu."""

    list_display = ("provider_model", "unit_kind", "service_tier", "is_batch", "context_threshold")
    list_select_related = ("provider_model",)


@admin.register(ProviderRate)
class ProviderRateAdmin(ReadOnlyAdmin):
    when_empty = _WHEN_EMPTY
    show_full_result_count = True
    list_display = ("of_model", "unit", "price_figure", "conditions", "state", "valid_from", "valid_to", "source")
    list_filter = (RateProviderFilter, ModelFilter, ("series__unit_kind", ChoicesDropdownFilter), RateInForceAt, SourceFilter)
    search_fields = ("series__provider_model__name__istartswith",)
    search_help_text = "Beginning of the model's name"
    actions_detail = ("correct_rate",)
    list_select_related = ("series__provider_model", "verified_by")
    ordering = ("series__provider_model__provider", "series__provider_model__name", "series_id", "-effective_from")
    fields = (
        "of_model",
        "unit",
        "price_figure",
        "conditions",
        "state",
        "valid_from",
        "valid_to",
        "source",
        "source_detail",
        "verified_by",
        "created_at",
        "corrected_by",
        "in_place_of",
        "correction_reason",
    )
    readonly_fields = fields

    @dialog(
        "Correct this rate",
        form=CorrectDialog,
        permission="pricing.correct_rate",
        submit="Correct",
        description="The wrong rate stays for the audit; the right one takes its period, for the past as well.",
        icon="edit_note",
    )
    def correct_rate(self, request: HttpRequest, form: CorrectDialog, rate: ProviderRate) -> str:
        return correct(request, form, rate)

    @admin.display(description="model", ordering="series__provider_model__name")
    def of_model(self, rate: ProviderRate) -> str:
        return str(rate.series.provider_model)

    @admin.display(description="unit", ordering="series__unit_kind")
    def unit(self, rate: ProviderRate) -> str:
        return rate.series.get_unit_kind_display()

    @admin.display(description="price")
    def price_figure(self, rate: ProviderRate) -> str:
        return format_html("<span>{} per {}</span>", money(rate.price, rate.currency), of_units(rate.series.unit_kind, rate.per))

    @admin.display(description="conditions")
    def conditions(self, rate: ProviderRate) -> str:
        series = rate.series
        parts = [series.service_tier, "batch" if series.is_batch else ""]
        if series.context_threshold:
            parts.append(f"from {series.context_threshold:,} input tokens")
        return ", ".join(part for part in parts if part)

    @admin.display(description="state")
    def state(self, rate: ProviderRate) -> str:
        return "Corrected" if rate.voided_at else _state(rate.effective_from, rate.effective_to, timezone.now())

    @admin.display(description="corrected")
    def corrected_by(self, rate: ProviderRate) -> str:
        if rate.voided_at is None:
            return "No"
        rows = [link(f"Rate {row.pk}: {row}", "pricing_providerrate_change", row.pk) for row in rate.corrections.order_by("effective_from")]
        again = link("Re-rate what it costed", "billing_rerating_changelist", query=f"rate={rate.pk}")
        return lines([f"{moment(rate.voided_at)}, replaced by:", *rows, again])

    @admin.display(description="corrects")
    def in_place_of(self, rate: ProviderRate) -> str:
        return link(f"Rate {rate.corrects_id}", "pricing_providerrate_change", rate.corrects_id) if rate.corrects_id else "-"

    @admin.display(description="from", ordering="effective_from")
    def valid_from(self, rate: ProviderRate) -> str:
        return moment(rate.effective_from)

    @admin.display(description="to")
    def valid_to(self, rate: ProviderRate) -> str:
        return moment(rate.effective_to)


def of_units(unit_kind: str, per: int) -> str:
    """Say what a price is of: 1,000,000 tokens, image. Which tokens they are stands beside it."""
    one, many = UNIT_WORDS[UnitKind(unit_kind)]
    return one if per == 1 else f"{per:,} {'tokens' if many.endswith('tokens') else many}"


def _state(start: datetime, end: datetime | None, now: datetime) -> str:
    if start > now:
        return "Scheduled"
    return "In force" if end is None or now < end else "Ended"
