"""Exceptions to budgets: asked for on a budget's page, decided by another person on a page that says what would change.

A button is there for whom it works; the services refuse again.
"""

from typing import Any

from django.contrib import admin
from django.db.models import Case, QuerySet, Value, When
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.enums import ActionVariant

from billing.admin import budget_view
from billing.admin.budget_dialogs import DecideDialog
from billing.admin.words import person
from billing.budgeting import percent_of
from billing.models import BudgetException, ExceptionState
from billing.queries import budget_exceptions as exceptions
from billing.queries import budget_words, budgets
from billing.queries.budget_exceptions import DECIDE, Standing
from billing.services import budget_exceptions
from config.base.admin import DayRangeFilter, ReadOnlyAdmin, TrackedAdmin, dialog, link, moment, table
from config.base.exact import plain

_VIEW = "billing.view_budgetexception"


@admin.register(BudgetException)
class BudgetExceptionAdmin(ReadOnlyAdmin, TrackedAdmin):
    list_display = ("asked_for", "of_budget", "standing", "begins", "ends", "author", "age", "ticket", "decider")
    list_filter = (
        ("state", ChoicesDropdownFilter),
        ("budget", RelatedDropdownFilter),
        ("requested_at", DayRangeFilter),
        ("requested_by", RelatedDropdownFilter),
        ("decided_by", RelatedDropdownFilter),
    )
    # What waits comes first, then the newest.
    ordering = (Case(When(state=ExceptionState.REQUESTED, then=Value(0)), default=Value(1)), "-id")
    sortable_by = ()
    list_select_related = ("budget", "requested_by", "decided_by")
    search_fields = ("ticket__iexact", "recharge_id__exact", "budget__name__icontains")
    search_help_text = "Ticket, recharge, or part of the budget's name"
    when_empty = "Who needs more than a budget allows asks for it on the budget's page; a second person decides."
    actions_detail = ("approve", "reject", "take_back", "end_early")
    fieldsets = (
        (None, {"fields": (("asked_for", "standing"), ("of_budget", "scope"), ("begins", "ends"), ("ticket_text", "recharge"), "why")}),
        ("The budget with it", {"fields": ("effect",)}),
        ("Who", {"fields": (("author", "asked_at"), ("decider", "decided"), "decision_why")}),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[BudgetException]":
        rows: QuerySet[BudgetException] = super().get_queryset(request)
        return rows.select_related(*self.list_select_related)

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer what would not be refused: a decision to others, the way back to whoever asked, an early end to both."""
        row = self.get_object(request, str(object_id))
        offered = _offered(row, request) if row is not None else set()
        return [found for found in super().get_actions_detail(request, object_id) if found.path in offered]

    @dialog(
        "Approve",
        form=DecideDialog,
        permission=DECIDE,
        submit="Approve",
        description="The limit is raised by it until it ends. Your name stays with it.",
        icon="check",
        variant=ActionVariant.PRIMARY,
    )
    def approve(self, request: HttpRequest, form: DecideDialog, row: BudgetException) -> str:
        done = budget_exceptions.approve(
            exception_id=row.pk, reason=form.cleaned_data["reason"], decided_by=person(request), now=timezone.now()
        )
        return (
            f"Approved: {done.budget} allows {budget_words.amount(done.extra, done.budget.measure)} more until {moment(done.expires_at)}."
        )

    @dialog(
        "Reject",
        form=DecideDialog,
        permission=DECIDE,
        submit="Reject",
        description="The limit stays. What was asked for stays in the list, with your reason.",
        icon="close",
        variant=ActionVariant.DANGER,
    )
    def reject(self, request: HttpRequest, form: DecideDialog, row: BudgetException) -> str:
        reason = form.cleaned_data["reason"]
        budget_exceptions.reject(exception_id=row.pk, reason=reason, decided_by=person(request), now=timezone.now())
        return f"Rejected: the limit of {row.budget} stays."

    @dialog(
        "Take back",
        form=DecideDialog,
        permission=_VIEW,  # whoever asked may always take it back
        submit="Take back",
        description="You take back what you asked for. The limit stays.",
        icon="undo",
    )
    def take_back(self, request: HttpRequest, form: DecideDialog, row: BudgetException) -> str:
        budget_exceptions.revoke(exception_id=row.pk, reason=form.cleaned_data["reason"], by=person(request), now=timezone.now())
        return "You have taken it back."

    @dialog(
        "End early",
        form=DecideDialog,
        permission=_VIEW,  # the service knows who asked for it
        submit="End it now",
        description="The limit is again what it is without it. What was spent stays spent, even where that is more than the limit.",
        icon="stop_circle",
        variant=ActionVariant.DANGER,
    )
    def end_early(self, request: HttpRequest, form: DecideDialog, row: BudgetException) -> str:
        budget_exceptions.revoke(exception_id=row.pk, reason=form.cleaned_data["reason"], by=person(request), now=timezone.now())
        return f"The exception has ended: {row.budget} is back at its limit."

    @admin.display(description="exception")
    def asked_for(self, row: BudgetException) -> str:
        return f"{budget_words.amount(row.extra, row.budget.measure)} more"

    @admin.display(description="budget")
    def of_budget(self, row: BudgetException) -> SafeString:
        return link(row.budget, "billing_budget_change", row.budget_id)

    @admin.display(description="what it counts")
    def scope(self, row: BudgetException) -> str:
        return budget_view.scope_words(row.budget)

    @admin.display(description="state")
    def standing(self, row: BudgetException) -> SafeString:
        return budget_view.exception_badge(row, timezone.now())

    @admin.display(description="from")
    def begins(self, row: BudgetException) -> SafeString:
        return budget_view.unbroken(budget_view.minute(row.starts_at))

    @admin.display(description="until")
    def ends(self, row: BudgetException) -> SafeString:
        return budget_view.unbroken(budget_view.minute(row.expires_at))

    @admin.display(description="ticket")
    def ticket_text(self, row: BudgetException) -> str:
        return row.ticket

    @admin.display(description="recharge")
    def recharge(self, row: BudgetException) -> SafeString | str:
        topup = exceptions.recharge(row)
        return link(row.recharge_id, "billing_topup_change", topup.pk) if topup else row.recharge_id or "-"

    @admin.display(description="reason")
    def why(self, row: BudgetException) -> str:
        return row.reason

    @admin.display(description="asked by")
    def author(self, row: BudgetException) -> str:
        return str(row.requested_by)

    @admin.display(description="asked")
    def asked_at(self, row: BudgetException) -> str:
        return moment(row.requested_at)

    @admin.display(description="age")
    def age(self, row: BudgetException) -> str:
        return f"{timesince(row.requested_at, depth=1)} ago"

    @admin.display(description="decided by")
    def decider(self, row: BudgetException) -> str:
        return str(row.decided_by or "-")

    @admin.display(description="decided")
    def decided(self, row: BudgetException) -> str:
        return moment(row.decided_at)

    @admin.display(description="reason of the decision")
    def decision_why(self, row: BudgetException) -> str:
        return row.decision_reason or "-"

    @admin.display(description="figures")
    def effect(self, row: BudgetException) -> SafeString | str:
        now = timezone.now()
        if row.budget.ended_at:
            return "The budget has ended and limits nothing any more."
        [found] = budgets.shown([row.budget], now=now)
        standing, measure = found.standing, row.budget.measure
        is_in_force = exceptions.standing(row, now=now) is Standing.IN_FORCE
        without = standing.limit - row.extra if is_in_force else standing.limit
        with_it = without + row.extra
        spent = budget_words.rough(standing.spent, measure)
        rows = [
            (name, budget_words.amount(limit, measure), spent, f"{plain(percent_of(standing.spent, limit))} %")
            for name, limit in (("Without it", without), ("With it", with_it))
        ]
        return table(("Now", "Limit", "Spent in this window", "Used"), rows, figures=(1, 2, 3))


def _offered(row: BudgetException, request: HttpRequest) -> set[str]:
    is_own, may_decide = row.requested_by_id == request.user.pk, request.user.has_perm(DECIDE)
    match exceptions.standing(row, now=timezone.now()):
        case Standing.WAITS if row.budget.ended_at is None:
            return {"take_back"} if is_own else {"approve", "reject"}
        case Standing.WAITS | Standing.TOO_LATE:
            return {"take_back"} if is_own else {"reject"}
        case Standing.AHEAD | Standing.IN_FORCE if is_own or may_decide:
            return {"end_early"}
    return set()
