"""The forms of budgets and of exceptions to them. What a service refuses is said at the field that it is about."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget

from billing.admin.words import person
from billing.budgeting import Action, Measure, Window
from billing.errors import InvalidRequest
from billing.models import ApiKey, Budget, BudgetException, Customer, Environment, Project, Team
from billing.models.budget import MAX_THRESHOLD
from billing.queries import budget_words
from billing.services import budget_exceptions, budgets
from billing.services.budgets import MAX_THRESHOLDS
from config.base.admin import Choice, Dialog, Moment, MoneyField, ReasonDialog, Text
from config.base.exact import plain
from pricing.models import EventType
from pricing.queries import workspace

_CHANGEABLE = ("name", "limit", "action", "target", "thresholds", "owner")


class Among(forms.ModelChoiceField):  # type: ignore[type-arg] # Django's own class cannot be subscripted
    """One of the rows of a small table, or none."""

    def __init__(self, queryset: "QuerySet[Any]", **options: Any) -> None:
        super().__init__(queryset, **{"widget": UnfoldAdminSelectWidget, "required": False} | options)


class TermsDialog(ReasonDialog):
    """What may be chosen at the beginning and changed later."""

    is_wide = True
    name = Text(max_length=100, help_text="What answers and alerts call it: Support bot, monthly.")
    limit = MoneyField(help_text="In units of the measure. 0: nothing may be spent.")
    action = Choice(
        label="At the limit",
        choices=Budget._meta.get_field("action").choices,
        help_text="All but blocking is for the app to do: answers tell it.",
    )
    target = Text(required=False, max_length=128, help_text="The model to go down to, the route to take, or whom to ask.")
    thresholds = Text(label="Alerts at", initial="80, 100", help_text="Per cent of the limit, comma separated.")
    owner = Among(User.objects.none(), empty_label="Nobody", help_text="Who answers for it, and gets its alerts.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        current = self.subject.owner_id if self.subject else None
        self.fields["owner"].queryset = User.objects.filter(Q(is_active=True, is_staff=True) | Q(pk=current)).order_by("username")

    def clean_thresholds(self) -> list[int]:
        texts = [text.strip().removesuffix("%").strip() for text in self.cleaned_data["thresholds"].split(",")]
        if not all(text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MAX_THRESHOLD for text in texts):
            raise ValidationError(f"Write whole per cents from 1 to {MAX_THRESHOLD}, such as 50, 80, 100.")
        found = sorted({int(text) for text in texts})
        if len(found) > MAX_THRESHOLDS:
            raise ValidationError(f"Write at most {MAX_THRESHOLDS}.")
        return found


class NewBudgetDialog(TermsDialog):
    measure = Choice(
        choices=Budget._meta.get_field("measure").choices, help_text="Cost is what providers charge; credits are what customers pay."
    )
    window = Choice(label="Each", choices=[(window.value, window.title()) for window in Window], initial=Window.MONTH)
    team = Among(Team.objects.order_by("name"), label="Only team", empty_label="All teams")
    project = Among(Project.objects.order_by("name"), label="Only project", empty_label="All projects")
    environment = Choice(label="Only environment", required=False, choices=[("", "All environments"), *Environment.choices])
    api_key = Among(ApiKey.objects.none(), label="Only API key", empty_label="All keys")
    customer = Text(label="Only customer", required=False, max_length=128, help_text="The customer's id, as the app writes it.")
    event_type = Among(EventType.objects.order_by("name"), label="Only action", empty_label="All actions")
    user = Text(label="Only user", required=False, max_length=128, help_text="As apps report it.")
    agent_type = Text(label="Only agent type", required=False, max_length=64, help_text="As apps report it.")
    model = Text(label="Only model", required=False, max_length=128, help_text="As apps report it.")
    time_zone = Text(max_length=64, help_text="Its days, weeks (from Monday) and months count. An IANA name such as Europe/Vienna.")

    field_order = ("name", "owner", "limit", "measure", "window", "time_zone", "action", "target", "thresholds", *budget_words.SCOPE)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["time_zone"].initial = workspace.load().time_zone
        self.fields["api_key"].queryset = ApiKey.objects.filter(revoked_at__isnull=True).select_related("project").order_by("name")
        self.fields["owner"].initial = self.request.user.pk

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if given.get("customer"):
            given["customer"] = self._customer(given)
        return given

    def _customer(self, given: dict[str, Any]) -> Customer | None:
        found = Customer.objects.filter(external_id=given["customer"])
        if project := given.get("project"):
            found = found.filter(project=project)
        if environment := given.get("environment"):
            found = found.filter(environment=environment)
        match list(found[:2]):
            case [customer]:
                return customer
            case []:
                self.add_error("customer", "There is no customer with this id there. Check the id, the project and the environment.")
            case _:
                self.add_error("customer", "Several customers have this id: choose the project and the environment as well.")
        return None


class ChangeBudgetDialog(TermsDialog):
    # What the dialog was filled in from: a change that somebody made meanwhile is not overwritten unseen.
    seen = forms.CharField(widget=forms.HiddenInput, required=False, max_length=20)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        row: Budget = self.subject
        facts = {"limit": plain(row.limit), "thresholds": ", ".join(map(str, row.thresholds)), "owner": row.owner_id, "seen": _version(row)}
        for name in ("name", "action", "target"):
            facts[name] = getattr(row, name)
        for name, value in facts.items():
            self.fields[name].initial = value

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if given.get("seen") not in {"", _version(self.subject)}:
            raise ValidationError("Somebody changed this budget since you opened it. Close this, look at what it is now, and try again.")
        if not self.errors and not self.changes():
            raise ValidationError("Nothing is different yet.")
        return given

    def changes(self) -> dict[str, Any]:
        """Return what is not as it was."""
        return {name: self.cleaned_data[name] for name in _CHANGEABLE if self.cleaned_data[name] != getattr(self.subject, name)}


class EndBudgetDialog(ReasonDialog):
    pass


class ExceptionDialog(ReasonDialog):
    is_wide = True
    extra = MoneyField(label="How much more", help_text="On top of the limit, in each window that begins or runs meanwhile.")
    ticket = Text(max_length=100, help_text="Where it was asked for and discussed.")
    starts_at = Moment(label="From", required=False, help_text="Empty: as soon as it is approved.")
    expires_at = Moment(label="Until", help_text=f"It ends by itself, at most {budget_exceptions.LONGEST.days} days from now.")
    recharge_id = Text(
        label="Recharge", required=False, max_length=255, help_text="The top-up (topup_123) or invoice that pays for it, if there is one."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["extra"].label = f"How much more, in {budget_words.unit(self.subject.measure)}"


class DecideDialog(ReasonDialog):
    """Why it was decided so."""


def make(form: NewBudgetDialog) -> Budget:
    """Make the budget of a form."""
    given = form.cleaned_data
    terms = budgets.Terms(
        name=given["name"],
        measure=Measure(given["measure"]),
        window=Window(given["window"]),
        limit=given["limit"],
        scope={name: given[name] for name in budget_words.SCOPE if given[name]},
        action=Action(given["action"]),
        target=given["target"],
        thresholds=tuple(given["thresholds"]),
        owner=given["owner"],
        time_zone=given["time_zone"],
    )
    with at_its_field(form):
        return budgets.open_budget(terms, now=timezone.now(), reason=given["reason"])


def change(form: ChangeBudgetDialog, row: Budget) -> None:
    """Change what a form says differently."""
    with at_its_field(form):
        budgets.change_budget(row, now=timezone.now(), reason=form.cleaned_data["reason"], **form.changes())


def ask(request: HttpRequest, form: ExceptionDialog, row: Budget) -> BudgetException:
    """Ask for the exception of a form."""
    given = form.cleaned_data
    names = ("extra", "reason", "ticket", "recharge_id", "starts_at", "expires_at")
    with at_its_field(form):
        return budget_exceptions.request(
            budget=row, requested_by=person(request), now=timezone.now(), **{name: given[name] for name in names}
        )


@contextmanager
def at_its_field(form: Dialog) -> Iterator[None]:
    """Say what a service refuses at the field of the form that it names."""
    try:
        yield
    except InvalidRequest as refusal:
        [error] = refusal.figures["errors"]
        if error["field"] not in form.fields:
            raise
        words = error["message"]
        raise ValidationError({error["field"]: f"It {words}."}) from refusal


def _version(row: Budget) -> str:
    latest: datetime | int | None = Budget.history.filter(id=row.pk).order_by("-history_id").values_list("history_id", flat=True).first()
    return str(latest or "")
