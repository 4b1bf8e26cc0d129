"""Rate imports: what a feed says otherwise than the catalogue, line by line, and the buttons that decide about it."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from config.base.admin import Dialog, ReadOnlyAdmin, ReasonDialog, badge, dialog, lines, link, moment, table
from config.base.exact import plain
from config.base.figures import on_page
from pricing.admin.provider_rates import ProviderFilter, of_units
from pricing.feeds import files
from pricing.feeds.guards import TITLES
from pricing.feeds.statement import Figure
from pricing.models import ChangeState, RateChange, RateImport
from pricing.models.rate_import import KIND_CHOICES
from pricing.queries import rate_diff
from pricing.queries import rate_imports as queries
from pricing.queries.rate_diff import Only
from pricing.services import rate_decisions, rate_imports

PERMISSION = "pricing.accept_rates"
STATE_COLOURS = {"pending": "warning", "accepted": "success", "rejected": "danger", "superseded": "default"}
STATE_TAGS = {"pending": "desk-tag-warn", "accepted": "desk-tag-good"}
_MOST_LEFT_OUT = 200


class CompareDialog(Dialog):
    pass


class CompareAgainDialog(Dialog):
    pass


class RejectAllDialog(ReasonDialog):
    pass


class AcceptAllDialog(Dialog):
    reason = forms.CharField(
        required=False, max_length=500, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}), help_text="Kept with every line; may be empty."
    )


class AcceptLineDialog(Dialog):
    """Asks for a reason where a guard holds the line back, and says what the guard saw."""

    reason = forms.CharField(max_length=500, required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        line: RateChange = self.subject
        doubts = " ".join(sentence for _, sentence in line.guard_titles)
        self.fields["reason"].required = bool(doubts)
        self.fields["reason"].help_text = f"{_in_words(line)} {doubts}".strip()


class RejectLineDialog(ReasonDialog):
    pass


class DiffForm(forms.Form):
    """The filters of the diff; sent by GET."""

    def __init__(self, data: QueryDict, *, providers: tuple[str, ...]) -> None:
        super().__init__(data)
        guards = [("", "All"), ("any", "Held back by a guard"), ("none", "Without a guard"), *TITLES.items()]
        self.fields["model"] = forms.CharField(
            required=False, max_length=200, label="Any part of the model's name", widget=UnfoldAdminTextInputWidget
        )
        self.fields["guard"] = _choice("Guard", guards)
        self.fields["kind"] = _choice("Kind", [("", "All"), *KIND_CHOICES])
        self.fields["provider"] = _choice("Provider", [("", "All"), *((name, name) for name in providers)])
        self.fields["state"] = _choice("State", [("", "All"), *ChangeState.choices])

    def only(self) -> Only:
        """Return what was asked for; what is no choice asks for everything."""
        self.is_valid()
        return Only(**self.cleaned_data)


class FeedFilter(DropdownFilter):
    title = "source"
    parameter_name = "source"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        sources = RateImport.objects.order_by("source").values_list("source", flat=True).distinct()
        return [(source, source) for source in sources]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.filter(source=self.value()) if self.value() else queryset


@admin.register(RateImport)
class RateImportAdmin(ReadOnlyAdmin):
    show_full_result_count = True
    when_empty = "No feed was compared yet. Compare the installed one with the button above, or run manage.py import_rates."
    list_display = ("of_day", "source", "file_name", "waits", "held_back", "line_counts", "left_out_figure", "imported")
    list_filter = (FeedFilter,)
    list_select_related = ("created_by",)
    ordering = ("-id",)
    actions_list = ("compare_installed",)
    actions_detail = ("accept_all", "reject_all", "compare_again")
    change_form_outer_before_template = "admin/pricing/rate_diff.html"
    fieldsets = (
        ("The import", {"fields": (("source", "file_name"), ("of_day", "imported"), ("only_providers", "fingerprint"))}),
        ("Left out, and why", {"fields": ("left_out_table",), "classes": ("collapse",)}),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        return queries.with_counts().select_related("created_by")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        made = self.get_object(request, object_id)
        context: dict[str, Any] = {**(extra_context or {})}
        if made is not None and self.has_view_permission(request, made):
            context |= _diff_context(request, made)
        response: HttpResponse = super().change_view(request, object_id, form_url, context)
        return response

    @dialog(
        "Compare installed feed",
        form=CompareDialog,
        permission=PERMISSION,
        submit="Compare",
        description="Compares the prices of the installed genai-prices with the catalogue. Nothing changes before lines are accepted.",
        icon="difference",
    )
    def compare_installed(self, request: HttpRequest, form: CompareDialog, row: None) -> str:
        now = timezone.now()
        done = rate_imports.import_feed(feed=files.installed(), as_of=now, actor=_user(request), now=now)
        if not done.is_new:
            return f"{done.rate_import.file_name} was imported on {moment(done.rate_import.created_at)}: nothing is new."
        return f"{done.rate_import.file_name} is compared: {done.rate_import.changes.count():,} lines wait."

    @dialog(
        "Accept all unguarded",
        form=AcceptAllDialog,
        permission=PERMISSION,
        submit="Accept all unguarded",
        description="Takes over every waiting line of this import that no guard holds back. What a guard holds is accepted line by line.",
        icon="done_all",
        variant=ActionVariant.PRIMARY,
    )
    def accept_all(self, request: HttpRequest, form: AcceptAllDialog, made: RateImport) -> str:
        reason = form.cleaned_data["reason"]
        done = rate_decisions.accept_unguarded(rate_import=made, reason=reason, actor=_user(request), now=timezone.now())
        told = f"{done.count:,} lines are accepted."
        if done.past:
            told += f" {done.past:,} begin in the past: what was charged since keeps its recorded cost until it is rated anew."
        if done.refused:
            told += f" {len(done.refused):,} still wait, such as: {done.refused[0][1]}"
        return told

    @dialog(
        "Reject all waiting",
        form=RejectAllDialog,
        permission=PERMISSION,
        submit="Reject all waiting",
        description="Decides against every waiting line of this import, guarded or not. The same differences are not proposed again.",
        icon="block",
    )
    def reject_all(self, request: HttpRequest, form: RejectAllDialog, made: RateImport) -> str:
        waiting = list(queries.pending().filter(rate_import=made).values_list("pk", flat=True))
        reason = form.cleaned_data["reason"]
        count = rate_decisions.reject(changes=waiting, reason=reason, actor=_user(request), now=timezone.now())
        return f"{count:,} lines are rejected."

    @dialog(
        "Compare again",
        form=CompareAgainDialog,
        permission=PERMISSION,
        submit="Compare again",
        description="Compares the newest release of this feed with the catalogue as it is now. The differences that it finds take the "
        "place of those that wait; what was decided stays.",
        icon="sync",
    )
    def compare_again(self, request: HttpRequest, form: CompareAgainDialog, made: RateImport) -> str:
        done = rate_imports.compare_again(source=made.source, actor=_user(request), now=timezone.now())
        count = queries.pending().filter(rate_import=done.rate_import).count()
        waits = f"{count:,} lines wait" if count else "nothing waits"
        page = link("on its page", "pricing_rateimport_change", done.rate_import.pk)
        if not done.is_new:
            return format_html("Compared again, {} says the same as before: {} {}.", done.rate_import.file_name, waits, page)
        return format_html("{} is compared again: {} {}.", done.rate_import.file_name, waits, page)

    @admin.display(description="as of", ordering="as_of")
    def of_day(self, made: RateImport) -> str:
        return moment(made.as_of)

    @admin.display(description="waiting")
    def waits(self, made: Any) -> str:
        return badge("pending", f"{made.waiting:,} waiting", STATE_COLOURS) if made.waiting else "decided"

    @admin.display(description="held back")
    def held_back(self, made: Any) -> str:
        return f"{made.held:,} by a guard" if made.held else "-"

    @admin.display(description="lines")
    def line_counts(self, made: RateImport) -> str:
        return ", ".join(f"{made.counts[kind]:,} {kind}" for kind, _ in KIND_CHOICES if made.counts.get(kind)) or "none"

    @admin.display(description="left out")
    def left_out_figure(self, made: RateImport) -> str:
        return f"{made.counts['left_out']:,}"

    @admin.display(description="imported")
    def imported(self, made: RateImport) -> str:
        again = ", compared again" if made.again_of_id else ""
        return f"{moment(made.created_at)} by {made.created_by or 'the system'}{again}"

    @admin.display(description="providers")
    def only_providers(self, made: RateImport) -> str:
        return ", ".join(made.providers) or "all"

    @admin.display(description="SHA-256")
    def fingerprint(self, made: RateImport) -> SafeString:
        return format_html('<span class="md-mono">{}</span>', made.sha256)

    @admin.display(description="left out, and why")
    def left_out_table(self, made: RateImport) -> SafeString:
        rows = [(f"{provider}/{model}", what, why) for provider, model, what, why in made.left_out]
        shown = table(("Model", "What", "Why"), rows[:_MOST_LEFT_OUT], empty="Nothing was left out.")
        rest = len(rows) - _MOST_LEFT_OUT
        return lines([shown, f"and {rest:,} more: manage.py import_rates -v 2 lists them all"]) if rest > 0 else shown


@admin.register(RateChange)
class RateChangeAdmin(ReadOnlyAdmin):
    """One line with its decision. Lists of lines are the diff of an import; this one finds a model through all imports."""

    show_full_result_count = True
    when_empty = "A feed that says otherwise than the catalogue makes lines here."
    list_display = ("of_model_name", "unit", "kind", "prices", "held_by", "state_badge", "decided", "source")
    list_filter = (("state", ChoicesDropdownFilter), ("kind", ChoicesDropdownFilter), ProviderFilter)
    list_select_related = ("decided_by",)
    search_fields = ("model__istartswith",)
    search_help_text = "Beginning of the model's name"
    ordering = ("-id",)
    actions_detail = ("accept_line", "reject_line")
    fieldsets = (
        (
            "What differs",
            {"fields": (("of_model_name", "unit"), ("kind", "prices"), ("begins", "ends"), ("names", "import_link"), "detail")},
        ),
        ("Guards", {"fields": ("held_by_words",)}),
        ("Decision", {"fields": (("state_badge", "decided"), "decision_reason", "rate_link")}),
    )

    @dialog("Accept", form=AcceptLineDialog, permission=PERMISSION, submit="Accept this line", icon="check", variant=ActionVariant.PRIMARY)
    def accept_line(self, request: HttpRequest, form: AcceptLineDialog, line: RateChange) -> str:
        rate = rate_decisions.accept(change=line, reason=form.cleaned_data["reason"], actor=_user(request), now=timezone.now())
        if rate is None:
            return f"{line.of_model} has {len(line.aliases)} more names."
        if line.kind == "ended":
            return f"{line} ends on {moment(rate.effective_to)}."
        return f"{line} costs {_figure(line, line.theirs)} from {moment(rate.effective_from)} on."

    @dialog("Reject", form=RejectLineDialog, permission=PERMISSION, submit="Reject this line", icon="block")
    def reject_line(self, request: HttpRequest, form: RejectLineDialog, line: RateChange) -> str:
        rate_decisions.reject(changes=[line.pk], reason=form.cleaned_data["reason"], actor=_user(request), now=timezone.now())
        return f"{line} is rejected."

    @admin.display(description="model", ordering="model")
    def of_model_name(self, line: RateChange) -> str:
        return line.of_model

    @admin.display(description="unit")
    def unit(self, line: RateChange) -> str:
        return line.unit_words

    @admin.display(description="price")
    def prices(self, line: RateChange) -> str:
        return f"{_figure(line, line.ours)} → {_figure(line, line.theirs)}" if line.unit_kind else "-"

    @admin.display(description="held by")
    def held_by(self, line: RateChange) -> str:
        return ", ".join(title for title, _ in line.guard_titles) or "-"

    @admin.display(description="held by")
    def held_by_words(self, line: RateChange) -> str:
        return lines(f"{title}. {sentence}" for title, sentence in line.guard_titles) if line.guards else "No guard."

    @admin.display(description="state", ordering="state")
    def state_badge(self, line: RateChange) -> SafeString:
        return badge(line.state, line.get_state_display(), STATE_COLOURS)

    @admin.display(description="decided")
    def decided(self, line: RateChange) -> str:
        return f"{moment(line.decided_at)} by {line.decided_by or 'the system'}" if line.decided_at else "-"

    @admin.display(description="from")
    def begins(self, line: RateChange) -> str:
        return moment(line.effective_from) if line.effective_from else "its acceptance"

    @admin.display(description="to")
    def ends(self, line: RateChange) -> str:
        return moment(line.effective_to)

    @admin.display(description="names")
    def names(self, line: RateChange) -> str:
        return ", ".join(line.aliases) or "-"

    @admin.display(description="import")
    def import_link(self, line: RateChange) -> SafeString:
        return link(line.rate_import, "pricing_rateimport_change", line.rate_import_id)

    @admin.display(description="rate")
    def rate_link(self, line: RateChange) -> str:
        return link(line.rate, "pricing_providerrate_change", line.rate_id) if line.rate_id else "-"


def _diff_context(request: HttpRequest, made: RateImport) -> dict[str, Any]:
    providers = tuple(made.changes.order_by("provider").values_list("provider", flat=True).distinct())
    form = DiffForm(request.GET, providers=providers)
    only = form.only()
    diff = rate_diff.of_import(made, only=only, page=request.GET.get("page", "1"))
    rest = request.GET.copy()
    rest.pop("page", None)
    return {
        "made": made,
        "newest": RateImport.objects.defer("release").filter(source=made.source, pk__gt=made.pk).order_by("-pk").first(),
        "filters": form,
        "diff": diff,
        "is_narrowed": only != Only(),
        "may_decide": bool(request.user.has_perm(PERMISSION)),
        "query": rest.urlencode(),
        "rows": [
            (group, [(line, _figure(line, line.ours), _figure(line, line.theirs), _factor(line)) for line in group.lines])
            for group in diff.groups
        ],
        "states": [
            (STATE_TAGS.get(state, ""), state, ChangeState(state).label, count)
            for state in ChangeState.values
            if (count := diff.by_state.get(state))
        ],
    }


def _choice(label: str, choices: list[tuple[str, str]]) -> forms.ChoiceField:
    return forms.ChoiceField(required=False, label=label, choices=choices, widget=UnfoldAdminSelectWidget)


def _in_words(line: RateChange) -> str:
    if not line.unit_kind:
        return f"Adds the names {', '.join(line.aliases)}."
    start = moment(line.effective_from) if line.effective_from else "now"
    if line.kind == "ended":
        return f"Ends {line} at {_figure(line, line.ours)}, from {start} on."
    before = f"{_figure(line, line.ours)} becomes " if line.ours else ""
    return f"{line}: {before}{_figure(line, line.theirs)}, from {start} on."


def _figure(line: RateChange, figure: Figure | None) -> str:
    """Say a price of the line with what it is of: 3 USD per 1,000,000 tokens."""
    return f"{plain(figure.price)} {figure.currency} per {of_units(line.unit_kind, figure.per)}" if figure else "none"


def _factor(line: RateChange) -> str:
    """Say by how much the price changes, such as `-20 %`."""
    ours, theirs = line.ours, line.theirs
    if ours is None or theirs is None or not ours.price or ours.currency != theirs.currency:
        return ""
    return on_page(theirs.each / ours.each - 1, 0, is_change=True)


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user
