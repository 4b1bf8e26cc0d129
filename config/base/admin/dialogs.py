"""Dialogs: a button, a form, one domain call.

Looking at a dialog changes nothing; sending it does, once, by POST, after the permission has been asked on the server.
A refusal of the domain is shown in the dialog with what to do, and what was typed stays.

    @dialog("Grant credits", form=GrantDialog, permission="billing.grant_credits", submit="Grant")
    def grant_credits(self, request: HttpRequest, form: GrantDialog, customer: Customer) -> str:
        ledger.grant(…)
        return "100 credits granted to Acme."

The method returns what to tell the user, and the page is loaded anew; or `Led` to go on to another page, or a `Shown` to
show something once instead.

The page fetches a dialog with htmx. Its bare address leads to the page that the button stands on; a form that was sent
without htmx is answered with a redirect, or on a page of its own.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.options import ModelAdmin
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError, transaction
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from psycopg import errors as postgres
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    INPUT_CLASSES,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from config.base.database import EARLIEST, LATEST
from config.base.errors import DomainError
from config.base.exact import CREDIT_DIGITS, CREDIT_PLACES, CREDIT_STEP, MONEY_DIGITS, MONEY_PLACES

_BUSY = (postgres.LockNotAvailable, postgres.QueryCanceled, postgres.DeadlockDetected, postgres.SerializationFailure)
_SENT = "sent_dialogs"


class Dialog(BaseDialogForm):
    """A form in a dialog. `subject` is the row that the page is about."""

    form_before_template = "admin/base/dialog_errors.html"
    is_wide = False  # two fields beside each other where there is room
    _form_submitted = None  # Unfold's mark; the method of the request says it here
    # A dialog can be sent once; a second click or a repeated request finds it used.
    once = forms.CharField(widget=forms.HiddenInput, required=False, max_length=64)

    def __init__(self, *args: Any, subject: Any, **kwargs: Any) -> None:
        self.subject = subject
        super().__init__(*args, **kwargs)
        self.fields["once"].initial = secrets.token_urlsafe(16)

    def get_before_template_context(self, request: HttpRequest, object_id: int | str | None = None) -> dict[str, Any]:
        return {"form": self}


class Text(forms.CharField):
    """A line of text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"widget": UnfoldAdminTextInputWidget, "max_length": 200} | options)


class Choice(forms.ChoiceField):
    """One of a few."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"widget": UnfoldAdminSelectWidget} | options)


class CreditsField(forms.DecimalField):
    """Credits as people type them, at most 6 places; more are refused. Positive unless `min_value` says otherwise."""

    def __init__(self, **options: Any) -> None:
        limits = {"max_digits": CREDIT_DIGITS, "decimal_places": CREDIT_PLACES, "widget": UnfoldAdminDecimalFieldWidget}
        super().__init__(**limits | {"min_value": CREDIT_STEP} | options)


class MoneyField(forms.DecimalField):
    """Money, at most 12 places, not negative."""

    def __init__(self, **options: Any) -> None:
        limits = {"max_digits": MONEY_DIGITS, "decimal_places": MONEY_PLACES, "widget": UnfoldAdminDecimalFieldWidget}
        super().__init__(**limits | {"min_value": Decimal(0)} | options)


class Moment(forms.DateTimeField):
    """A time in the current zone, chosen with the browser's own picker, in this century or the next.

    PostgreSQL keeps years that Python cannot read: one slip of the keyboard must not lock up what reads the row.
    """

    def __init__(self, **options: Any) -> None:
        picker = forms.DateTimeInput(attrs={"type": "datetime-local", "class": " ".join(INPUT_CLASSES)}, format="%Y-%m-%dT%H:%M")
        super().__init__(**{"widget": picker} | options)

    def clean(self, value: Any) -> Any:
        moment = super().clean(value)
        if moment is not None and not EARLIEST <= moment < LATEST:
            raise forms.ValidationError(f"Choose a time from {EARLIEST.year} to {LATEST.year - 1}.")
        return moment


class ReasonDialog(Dialog):
    """A dialog that asks why."""

    reason = forms.CharField(
        max_length=500, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}), help_text="Why. It is kept with what you do, for good."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.order_fields([name for name in self.fields if name != "reason"] + ["reason"])


@dataclass(frozen=True, slots=True)
class Shown:
    """Something to show in the dialog's place, once: a template and what it needs."""

    template: str
    context: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Led:
    """What to tell the user, on the page of what came of it."""

    words: str
    page: str


def dialog(
    title: str,
    *,
    form: type[Dialog],
    permission: str,
    submit: str,
    description: str = "",
    icon: str | None = None,
    variant: ActionVariant = ActionVariant.DEFAULT,
) -> Callable[[Callable[..., "str | Led | Shown"]], Any]:
    """Make a method of an admin class a button with a dialog; name it in `actions_detail`, `actions_row` or `actions_list`.

    The method gets `(self, request, form, row)`; of an action of a list, `row` is None.
    """

    def decorate(command: Callable[..., "str | Led | Shown"]) -> Any:
        def view(model_admin: "ModelAdmin[Any]", request: HttpRequest, object_id: str | None = None) -> HttpResponse:
            row = _row(model_admin, request, object_id)
            sent = request.method == "POST"
            if not sent and not _by_htmx(request):
                return redirect(_page_of(request))
            bound = form(
                data=request.POST if sent else None,
                files=request.FILES if sent else None,
                request=request,
                object_id=object_id,
                subject=row,
            )
            if sent and bound.is_valid():
                if outcome := _run(command, title, model_admin, request, bound, row):
                    return outcome
                _renew(bound)
            texts = {"title": title, "description": description}
            context = {"dialog": texts, "form": bound, "form_submit_text": submit}
            return _show(model_admin, request, title, "admin/base/dialog.html", context)

        view.__name__ = command.__name__
        view.__doc__ = command.__doc__
        # Unfold asks for the permission on every request, before the view runs.
        button = action(view, description=title, permissions=[permission], icon=icon, variant=variant)
        # Unfold opens what has a dialog in its modal; this one renders its form itself.
        button.dialog = {"title": title, "description": description, "form_class": form, "form_submit_text": submit}
        return button

    return decorate


def _row(model_admin: "ModelAdmin[Any]", request: HttpRequest, object_id: str | None) -> Model | None:
    """Return the row that the button stands on, as far as this user may look at it."""
    if object_id is None:
        return None
    row: Model | None = model_admin.get_object(request, object_id)
    if row is None:
        raise Http404
    if not model_admin.has_view_permission(request, row):
        raise PermissionDenied
    return row


def _run(
    command: Callable[..., "str | Led | Shown"],
    title: str,
    model_admin: "ModelAdmin[Any]",
    request: HttpRequest,
    form: Dialog,
    row: Model | None,
) -> HttpResponse | None:
    """Make the domain call; None where it was refused, with the refusal in the form."""
    once = form.cleaned_data["once"]
    if once and not _claim(request, once):
        form.add_error(None, "This was sent already. Look at what it did before you send it again.")
        return None
    try:
        outcome = command(model_admin, request, form, row)
    except DomainError as refusal:
        _refuse(form, refusal)
    except ValidationError as error:
        at_its_field = set(getattr(error, "error_dict", {})) <= set(form.fields)
        form.add_error(None, error if at_its_field else error.messages)
    except DatabaseError as error:
        form.add_error(None, _explained(error))
    else:
        if isinstance(outcome, Shown):
            return _show(model_admin, request, title, outcome.template, outcome.context)  # never cached, as no page of the admin is
        messages.success(request, outcome.words if isinstance(outcome, Led) else outcome)
        page = outcome.page if isinstance(outcome, Led) else _page_of(request)
        return HttpResponse(headers={"HX-Redirect": page}) if _by_htmx(request) else redirect(page)
    return None


def _show(model_admin: "ModelAdmin[Any]", request: HttpRequest, title: str, template: str, context: dict[str, Any]) -> HttpResponse:
    """Answer with the dialog alone, for the page that asked by htmx; else with a page around it."""
    if _by_htmx(request):
        return render(request, template, context)
    around = {**model_admin.admin_site.each_context(request), "title": title, "template": template, "page": _page_of(request)}
    return render(request, "admin/base/dialog_page.html", {**around, **context})


def _by_htmx(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"


def _explained(error: DatabaseError) -> str:
    """Say what the database refused: our rules there speak for themselves, a busy table asks for patience."""
    cause = error.__cause__
    if isinstance(cause, postgres.RaiseException):
        return cause.diag.message_primary or str(cause)
    if isinstance(cause, _BUSY):
        return "The records are busy just now and nothing was changed. Try again in a moment."
    if isinstance(cause, postgres.IntegrityError):
        return f"The database refused this, and nothing was changed ({cause.diag.constraint_name})."
    raise error


def _claim(request: HttpRequest, once: str) -> bool:
    """Remember in the session that a dialog was sent; False if it was sent before. The lock makes two clicks wait."""
    key = request.session.session_key
    if key is None:
        return True
    with transaction.atomic():
        row = Session.objects.select_for_update().get(pk=key)
        sent = row.get_decoded().get(_SENT, [])
        if once in sent:
            return False
        request.session[_SENT] = [*sent, once][-50:]
        request.session.save()
    return True


def _renew(form: Dialog) -> None:
    """Let a refused form be sent again."""
    form.data = form.data.copy()
    form.data["once"] = secrets.token_urlsafe(16)


def _page_of(request: HttpRequest) -> str:
    """Return the page that the button stands on: htmx names it; else the record above this address."""
    return request.headers.get("HX-Current-URL") or request.path.rstrip("/").rpartition("/")[0] + "/"


def _refuse(form: Dialog, refusal: DomainError) -> None:
    """Say it beside the field that it names; apps know fields by other names than people do."""
    named = [one for one in refusal.figures.get("errors", []) if one["field"] in form.fields]
    for one in named:
        form.add_error(one["field"], f"It {one['message']}.")
    if not named:
        form.add_error(None, refusal.detail)
