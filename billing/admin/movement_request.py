"""Requests: movements of credits that wait for a second person, each on a page that says what would happen to the wallet."""

from typing import Any

from django.contrib import admin
from django.db.models import Case, QuerySet, Value, When
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter

from billing.admin.filters import CustomerOfWalletFilter
from billing.admin.second_person import DecidedByASecondPerson, DecideDialog, approving, rejecting, withdrawing
from billing.admin.words import REQUEST_COLOURS, customer_link, person, record_link
from billing.models import LedgerEntry, MovementRequest, RequestState
from billing.queries import movement_requests as requests
from billing.queries.movement_requests import DECIDE
from billing.services import movement_requests
from config.base.admin import DayRangeFilter, ReadOnlyAdmin, badge, credits_, link, moment, table
from config.base.exact import grouped

_VIEW = "billing.view_movementrequest"


@admin.register(MovementRequest)
class MovementRequestAdmin(ReadOnlyAdmin, DecidedByASecondPerson):
    waiting_state = RequestState.REQUESTED
    list_display = ("asked_for", "of_customer", "credits_figure", "status", "author", "age", "decider")
    list_filter = (
        ("state", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("requested_at", DayRangeFilter),
        ("wallet__customer", CustomerOfWalletFilter),
        ("requested_by", RelatedDropdownFilter),
        ("decided_by", RelatedDropdownFilter),
    )
    # What waits comes first, then the newest.
    ordering = (Case(When(state=RequestState.REQUESTED, then=Value(0)), default=Value(1)), "-id")
    sortable_by = ()
    list_select_related = ("wallet__customer", "to_wallet__customer", "requested_by", "decided_by")
    when_empty = "What is above one person's limit is asked for here by the buttons of a customer, and decided by a second person."
    actions_detail = ("approve", "reject", "withdraw")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[MovementRequest]":
        rows: QuerySet[MovementRequest] = super().get_queryset(request)
        return rows.select_related(*self.list_select_related)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        waits = obj is not None and obj.state == RequestState.REQUESTED
        customers = ("of_customer", "to_customer") if obj is not None and obj.to_wallet_id else "of_customer"
        asked = (("asked_for", "status"), customers, ("credits_figure", "terms"), "why")
        effect = ("If it is approved now", {"fields": ("preview",)}) if waits else ("What it became", {"fields": ("entries",)})
        decision = ("Decision", {"fields": (("decider", "decided"), "decision_why")})
        who = ("Who asked, and why a second person", {"fields": (("author", "asked_at"), "limits")})
        return [(None, {"fields": asked}), effect, who] + ([] if waits else [decision])

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = ("asked_for", "status", "of_customer", "to_customer", "credits_figure", "terms", "why", "preview", "entries")
        return (*shown, "author", "asked_at", "limits", "decider", "decided", "decision_why")

    @approving(permission=DECIDE, description="The credits move at once, in the name of whoever asked; the entries name you as approver.")
    def approve(self, request: HttpRequest, form: DecideDialog, row: MovementRequest) -> str:
        reason = form.cleaned_data["reason"]
        done = movement_requests.approve(request_id=row.pk, reason=reason, decided_by=person(request), now=timezone.now())
        return f"{done} is approved: the credits of {row.wallet.customer} have moved."

    @rejecting(permission=DECIDE, description="Nothing moves. The request stays in the list with your reason.")
    def reject(self, request: HttpRequest, form: DecideDialog, row: MovementRequest) -> str:
        reason = form.cleaned_data["reason"]
        movement_requests.reject(request_id=row.pk, reason=reason, decided_by=person(request), now=timezone.now())
        return f"{row} is rejected: nothing has moved."

    @withdrawing(permission=_VIEW, description="You take back what you asked for. Nothing moves.")
    def withdraw(self, request: HttpRequest, form: DecideDialog, row: MovementRequest) -> str:
        movement_requests.withdraw(request_id=row.pk, reason=form.cleaned_data["reason"], by=person(request), now=timezone.now())
        return f"{row} is withdrawn."

    @admin.display(description="request")
    def asked_for(self, row: MovementRequest) -> str:
        return row.get_kind_display()

    @admin.display(description="customer")
    def of_customer(self, row: MovementRequest) -> SafeString | str:
        return customer_link(row.wallet.customer)

    @admin.display(description="to customer")
    def to_customer(self, row: MovementRequest) -> SafeString | str:
        return customer_link(row.to_wallet.customer if row.to_wallet else None)

    @admin.display(description="credits")
    def credits_figure(self, row: MovementRequest) -> SafeString:
        return credits_(row.credits)

    @admin.display(description="terms")
    def terms(self, row: MovementRequest) -> SafeString | str:
        if row.usage_record_id:
            return format_html("for the charge of {}", record_link(row.usage_record_id))
        if row.kind == "grant":
            return f"expires {moment(row.expires_at)}" if row.expires_at else "never expires"
        return "-"

    @admin.display(description="reason")
    def why(self, row: MovementRequest) -> str:
        return row.reason

    @admin.display(description="status")
    def status(self, row: MovementRequest) -> SafeString:
        return badge(row.state, row.get_state_display(), REQUEST_COLOURS)

    @admin.display(description="asked by")
    def author(self, row: MovementRequest) -> str:
        return str(row.requested_by)

    @admin.display(description="asked")
    def asked_at(self, row: MovementRequest) -> str:
        return moment(row.requested_at)

    @admin.display(description="age")
    def age(self, row: MovementRequest) -> str:
        return f"{timesince(row.requested_at, depth=1)} ago"

    @admin.display(description="decided by")
    def decider(self, row: MovementRequest) -> str:
        return str(row.decided_by or "-")

    @admin.display(description="decided")
    def decided(self, row: MovementRequest) -> str:
        return moment(row.decided_at)

    @admin.display(description="reason")
    def decision_why(self, row: MovementRequest) -> str:
        return row.decision_reason or "-"

    @admin.display(description="one person's limit")
    def limits(self, row: MovementRequest) -> str:
        moved = f"{grouped(row.moved_credits)} credits" if row.moved_credits else "nothing"
        return f"{grouped(row.limit_credits)} credits on a wallet within 24 hours; {row.requested_by} had moved {moved} on this one before."

    @admin.display(description="effect")
    def preview(self, row: MovementRequest) -> SafeString:
        found = requests.preview(row, now=timezone.now())
        rows = [
            (customer_link(effect.wallet.customer), credits_(effect.balance), credits_(effect.change), credits_(effect.after))
            for effect in found.effects
        ]
        effects = table(("Wallet of", "Balance now", "Change", "Balance after"), rows, figures=(1, 2, 3))
        if not found.obstacle:
            return effects
        return format_html('{}<p class="md-reason md-obstacle" role="note">It would be refused now: {}</p>', effects, found.obstacle)

    @admin.display(description="entries")
    def entries(self, row: MovementRequest) -> SafeString | str:
        if row.transaction_id is None:
            return "Nothing has moved."
        entries = LedgerEntry.objects.filter(transaction_id=row.transaction_id).select_related("wallet__customer").order_by("pk")
        rows = [
            (
                link(moment(entry.recorded_at), "billing_ledgerentry_change", entry.pk),
                customer_link(entry.wallet.customer),
                entry.get_kind_display(),
                credits_(entry.credits),
                credits_(entry.balance_after),
            )
            for entry in entries
        ]
        return table(("Recorded", "Wallet of", "Kind", "Credits", "Balance after"), rows, figures=(3, 4))
