"""Price versions: every price that ever was, read-only. "What did we charge in April?" is the page `prices_as_of`."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import URLPattern
from django.utils import timezone
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import display

from config.base.admin import ReadOnlyAdmin, credits_, link, moment, table
from pricing.admin import undoing
from pricing.admin.filters import InForceAt
from pricing.admin.prices_as_of import PricesAsOf
from pricing.admin.simulator import Simulator
from pricing.admin.undoing import UndoButton
from pricing.models import PriceVersion
from pricing.queries.proposal_page import LARGE
from pricing.queries.timeline import Phase, phase, stop
from pricing.rating import UNIT_WORDS, explain
from pricing.services import proposals

PHASE_COLOURS = {Phase.SCHEDULED: "info", Phase.ACTIVE: "success", Phase.RETIRED: "default"}


@admin.register(PriceVersion)
class PriceVersionAdmin(UndoButton, ReadOnlyAdmin):
    show_full_result_count = True
    when_empty = "Each price that was ever in force is a version. Publish the first one on the page of a price rule."
    list_display = ("name", "state", "sentence", "valid_from", "valid_to", "author", "reason")
    list_filter = (InForceAt, ("rule__event_type", RelatedDropdownFilter))
    list_select_related = ("rule__event_type", "created_by", "approved_by", "proposal")
    ordering = ("rule__event_type__name", "rule__segment", "rule__segment_key", "-number")
    fieldsets = (
        (None, {"fields": ("of_rule", "number", "state", "sentence")}),
        ("Figures", {"fields": ("credits", "least", "step", "rounding_mode", "component_rows", "tier_rows")}),
        ("Period", {"fields": ("valid_from", "valid_to")}),
        ("Decision", {"fields": ("reason", "author", "approved_by", "of_proposal", "created")}),
    )

    actions_detail = ("undo",)

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer an undo where it would not be refused."""
        version = self.get_object(request, str(object_id))
        found: list[Any] = super().get_actions_detail(request, object_id)
        return found if undoing.is_offered(request, version) else []

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Say why there is no undo where there is none."""
        if not undoing.why_not(request, obj):
            return self.fieldsets
        *others, (title, decision) = self.fieldsets
        return (*others, (title, {**decision, "fields": (*decision["fields"], "no_undo")}))

    def get_urls(self) -> list[URLPattern]:
        return [*PricesAsOf(self).urls(), *Simulator(self).urls(), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        versions: QuerySet[Any] = super().get_queryset(request)
        return versions.select_related(*self.list_select_related).defer(*(f"proposal__{name}" for name in LARGE))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*(field for _, options in self.fieldsets for field in options["fields"]), "no_undo"]

    @admin.display(description="version")
    def name(self, version: PriceVersion) -> str:
        return str(version)

    @admin.display(description="rule")
    def of_rule(self, version: PriceVersion) -> str:
        return link(version.rule, "pricing_pricerule_change", version.rule_id)

    @admin.display(description="proposed by")
    def author(self, version: PriceVersion) -> str:
        return stop(version, now=timezone.now()).created_by or "-"

    @admin.display(description="proposal")
    def of_proposal(self, version: PriceVersion) -> str:
        """What the decision stood on; a first price, or one before there were proposals, has none."""
        number = stop(version, now=timezone.now()).proposal_id
        return link(f"Proposal {number}", "pricing_proposal_change", number) if number else "-"

    @display(description="state", label={phase.capitalize(): colour for phase, colour in PHASE_COLOURS.items()})
    def state(self, version: PriceVersion) -> str:
        return phase(version, now=timezone.now()).capitalize()

    @admin.display(description="what it charges")
    def sentence(self, version: PriceVersion) -> str:
        return explain(version.as_price())

    @admin.display(description="credits per event")
    def credits(self, version: PriceVersion) -> str:
        return credits_(version.credits_per_event)

    @admin.display(description="minimum")
    def least(self, version: PriceVersion) -> str:
        return credits_(version.minimum)

    @admin.display(description="rounding step")
    def step(self, version: PriceVersion) -> str:
        return credits_(version.rounding_step)

    @admin.display(description="components")
    def component_rows(self, version: PriceVersion) -> str:
        rows = [
            (credits_(part.credits), f"{part.per:,} {UNIT_WORDS[part.unit][1]}", part.model_class or "", ", ".join(part.models) or "all")
            for part in version.as_price().components
        ]
        return table(("Credits", "Per", "Model class", "Models"), rows, empty="None: what an event consumes is not charged.")

    @admin.display(description="tiers")
    def tier_rows(self, version: PriceVersion) -> str:
        rows = [(credits_(tier.from_quantity), credits_(tier.credits_per_event)) for tier in version.as_price().tiers]
        return table(("Beyond", "Credits per event"), rows, empty="None: every event of one report costs the same.")

    @admin.display(description="from", ordering="effective_from")
    def valid_from(self, version: PriceVersion) -> str:
        return moment(version.effective_from)

    @admin.display(description="to")
    def valid_to(self, version: PriceVersion) -> str:
        return moment(version.effective_to) if version.effective_to else "until something follows"

    @admin.display(description="undo")
    def no_undo(self, version: PriceVersion) -> str:
        return proposals.against_undoing(version)

    @admin.display(description="decided at")
    def created(self, version: PriceVersion) -> str:
        return moment(version.created_at)
