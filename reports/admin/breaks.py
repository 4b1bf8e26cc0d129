"""Breaks with Stripe: the work queue of what does not agree, and the buttons of the reconciliation."""

from datetime import datetime
from typing import Any, Final

from celery import current_app
from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import DatabaseError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import URLPattern
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from kombu.exceptions import OperationalError as BrokerAwayError
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter, RadioFilter
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextareaWidget

from billing.minor_units import written
from billing.queries import stripe_modes
from config.base.admin import Choice, DayRangeFilter, Dialog, ReadOnlyAdmin, TrackedAdmin, badge, dialog, lines, link, moment, table
from config.base.errors import DomainError
from reports import breaks, stripe_files, stripe_imports
from reports.admin.period_form import Period
from reports.admin.reconciliation import VIEW, Reconciliation
from reports.admin.signing import MODES, SignDialog, mode_word
from reports.models import BreakState, ReconciliationBreak
from reports.queries import reconciliation as queries
from reports.queries.reconciliation import OPEN_STATES

SETTLE: Final = "reports.settle_breaks"
STATE_COLOURS = {"open": "danger", "in_work": "warning", "explained": "info", "resolved": "success"}


_DASHBOARD: Final = (stripe_files.Kind.PAYOUT_RECONCILIATION, stripe_files.Kind.BALANCE_CHANGE, stripe_files.Kind.ITEMIZED_PAYOUTS)
WHERE_FILES_ARE: Final = format_html(
    "CSV as Stripe wrote it, from Stripe's dashboard:{}<br>Also balance transactions and payouts as tools read them from Stripe's API.",
    format_html_join("", "<br>· {}", ((stripe_files.WHERE[kind],) for kind in _DASHBOARD)),
)


class WorkerAway(DomainError):
    """Start the worker."""

    code = "worker_away"


class AssignBreakDialog(Dialog):
    owner = Choice(required=False, help_text="Who sees to it.")
    note = forms.CharField(
        required=False,
        max_length=500,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="How far it is, or why it is given to somebody else. Earlier notes stay on the page.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        owner: Any = self.fields["owner"]
        owner.choices = [("", "Nobody"), *((str(person.pk), person.get_username()) for person in _people())]
        owner.initial = str(self.subject.owner_id or "")


class ExplainDialog(Dialog):
    explanation = forms.CharField(
        max_length=500,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Why it may stay as it is. Should the amount change, the break is opened again. Earlier notes stay on the page.",
    )
    seen = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["seen"].initial = self.subject.amount_minor


class FindDialog(Dialog):
    pass


class ImportDialog(Dialog):
    file = forms.FileField(
        label="File of Stripe's",
        widget=UnfoldAdminFileFieldWidget,
        help_text=WHERE_FILES_ARE,
    )

    mode = Choice(
        choices=MODES, label="The file is of", help_text="Stripe's files do not say it. Each mode has a reconciliation of its own."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["mode"].initial = mode_word(is_live=stripe_modes.usual())

    def clean_file(self) -> str:
        sent: UploadedFile[bytes] = self.cleaned_data["file"]
        if sent.size and sent.size > stripe_files.MOST_BYTES:
            raise ValidationError("This file is too large for a page. Use manage.py import_stripe_csv.")
        try:
            text = stripe_files.decoded(sent.read())
        except stripe_files.UnreadableFile as error:
            raise ValidationError([str(problem) for problem in error.problems]) from error
        if text.count("\n") > breaks.AT_ONCE:
            words = f"This file has more than {breaks.AT_ONCE:,} rows, which takes a page too long. Use manage.py import_stripe_csv."
            raise ValidationError(words)
        return text


def _people() -> list[User]:
    granted = Q(groups__permissions__codename="settle_breaks") | Q(user_permissions__codename="settle_breaks")
    return list(User.objects.filter(granted | Q(is_superuser=True), is_active=True, is_staff=True).distinct().order_by("username"))


class Shows(RadioFilter):
    """Without a choice: what is still there."""

    title = "shows"
    parameter_name = "shows"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return (("open", "Open"), ("mine", "Mine"), ("explained", "Explained"), ("gone", "Gone"), ("all", "All"))

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        wanted = {
            "open": Q(state__in=OPEN_STATES),
            "mine": Q(state__in=OPEN_STATES, owner=request.user.pk),
            "explained": Q(state=BreakState.EXPLAINED),
            "gone": Q(state=BreakState.RESOLVED),
            "all": Q(),
        }
        return queryset.filter(wanted.get(self.value() or "", ~Q(state=BreakState.RESOLVED)))


@admin.register(ReconciliationBreak)
class ReconciliationBreakAdmin(ReadOnlyAdmin, TrackedAdmin):
    list_display = ("what", "state_badge", "amount_figure", "said", "of_topup", "happened", "sees_to_it")
    list_filter = (
        Shows,
        ("kind", ChoicesDropdownFilter),
        ("category", ChoicesDropdownFilter),
        ("is_live", BooleanRadioFilter),
        ("happened_at", DayRangeFilter),
    )
    list_select_related = ("owner", "topup")
    search_fields = ("subject__exact",)
    search_help_text = "Stripe's id, or ours such as top-up 7, exactly"
    ordering = ("-happened_at", "-pk")
    when_empty = "Stripe and the books agree, as far as they were compared. They are compared every hour."
    actions_list = ("sign_off", "import_file", "find_now")
    actions_detail = ("assign_break", "explain_break")
    fieldsets = (
        (None, {"fields": (("what", "state_badge"), ("subject", "amount_figure"), ("said",), ("of_topup", "of_payout"))}),
        ("When", {"fields": (("happened", "found"), ("seen", "closed"))}),
        ("Who sees to it", {"fields": ("owner", "notes")}),
    )

    def get_urls(self) -> list[URLPattern]:
        return [*Reconciliation(self).urls(), *super().get_urls()]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm(VIEW))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    @dialog(
        "Sign",
        form=SignDialog,
        permission=SETTLE,
        submit="Sign",
        description="Keeps the figures that the page shows with your name, and a hash of every line behind them.",
        icon="signature",
        variant=ActionVariant.PRIMARY,
    )
    def sign_off(self, request: HttpRequest, form: SignDialog, row: None) -> str:
        period = Period(form.cleaned_data["first"], form.cleaned_data["last"])
        typed = form.cleaned_data
        signed = breaks.sign(
            since=period.since,
            until=period.until,
            is_live=typed["mode"] == "live",
            digest=typed["digest"],
            note=typed["note"],
            actor=_user(request),
            now=timezone.now(),
        )
        return f"{period} is signed: {signed.line_count:,} lines, digest {signed.digest[:12]}."

    @dialog(
        "Import Stripe file",
        form=ImportDialog,
        permission=SETTLE,
        submit="Import",
        description="Keeps what the file says and is not known yet. A file with an error is not imported at all.",
        icon="upload_file",
    )
    def import_file(self, request: HttpRequest, form: ImportDialog, row: None) -> str:
        now = timezone.now()
        done = stripe_imports.import_text(form.cleaned_data["file"], now=now, is_live=form.cleaned_data["mode"] == "live")
        try:
            return f"{done} {_compared(now)}"
        except (DatabaseError, WorkerAway):  # the file is in; somebody else compares just now, or nobody can be asked to
            return f"{done} It is compared with the books within the hour."

    @dialog(
        "Compare now",
        form=FindDialog,
        permission=SETTLE,
        submit="Compare",
        description="Compares Stripe's movements of the last 400 days with the books.",
        icon="sync",
    )
    def find_now(self, request: HttpRequest, form: FindDialog, row: None) -> str:
        return _compared(timezone.now())

    @dialog("Assign", form=AssignBreakDialog, permission=SETTLE, submit="Save", icon="assignment_ind")
    def assign_break(self, request: HttpRequest, form: AssignBreakDialog, broken: ReconciliationBreak) -> str:
        typed = form.cleaned_data
        owner = User.objects.get(pk=typed["owner"]) if typed["owner"] else None
        breaks.assign(broken=broken, owner=owner, note=typed["note"])
        return f"{owner or 'Nobody'} sees to it now."

    @dialog(
        "Explain",
        form=ExplainDialog,
        permission=SETTLE,
        submit="Explain",
        description="The break stays as it is and no longer keeps the period from being signed.",
        icon="comment",
    )
    def explain_break(self, request: HttpRequest, form: ExplainDialog, broken: ReconciliationBreak) -> str:
        typed = form.cleaned_data
        breaks.explain(broken=broken, seen_minor=typed["seen"], explanation=typed["explanation"], actor=_user(request))
        return "The break is explained."

    @admin.display(description="what")
    def what(self, broken: ReconciliationBreak) -> str:
        return broken.get_kind_display() if broken.is_live else f"{broken.get_kind_display()} (test mode)"

    @admin.display(description="state")
    def state_badge(self, broken: ReconciliationBreak) -> SafeString:
        return badge(broken.state, broken.get_state_display(), STATE_COLOURS)

    @admin.display(description="off by")
    def amount_figure(self, broken: ReconciliationBreak) -> str:
        return written(broken.amount_minor, broken.currency)

    @admin.display(description="details")
    def said(self, broken: ReconciliationBreak) -> str:
        return broken.detail

    @admin.display(description="top-up")
    def of_topup(self, broken: ReconciliationBreak) -> SafeString | str:
        return link(broken.topup, "billing_topup_change", broken.topup_id) if broken.topup_id else "-"

    @admin.display(description="reconciliation of that day")
    def of_payout(self, broken: ReconciliationBreak) -> SafeString:
        day = timezone.localdate(broken.happened_at)
        query = f"{Period(day, day).query.removeprefix('?')}&mode={mode_word(is_live=broken.is_live)}"
        return link(day.isoformat(), "reports_reconciliation", query=query)

    @admin.display(description="happened", ordering="happened_at")
    def happened(self, broken: ReconciliationBreak) -> str:
        return moment(broken.happened_at)

    @admin.display(description="found")
    def found(self, broken: ReconciliationBreak) -> str:
        return moment(broken.found_at)

    @admin.display(description="seen last")
    def seen(self, broken: ReconciliationBreak) -> str:
        return moment(broken.seen_at)

    @admin.display(description="gone since")
    def closed(self, broken: ReconciliationBreak) -> str:
        return moment(broken.closed_at)

    @admin.display(description="what was written, newest first")
    def notes(self, broken: ReconciliationBreak) -> SafeString | str:
        said = queries.notes_of(broken)
        rows = [(one.note, lines([moment(one.at), one.by, badge(one.state, one.state.label, STATE_COLOURS)])) for one in said]
        return table(("Note", "Written"), rows) if rows else "Nothing so far."

    @admin.display(description="owner")
    def sees_to_it(self, broken: ReconciliationBreak) -> SafeString:
        return lines([broken.owner or "-", *([broken.note] if broken.note else [])])


def _compared(now: datetime) -> str:
    """Compare at once, or have the worker do it where it takes longer than a page may; say what came of it."""
    if breaks.is_much(now=now):
        try:
            current_app.send_task("reports.tasks.find_breaks")
        except BrokerAwayError as error:
            raise WorkerAway("The worker cannot be reached. The breaks are found within the hour after it is started.") from error
        return "There is much to compare, so the worker does it. Load this page again in some minutes."
    found = breaks.find(now=now)
    return f"{found.there:,} breaks are there; {found.opened:,} were opened and {found.closed:,} closed just now."


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user
