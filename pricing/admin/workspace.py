"""The workspace: one row, so its list is its page. Every change asks why and shows in the history."""

from typing import Any

from django.contrib import admin
from django.db import models
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.widgets import UnfoldAdminTextInputWidget

from config.base.admin import TrackedAdmin
from pricing.admin.fields import PlainDecimal
from pricing.models import Workspace
from pricing.models.workspace import THE_WORKSPACE


@admin.register(Workspace)
class WorkspaceAdmin(TrackedAdmin):
    formfield_overrides = {
        models.DecimalField: {"form_class": PlainDecimal, "widget": UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"})}
    }
    fieldsets = (
        ("The company", {"fields": ("name", "currency", "time_zone")}),
        ("Credits", {"fields": ("credit_value", "target_margin")}),
        (
            "Pricing Advisor",
            {
                "fields": (
                    ("advisor_window_days", "advisor_minimum_events", "advisor_max_unpriced"),
                    ("margin_tolerance", "advisor_max_step", "advisor_cooldown_days"),
                    "prices_need_approval",
                )
            },
        ),
        ("Control", {"fields": ("approval_limit_credits", "usage_retention_months")}),
    )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            return super().changelist_view(request, extra_context)
        return redirect("admin:pricing_workspace_change", THE_WORKSPACE)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
