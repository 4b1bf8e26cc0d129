"""Rows that operators edit: each edit asks for a reason, and the history says who, when, what and why.

History is for reading. An earlier state is never put back by a button, because that would be a change without a reason.
"""

from typing import Any

from django import forms
from django.contrib.admin.utils import flatten_fieldsets
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from simple_history.admin import SimpleHistoryAdmin
from unfold.widgets import UnfoldAdminTextInputWidget

from config.base.admin.records import BaseAdmin

REASON = "change_reason"


class ReasonForm(forms.ModelForm):  # type: ignore[type-arg] # Django's own class cannot be subscripted
    """A model's form with the reason that its history keeps."""

    change_reason = forms.CharField(
        label="Reason",
        max_length=500,
        help_text="Why you change this. It is kept in the history.",
        widget=UnfoldAdminTextInputWidget,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if REASON in self.fields and self.instance._state.adding:
            self.fields[REASON].required = False
            self.fields[REASON].help_text = "Optional. It is kept in the history."


class TrackedAdmin(SimpleHistoryAdmin, BaseAdmin):
    """A model with `history`. Subclasses name their `fieldsets` without the reason, and may extend `ReasonForm`."""

    form = ReasonForm
    object_history_list_template = "admin/base/history.html"

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return self.with_reason(super().get_fieldsets(request, obj), request, obj)

    def with_reason(self, fieldsets: Any, request: HttpRequest, obj: Model | None) -> Any:
        """Return the fieldsets with the reason as the last field, for whoever may save the form."""
        fieldsets = [(title, {**options, "fields": [name for name in options["fields"] if name != REASON]}) for title, options in fieldsets]
        may_edit = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        return [*fieldsets, (None, {"fields": [REASON]})] if may_edit else fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        if getattr(request, "shows_history", False):
            return flatten_fieldsets(self.get_fieldsets(request, obj))
        return super().get_readonly_fields(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return not getattr(request, "shows_history", False) and super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Any, form: "forms.ModelForm[Any]", change: Any) -> None:
        obj._change_reason = form.cleaned_data.get(REASON) or "Created"
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """What money was spent under stays; deleting would also delete the reason to ask."""
        return False

    def revert_disabled(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return True

    def history_form_view(
        self, request: HttpRequest, object_id: str, version_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show an earlier state. simple-history would take a POST here for a change, even from who may only look."""
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied("The history is for reading.")
        request.shows_history = True  # type: ignore[attr-defined]
        response: HttpResponse = super().history_form_view(request, object_id, version_id, extra_context)
        return response
