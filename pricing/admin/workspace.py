"""The workspace: one row, so its list is its page. Every change asks why and shows in the history.

Who may set the pricing policy and nothing else finds the other fields read-only, and a form cannot carry them.
"""

from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.db import models
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.widgets import UnfoldAdminTextInputWidget

from config.base.admin import TrackedAdmin
from pricing.admin.fields import PlainDecimal, read_only
from pricing.models import Workspace
from pricing.models.workspace import THE_WORKSPACE

SET_POLICY: Final = "pricing.set_pricing_policy"
WAIVE_APPROVAL: Final = "pricing.waive_approval"
# Whoever moves money or prices does not set from where on a second person looks.
_CONTROL: Final = frozenset({"prices_need_approval", "approval_limit_credits", "refund_limit"})
_POLICY: Final = frozenset(
    {
        *("target_margin", "margin_tolerance", "advisor_max_step", "advisor_cooldown_days"),
        *("advisor_window_days", "advisor_minimum_events", "advisor_max_unpriced"),
    }
)
_FIGURES: Final = {
    field.name: read_only(Workspace, field.name) for field in Workspace._meta.get_fields() if isinstance(field, models.DecimalField)
}


@admin.register(Workspace)
class WorkspaceAdmin(TrackedAdmin):
    formfield_overrides = {
        models.DecimalField: {"form_class": PlainDecimal, "widget": UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"})}
    }
    fieldsets: Any = (
        ("The company", {"fields": ("name", "currency", "time_zone")}),
        ("Credits", {"fields": ("credit_value", "target_margin")}),
        (
            "Pricing Advisor",
            {
                "fields": (
                    "advisor_window_days",
                    "advisor_minimum_events",
                    "advisor_max_unpriced",
                    "margin_tolerance",
                    "advisor_max_step",
                    "advisor_cooldown_days",
                    "prices_need_approval",
                )
            },
        ),
        ("Control", {"fields": ("approval_limit_credits", "refund_limit", "spent_refund_policy", "usage_retention_months")}),
    )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            return super().changelist_view(request, extra_context)
        return redirect("admin:pricing_workspace_change", THE_WORKSPACE)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        shows_history = getattr(request, "shows_history", False)
        return super().has_change_permission(request, obj) or (request.user.has_perm(SET_POLICY) and not shows_history)

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Show a figure that may not be changed without the zeros of its column, as the fields of a form do."""
        locked = self._locked(request, obj)
        return [
            (title, {**options, "fields": [_FIGURES[name] if name in locked & _FIGURES.keys() else name for name in options["fields"]]})
            for title, options in super().get_fieldsets(request, obj)
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return [_FIGURES.get(name, name) for name in self._locked(request, obj)]

    def _locked(self, request: HttpRequest, obj: Model | None) -> set[str]:
        """Name what this person may only read."""
        fields = set(flatten_fieldsets(self.fieldsets))
        if not self.has_change_permission(request, obj):
            return fields
        if super().has_change_permission(request, obj):
            return set() if request.user.has_perm(WAIVE_APPROVAL) else set(_CONTROL)
        return fields - _POLICY

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
