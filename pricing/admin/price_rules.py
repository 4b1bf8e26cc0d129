"""Price rules: whom a price is for, and the time line of what it was, is and will be.

A rule's first price is published here; another one is proposed, unless the workspace asks for no approval.
"""

from typing import Any, Final

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import action

from config.base.admin import TrackedAdmin, moment, places
from pricing.admin import advice, panels, undoing
from pricing.admin.publish_form import PublishForm
from pricing.admin.undoing import PROPOSE, UndoButton
from pricing.models import PriceRule, PriceVersion, Proposal
from pricing.queries import timeline
from pricing.queries.proposal_page import LARGE
from pricing.queries.timeline import Phase
from pricing.rating import explain
from pricing.services import proposal_steps, proposals
from pricing.services.refusals import InvalidPriceError, LaterVersionError, PriceRefusedError, RuleEndedLaterError, StartsTooSoonError

PUBLISH: Final = "pricing.publish_price"
_DATE_REFUSALS: Final = (LaterVersionError, RuleEndedLaterError, StartsTooSoonError)


@admin.register(PriceRule)
class PriceRuleAdmin(UndoButton, TrackedAdmin):
    show_full_result_count = True
    when_empty = "A price rule says whom a price of an event type is for: everyone, a plan or one customer."
    list_display = ("rule", "whom", "current_price", "next_price", "advisor")
    list_filter = (("event_type", RelatedDropdownFilter), ("segment", ChoicesDropdownFilter))
    search_fields = ("event_type__name__startswith", "segment_key__startswith")
    search_help_text = "Beginning of the event type, the plan or the customer's key"
    list_select_related = ("event_type", "advice__proposal")
    fieldsets = (("Whom the price is for", {"fields": ("event_type", "segment", "segment_key")}),)
    actions_detail = ("publish", "undo")
    change_form_outer_before_template = "admin/pricing/timeline.html"

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        rules: QuerySet[Any] = super().get_queryset(request)
        advised = rules.select_related("event_type", "advice__proposal").defer(*(f"advice__proposal__{name}" for name in LARGE))
        return advised.prefetch_related("versions")

    @admin.display(description="rule", ordering="event_type__name")
    def rule(self, rule: PriceRule) -> str:
        return str(rule)

    @admin.display(description="for")
    def whom(self, rule: PriceRule) -> str:
        return f"{rule.get_segment_display()}: {rule.segment_key}" if rule.segment_key else rule.get_segment_display()

    @admin.display(description="active")
    def current_price(self, rule: PriceRule) -> str:
        current = _of_phase(rule, Phase.ACTIVE)
        return explain(_price(rule, current[0])) if current else "no price: events are refused"

    @admin.display(description="scheduled")
    def next_price(self, rule: PriceRule) -> str:
        scheduled = _of_phase(rule, Phase.SCHEDULED)
        return f"v{scheduled[-1].number} from {moment(scheduled[-1].effective_from)}" if scheduled else ""

    @admin.display(description="Pricing Advisor")
    def advisor(self, rule: PriceRule) -> SafeString | str:
        return advice.in_list(rule)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Whom a price was for is a fact of the past; another segment is another rule."""
        return False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        rule = self.get_object(request, object_id)
        stops = timeline.of_rule(rule, now=timezone.now()) if rule and self.has_view_permission(request, rule) else ()
        step = _step(request, rule) if rule else ""
        sections = panels.of_rule(rule) if stops and rule else []
        may_open = _may_open(request)
        context = {
            "stops": stops,
            "step": step,
            "rule": rule,
            "advice": advice.of_rule(rule, may_open=may_open["may_open_proposals"]) if stops and rule else None,
            "panels": sections,
            "no_undo": undoing.why_not(request, rule),
            **may_open,
            **(extra_context or {}),
        }
        response: HttpResponse = super().change_view(request, object_id, form_url, context)
        return response

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer an undo where it would not be refused, and the next price by the name of what would be done with it."""
        found: list[Any] = super().get_actions_detail(request, object_id)
        rule = self.get_object(request, str(object_id))
        for button in found:
            if button.path == "publish" and rule is not None:
                button.description = _step(request, rule)
        return [button for button in found if button.path != "undo" or undoing.is_offered(request, rule)]

    def response_add(self, request: HttpRequest, obj: PriceRule, post_url_continue: str | None = None) -> HttpResponse:
        """A rule without a version charges nothing, so its first version comes next."""
        if "_addanother" not in request.POST and _step(request, obj):
            return redirect("admin:pricing_pricerule_publish", obj.pk)
        response: HttpResponse = super().response_add(request, obj, post_url_continue)
        return response

    def has_next_price_permission(self, request: HttpRequest, object_id: int | str) -> bool:
        rule = self.get_object(request, str(object_id))
        return rule is None or bool(_step(request, rule))  # what is not there is not found, whoever asks

    @action(description="Propose a price", url_path="publish", permissions=["next_price"], icon="sell")
    def publish(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form of the next price; on POST say what it charges, propose it or keep it as a draft, or publish it."""
        now = timezone.now()
        rule = self.get_object(request, object_id)
        if rule is None:
            raise Http404
        is_proposal = proposals.needs_approval(rule)
        typed = request.POST if request.method == "POST" else None
        form = PublishForm(typed, rule=rule, latest=timeline.latest(rule), now=now, is_proposal=is_proposal)
        preview = ""
        if form.is_bound and form.is_valid():
            if "preview" in request.POST:
                preview = form.sentence()
            elif done := _decide(request, rule, form, is_proposal=is_proposal):
                messages.success(request, done)
                return redirect("admin:pricing_pricerule_change", rule.pk)
        context = {
            **self.admin_site.each_context(request),
            **_may_open(request),
            "title": f"{_step(request, rule)}: {rule}",
            "opts": self.opts,
            "rule": rule,
            "form": form.prefilled(request.GET),
            "preview": preview,
            "is_proposal": is_proposal,
            "standing": proposal_steps.in_the_way(rule),
            "stops": timeline.of_rule(rule, now=now)[:3],
        }
        return render(request, "admin/pricing/publish.html", context)


def _decide(request: HttpRequest, rule: PriceRule, form: PublishForm, *, is_proposal: bool) -> str:
    """Make the one domain call and say what was done; a refusal goes to the field that can mend it."""
    typed = form.cleaned_data
    price: dict[str, Any] = {
        "rule": rule,
        "definition": form.definition(),
        "effective_from": typed["effective_from"],
        "reason": typed["reason"],
        "actor": request.user,
        "now": timezone.now(),
    }
    try:
        if not is_proposal:
            return _told(proposals.publish_directly(**price))
        if "draft" in request.POST:
            return f"{proposals.save_draft(**price)} is kept as a draft: {form.sentence()}. Nobody is asked yet."
        return _told(proposals.propose(**price))
    except InvalidPriceError as refusal:
        form.show(refusal.problems)
    except _DATE_REFUSALS as refusal:
        form.add_error("effective_from", str(refusal))
    except PriceRefusedError as refusal:
        form.add_error(None, str(refusal))
    return ""


def _told(done: PriceVersion | Proposal) -> str:
    sentence = explain(done.as_price())
    if isinstance(done, Proposal):
        return f"{done} waits for a decision: {sentence}. Nothing changes until another person approves it."
    return f"{done} is published: {sentence}, from {moment(done.effective_from)}."


def _step(request: HttpRequest, rule: PriceRule) -> str:
    """Name what this person may do about the rule's next price; empty for nothing."""
    if proposals.needs_approval(rule):
        return "Propose a price" if request.user.has_perm(PROPOSE) else ""
    return "Publish a price" if request.user.has_perm(PUBLISH) else ""


def _may_open(request: HttpRequest) -> dict[str, bool]:
    return {"may_open_proposals": places.may_list(request, "pricing.proposal")}


def _of_phase(rule: PriceRule, wanted: Phase) -> list[PriceVersion]:
    now = timezone.now()
    return [version for version in rule.versions.all() if timeline.phase(version, now=now) is wanted]


def _price(rule: PriceRule, version: PriceVersion) -> Any:
    version.rule = rule
    return version.as_price()
