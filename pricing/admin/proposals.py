"""Proposals: prices that wait for a decision, each on a page of its own with what it rests on and the buttons to decide.

A button is there for whom it works; for all others a sentence says who decides. The services refuse again.
"""

from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Case, QuerySet, Value, When
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import action
from unfold.enums import ActionVariant

from config.base.admin import ReadOnlyAdmin, badge, dialog, moment
from pricing.admin import asking, panels, proposal_view, undoing
from pricing.admin.proposal_dialogs import AdviseAgainDialog, ApplyDialog, RejectDialog, SubmitDialog, WithdrawDialog
from pricing.admin.proposal_form import EditForm
from pricing.admin.undoing import PROPOSE, UndoButton
from pricing.models import OPEN, Proposal, ProposalSource, ProposalState
from pricing.queries import proposal_page
from pricing.queries import proposals as waiting
from pricing.queries.deciders import DECIDE
from pricing.rating import explain
from pricing.services import advising, proposals
from pricing.services.refusals import PriceRefusedError, UnseenEditError

SOURCE_COLOURS: Final = {ProposalSource.ADVISOR: "info", ProposalSource.PERSON: "default"}


@admin.register(Proposal)
class ProposalAdmin(UndoButton, ReadOnlyAdmin):
    show_full_result_count = True
    list_display = ("rule_name", "change", "from_whom", "status", "proposer", "age")
    list_filter = (
        ("state", ChoicesDropdownFilter),
        ("source", ChoicesDropdownFilter),
        ("rule__event_type", RelatedDropdownFilter),
    )
    search_fields = ("rule__event_type__name__startswith", "rule__segment_key__startswith")
    search_help_text = "Beginning of the event type, the plan or the customer's key"
    # What waits comes first, then the newest.
    ordering = (Case(When(state__in=OPEN, then=Value(0)), default=Value(1)), "-id")
    sortable_by = ()
    when_empty = "Run `python manage.py advise`, or propose a price on a rule's page."
    change_form_outer_before_template = "admin/pricing/proposal.html"
    actions_detail = ("apply", "advise_again", "reject", "submit", "edit", "withdraw", "undo")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Proposal]":
        return waiting.with_staleness().defer(*proposal_page.LARGE)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The page says it all in a layout of its own."""
        return ()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Proposals", **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        proposal = self.get_object(request, object_id)
        context: dict[str, Any] = {}
        if proposal is not None and self.has_view_permission(request, proposal):
            page = proposal_page.load(proposal)
            context = {
                **proposal_view.context(page, _person(request)),
                "panels": panels.of_proposal(proposal),
                "no_undo": undoing.why_not(request, proposal),
                "title": str(proposal),
            }
        response: HttpResponse = super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})
        return response

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer what would not be refused."""
        proposal = self.get_object(request, str(object_id))
        offered = _offered(proposal, _person(request)) if proposal is not None else set()
        if undoing.is_offered(request, proposal):
            offered.add("undo")
        return [found for found in super().get_actions_detail(request, object_id) if found.path in offered]

    @dialog("Apply", form=ApplyDialog, permission=DECIDE, submit="Apply", icon="check", variant=ActionVariant.PRIMARY)
    def apply(self, request: HttpRequest, form: ApplyDialog, proposal: Proposal) -> str:
        typed = form.cleaned_data
        version = proposals.approve(
            proposal=proposal,
            effective_from=typed["effective_from"],
            reason=typed["reason"],
            actor=_person(request),
            seen=typed["seen"],
            now=timezone.now(),
        )
        return f"{version} is published: {explain(version.as_price())}, from {moment(version.effective_from)}."

    @dialog(
        "Reject",
        form=RejectDialog,
        permission=DECIDE,
        submit="Reject",
        description="The price stays as it is, and the proposal is closed for good. Its author is told why; the Pricing Advisor, if it "
        "was its proposal, rests before it asks about this price again.",
        icon="close",
        variant=ActionVariant.DANGER,
    )
    def reject(self, request: HttpRequest, form: RejectDialog, proposal: Proposal) -> str:
        proposals.reject(proposal=proposal, reason=form.cleaned_data["reason"], actor=_person(request), now=timezone.now())
        return f"{proposal} is rejected: the price stays as it is."

    @dialog(
        "Withdraw",
        form=WithdrawDialog,
        permission=PROPOSE,
        submit="Withdraw",
        description="You take your proposal back: nobody decides on it any more, and it is closed for good. The price stays as it is.",
        icon="undo",
    )
    def withdraw(self, request: HttpRequest, form: WithdrawDialog, proposal: Proposal) -> str:
        proposals.withdraw(proposal=proposal, reason=form.cleaned_data["reason"], actor=_person(request), now=timezone.now())
        return f"{proposal} is withdrawn."

    @dialog(
        "Submit",
        form=SubmitDialog,
        permission=PROPOSE,
        submit="Submit",
        description="Those who may decide are asked to. Another person than you applies or rejects it.",
        icon="send",
        variant=ActionVariant.PRIMARY,
    )
    def submit(self, request: HttpRequest, form: SubmitDialog, proposal: Proposal) -> str:
        proposals.submit(proposal=proposal, actor=_person(request), now=timezone.now())
        return f"{proposal} waits for a decision."

    @dialog(
        "Advise again",
        form=AdviseAgainDialog,
        permission=PROPOSE,
        submit="Advise again",
        description="The Pricing Advisor looks at this price as things are now. What it says takes the place of this proposal.",
        icon="refresh",
        variant=ActionVariant.PRIMARY,
    )
    def advise_again(self, request: HttpRequest, form: AdviseAgainDialog, proposal: Proposal) -> str:
        return asking.again(advising.outdated(proposal=proposal).rule)

    @action(description="Edit", url_path="edit", permissions=[PROPOSE], icon="edit")
    def edit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form of the proposed price; on POST say what it charges, or put it in the place of the proposed one."""
        proposal = self.get_object(request, object_id)
        if proposal is None or not self.has_view_permission(request, proposal):
            raise Http404
        form = EditForm(request.POST if request.method == "POST" else None, proposal=proposal, now=timezone.now())
        preview = ""
        if form.is_bound and form.is_valid():
            if "preview" in request.POST:
                preview = form.sentence()
            elif _edit(request, proposal, form):
                messages.success(request, f"{proposal} was edited: {form.sentence()}. Another person decides on it.")
                return redirect("admin:pricing_proposal_change", proposal.pk)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Edit {proposal}",
            "opts": self.opts,
            "media": self.media,
            "proposal": proposal,
            "form": form,
            "preview": preview,
        }
        return render(request, "admin/pricing/proposal_edit.html", context)

    @admin.display(description="rule")
    def rule_name(self, proposal: Proposal) -> SafeString:
        return format_html('<span class="md-name">{}</span>', proposal.rule)

    @admin.display(description="what changes")
    def change(self, proposal: Proposal) -> SafeString:
        return format_html('<span class="md-name">{}</span>', proposal_view.summary(proposal))

    @admin.display(description="source")
    def from_whom(self, proposal: Proposal) -> SafeString:
        return badge(proposal.source, proposal.get_source_display(), SOURCE_COLOURS)

    @admin.display(description="state")
    def status(self, proposal: Proposal) -> SafeString:
        state = badge(proposal.state, proposal.get_state_display(), proposal_view.STATE_COLOURS)
        return format_html("{} {}", state, badge("stale", "Stale", {"stale": "danger"})) if waiting.is_stale(proposal) else state

    @admin.display(description="proposed by")
    def proposer(self, proposal: Proposal) -> str:
        return str(proposal.created_by or "-")

    @admin.display(description="age")
    def age(self, proposal: Proposal) -> str:
        return timesince(proposal.created_at, depth=1)


def _offered(proposal: Proposal, person: User) -> set[str]:
    """Name the buttons that would not be refused; the permissions are asked besides."""
    is_author = proposal.created_by_id == person.pk
    is_draft, is_stale = proposal.state == ProposalState.DRAFT, waiting.is_stale(proposal)
    if proposal.state not in OPEN:
        return set()
    offered = {"withdraw"} if is_author else set()
    if is_draft:
        return offered | ({"submit", "edit"} if is_author and not is_stale else set())
    if not is_stale:
        offered.add("edit")
    elif proposal.source == ProposalSource.ADVISOR:
        offered.add("advise_again")
    if person.pk not in proposal_page.involved(proposal):
        offered |= {"reject"} | (set() if is_stale else {"apply"})
    return offered


def _edit(request: HttpRequest, proposal: Proposal, form: EditForm) -> bool:
    """Make the one domain call; a refusal goes to the field that can mend it."""
    typed = form.cleaned_data
    try:
        proposals.edit(
            proposal=proposal,
            definition=form.definition(),
            effective_from=typed["effective_from"],
            reason=typed["reason"],
            actor=_person(request),
            seen=typed["seen"],
            now=timezone.now(),
        )
    except PriceRefusedError as refusal:
        if refusal.problems:
            form.show(refusal.problems)
        else:
            form.add_error(None, str(refusal))
        if isinstance(refusal, UnseenEditError):
            form.see_again()
        return False
    return True


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user
