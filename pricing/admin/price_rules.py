"""Price rules: whom a price is for, and the time line of what it was, is and will be. A new price is published here."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import action

from config.base.admin import TrackedAdmin, moment
from pricing.admin.publish_form import PublishForm
from pricing.models import PriceRule, PriceVersion
from pricing.queries import timeline
from pricing.queries.timeline import Phase
from pricing.rating import explain
from pricing.services import prices
from pricing.services.refusals import InvalidPriceError, PriceRefusedError

PUBLISH = "pricing.publish_price"


@admin.register(PriceRule)
class PriceRuleAdmin(TrackedAdmin):
    show_full_result_count = True
    list_display = ("rule", "whom", "current_price", "next_price")
    list_filter = (("event_type", RelatedDropdownFilter), ("segment", ChoicesDropdownFilter))
    search_fields = ("event_type__name__startswith", "segment_key__startswith")
    search_help_text = "Beginning of the event type, the plan or the customer's key"
    list_select_related = ("event_type",)
    fieldsets = (("Whom the price is for", {"fields": ("event_type", "segment", "segment_key")}),)
    actions_detail = ("publish",)
    change_form_outer_before_template = "admin/pricing/timeline.html"

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        rules: QuerySet[Any] = super().get_queryset(request)
        return rules.select_related("event_type").prefetch_related("versions")

    @admin.display(description="rule", ordering="event_type__name")
    def rule(self, rule: PriceRule) -> str:
        return str(rule)

    @admin.display(description="for")
    def whom(self, rule: PriceRule) -> str:
        return f"{rule.get_segment_display()} {rule.segment_key}".strip()

    @admin.display(description="in force")
    def current_price(self, rule: PriceRule) -> str:
        current = _of_phase(rule, Phase.CURRENT)
        return explain(_price(rule, current[0])) if current else "no price: events are refused"

    @admin.display(description="scheduled")
    def next_price(self, rule: PriceRule) -> str:
        scheduled = _of_phase(rule, Phase.SCHEDULED)
        return f"v{scheduled[-1].number} from {moment(scheduled[-1].effective_from)}" if scheduled else ""

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Whom a price was for is a fact of the past; another segment is another rule."""
        return False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        rule = self.get_object(request, object_id)
        stops = timeline.of_rule(rule, now=timezone.now()) if rule and self.has_view_permission(request, rule) else ()
        context = {"stops": stops, "may_publish": _may_publish(request), "rule": rule, **(extra_context or {})}
        response: HttpResponse = super().change_view(request, object_id, form_url, context)
        return response

    def response_add(self, request: HttpRequest, obj: PriceRule, post_url_continue: str | None = None) -> HttpResponse:
        """A rule without a version charges nothing, so its first version comes next."""
        if "_addanother" not in request.POST and _may_publish(request):
            return redirect("admin:pricing_pricerule_publish", obj.pk)
        response: HttpResponse = super().response_add(request, obj, post_url_continue)
        return response

    @action(description="Publish new version", url_path="publish", permissions=[PUBLISH], icon="sell")
    def publish(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form of the next version; on POST say what it charges, or publish it."""
        now = timezone.now()
        rule = get_object_or_404(PriceRule.objects.select_related("event_type"), pk=object_id)
        latest = rule.versions.select_related("rule__event_type").order_by("-effective_from").first()
        form = PublishForm(request.POST if request.method == "POST" else None, rule=rule, latest=latest, now=now)
        preview = ""
        if form.is_bound and form.is_valid():
            if "preview" in request.POST:
                preview = form.sentence()
            elif version := _publish(request, rule, form):
                messages.success(request, f"{version} is published: {explain(version.as_price())}, from {moment(version.effective_from)}.")
                return redirect("admin:pricing_pricerule_change", rule.pk)
        context = {
            **self.admin_site.each_context(request),
            "title": f"New version of {rule}",
            "opts": self.opts,
            "rule": rule,
            "form": form,
            "preview": preview,
            "stops": timeline.of_rule(rule, now=now)[:3],
        }
        return render(request, "admin/pricing/publish.html", context)


def _publish(request: HttpRequest, rule: PriceRule, form: PublishForm) -> PriceVersion | None:
    """Make the one domain call; a refusal goes to the field that can mend it."""
    price, typed = form.definition(), form.cleaned_data
    try:
        return prices.publish_version(
            rule=rule,
            credits_per_event=price.credits_per_event,
            components=price.components,
            tiers=price.tiers,
            minimum=price.minimum,
            rounding_step=price.rounding_step,
            rounding_mode=price.rounding_mode,
            effective_from=typed["effective_from"],
            reason=typed["reason"],
            actor=request.user if isinstance(request.user, User) else None,
            now=timezone.now(),
        )
    except InvalidPriceError as refusal:
        form.show(refusal.problems)
    except PriceRefusedError as refusal:
        form.add_error("effective_from", str(refusal))
    return None


def _may_publish(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.has_perm(PUBLISH)


def _of_phase(rule: PriceRule, wanted: Phase) -> list[PriceVersion]:
    now = timezone.now()
    return [version for version in rule.versions.all() if timeline.phase(version, now=now) is wanted]


def _price(rule: PriceRule, version: PriceVersion) -> Any:
    version.rule = rule
    return version.as_price()
