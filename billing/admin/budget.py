"""Budgets: how each stands and where it is heading, and what may be done about it. Made, changed and ended in dialogs."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.enums import ActionVariant

from billing.admin import budget_dialogs, budget_view
from billing.admin.budget_dialogs import ChangeBudgetDialog, EndBudgetDialog, ExceptionDialog, NewBudgetDialog
from billing.admin.budget_filters import OwnerFilter, ProjectFilter, RunningFilter, StateFilter
from billing.admin.words import BUDGET_COLOURS
from billing.budgeting import Action
from billing.models import Budget
from billing.queries import budget_page, budget_words, budgets
from billing.queries.budgets import Shown
from billing.services import budgets as service
from config.base.admin import Led, ReadOnlyAdmin, TrackedAdmin, badge, dialog, lines, moment

_ACTIONS = {
    Action.ALERT: "Alert only",
    Action.BLOCK: "Block",
    Action.DOWNGRADE: "Downgrade",
    Action.REROUTE: "Reroute",
    Action.ASK: "Ask first",
}
_NAMED = ("team", "project", "api_key", "customer", "event_type", "owner")


class BudgetChangeList(ChangeList):
    """Rows that know how they stand: a few queries for the page, however many it shows."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        self.now = timezone.now()
        found = {one.row.pk: one for one in budgets.shown([row for row in self.result_list if row.ended_at is None], now=self.now)}
        for row in self.result_list:
            row.shown = found.get(row.pk)


@admin.register(Budget)
class BudgetAdmin(ReadOnlyAdmin, TrackedAdmin):
    list_display = ("named", "owner", "limit_figure", "used", "spent_figure", "left_figure", "forecast_figure", "acts")
    list_display_links = ("named",)
    list_filter = (
        RunningFilter,
        OwnerFilter,
        ProjectFilter,
        ("action", ChoicesDropdownFilter),
        ("measure", ChoicesDropdownFilter),
        ("window", ChoicesDropdownFilter),
        StateFilter,
    )
    list_select_related = _NAMED
    sortable_by = ("named", "owner")
    search_fields = ("name__icontains", "owner__username__istartswith", "customer__external_id__exact", "model__istartswith")
    search_help_text = "Part of the name; beginning of the owner's or the model's name; a customer's id"
    when_empty = "A budget limits what a team, a project, a customer or a model spends in a window. Make one with New budget."
    change_form_outer_before_template = "admin/billing/budget_page.html"
    actions_list = ("new_budget",)
    actions_detail = ("ask_exception", "change_budget", "end_budget")
    fieldsets = (
        ("Terms", {"fields": (("named", "limit_words"), ("acts_at_limit", "alerts_at"), ("owned_by", "zone"))}),
        ("Since when", {"fields": (("made", "counts_since"), ("ended",))}),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Budget]":
        rows: QuerySet[Budget] = super().get_queryset(request)
        return rows.select_related(*_NAMED)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BudgetChangeList

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        budget = self.get_object(request, object_id)
        if budget is not None and self.has_view_permission(request, budget):
            now = timezone.now()
            page = budget_view.context(budget_page.load(budget, now=now), now=now)
            extra_context = {**(extra_context or {}), **page, "title": str(budget)}
        response: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
        return response

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer nothing where the budget has ended."""
        budget = self.get_object(request, str(object_id))
        return [] if budget is None or budget.ended_at else super().get_actions_detail(request, object_id)

    @dialog(
        "New budget",
        form=NewBudgetDialog,
        permission="billing.add_budget",
        submit="Make the budget",
        description="It counts the window that runs from its start on. What it counts cannot be changed later; its terms can.",
        icon="add",
        variant=ActionVariant.PRIMARY,
    )
    def new_budget(self, request: HttpRequest, form: NewBudgetDialog, _: None) -> Led:
        budget = budget_dialogs.make(form)
        return Led(f"{budget} counts from {moment(budget.counts_from)} on.", reverse("admin:billing_budget_change", args=(budget.pk,)))

    @dialog(
        "Change",
        form=ChangeBudgetDialog,
        permission="billing.change_budget",
        submit="Change",
        description="What it counts stays: scope, measure, window and time zone. For another one, end this budget and make a new one.",
        icon="edit",
    )
    def change_budget(self, request: HttpRequest, form: ChangeBudgetDialog, budget: Budget) -> str:
        budget_dialogs.change(form, budget)
        return f"{budget} is changed."

    @dialog(
        "End",
        form=EndBudgetDialog,
        permission="billing.end_budget",
        submit="End the budget",
        description="It limits and counts nothing from now on, for good. The page stays, with all that it counted.",
        icon="stop_circle",
        variant=ActionVariant.DANGER,
    )
    def end_budget(self, request: HttpRequest, form: EndBudgetDialog, budget: Budget) -> str:
        service.end_budget(budget, now=timezone.now(), reason=form.cleaned_data["reason"])
        return f"{budget} has ended."

    @dialog(
        "Ask for an exception",
        form=ExceptionDialog,
        permission="billing.add_budgetexception",
        submit="Ask",
        description="So much more than the limit, for a while. Another person decides; then it begins and ends by itself.",
        icon="more_time",
        variant=ActionVariant.PRIMARY,
    )
    def ask_exception(self, request: HttpRequest, form: ExceptionDialog, budget: Budget) -> str:
        wish = budget_dialogs.ask(request, form, budget)
        return f"You asked for {budget_words.amount(wish.extra, budget.measure)} more. Another person decides; the limit stays until then."

    @admin.display(description="budget", ordering="name")
    def named(self, budget: Budget) -> SafeString:
        return format_html(
            '<span class="md-name">{}<small class="md-under">{}</small></span>', budget.name, budget_view.scope_words(budget)
        )

    @admin.display(description="limit")
    def limit_figure(self, budget: Budget) -> SafeString:
        shown = _shown(budget)
        limit = shown.standing.limit if shown else budget.limit
        extra = ", with exceptions" if limit != budget.limit else ""
        return _over(budget_words.amount(limit, budget.measure), f"{budget_view.each(budget)}{extra}")

    @admin.display(description="used")
    def used(self, budget: Budget) -> SafeString | str:
        if (shown := _shown(budget)) is None:
            return badge("ended", "Ended", {})
        standing = shown.standing
        return lines([badge(standing.state, budget_view.percent(standing), BUDGET_COLOURS), budget_view.bar(standing)])

    @admin.display(description="spent")
    def spent_figure(self, budget: Budget) -> SafeString | str:
        if (shown := _shown(budget)) is None:
            return "-"
        held = f"{budget_words.rough(shown.standing.held, budget.measure)} held" if shown.standing.held else "nothing held"
        return _over(budget_words.rough(shown.standing.spent, budget.measure), held if budget_view.reserves(budget) else "")

    @admin.display(description="remaining")
    def left_figure(self, budget: Budget) -> SafeString | str:
        if (shown := _shown(budget)) is None:
            return "-"
        left = budget_words.rough(budget_view.remaining(shown.standing), budget.measure)
        return _over(left, budget_view.time_left(shown, timezone.now()))

    @admin.display(description="forecast")
    def forecast_figure(self, budget: Budget) -> SafeString | str:
        if (shown := _shown(budget)) is None:
            return "-"
        return _over(budget_words.forecast(shown.forecast.amount, budget.measure), shown.forecast.method)

    @admin.display(description="at the limit")
    def acts(self, budget: Budget) -> str:
        return _ACTIONS[Action(budget.action)]

    @admin.display(description="at the limit")
    def acts_at_limit(self, budget: Budget) -> str:
        words = budget.get_action_display()
        return f"{words}: {budget.target}" if budget.target else words

    @admin.display(description="limit")
    def limit_words(self, budget: Budget) -> str:
        return budget_view.per_window(budget)

    @admin.display(description="alerts at")
    def alerts_at(self, budget: Budget) -> str:
        return ", ".join(f"{threshold} %" for threshold in budget.thresholds)

    @admin.display(description="owner")
    def owned_by(self, budget: Budget) -> str:
        return str(budget.owner or "Nobody")

    @admin.display(description="time zone of its windows")
    def zone(self, budget: Budget) -> str:
        return budget.time_zone

    @admin.display(description="made")
    def made(self, budget: Budget) -> str:
        return moment(budget.created_at)

    @admin.display(description="counts from")
    def counts_since(self, budget: Budget) -> str:
        return moment(budget.counts_from)

    @admin.display(description="ended")
    def ended(self, budget: Budget) -> str:
        return moment(budget.ended_at) if budget.ended_at else "no"


def _shown(budget: Budget) -> Shown | None:
    found: Shown | None = getattr(budget, "shown", None)
    return found


def _over(figure: str, under: str | SafeString) -> SafeString:
    return format_html('<div class="md-over">{}<small class="md-under">{}</small></div>', figure, under)
