"""Owners: teams, cost centres, and projects with their keys. Every edit asks for a reason."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.enums import ActionVariant

from billing.admin.key_dialogs import NewKeyDialog, key_state, make_key
from billing.models import ApiKey, CostCenter, Customer, Project, Team
from config.base.admin import Shown, TrackedAdmin, dialog, link, moment, names, table
from config.base.admin.keyset import COUNTED, count


@admin.register(Team)
class TeamAdmin(TrackedAdmin):
    list_display = ("name", "budget_owner", "project_count")
    list_select_related = ("budget_owner",)
    search_fields = ("name__istartswith",)
    search_help_text = "Beginning of the name"
    fieldsets = ((None, {"fields": ("name", "budget_owner")}),)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        rows: QuerySet[Any] = super().get_queryset(request).annotate(projects_owned=Count("projects"))
        return rows

    @admin.display(description="projects")
    def project_count(self, team: Any) -> int:
        owned: int = team.projects_owned
        return owned


@admin.register(CostCenter)
class CostCenterAdmin(TrackedAdmin):
    list_display = ("code", "name", "project_count")
    search_fields = ("code__istartswith", "name__istartswith")
    search_help_text = "Beginning of the code or name"
    fieldsets = ((None, {"fields": ("code", "name")}),)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        rows: QuerySet[Any] = super().get_queryset(request).annotate(projects_booked=Count("projects"))
        return rows

    @admin.display(description="projects")
    def project_count(self, cost_center: Any) -> int:
        booked: int = cost_center.projects_booked
        return booked


@admin.register(Project)
class ProjectAdmin(TrackedAdmin):
    list_display = ("name", "key", "team", "cost_center", "live_keys")
    list_filter = (("team", RelatedDropdownFilter), ("cost_center", RelatedDropdownFilter))
    list_select_related = ("team", "cost_center")
    search_fields = ("key__startswith", "name__istartswith")
    search_help_text = "Beginning of the key or name"
    actions_detail = ("new_key",)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.prefetch_related("api_keys")

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        self_described = (None, {"fields": (("name", "key"), ("team", "cost_center"))})
        if obj is None:
            return self.with_reason([self_described], request, obj)
        shown = (("Customers and keys", {"fields": ("customer_count", "keys")}),)
        return self.with_reason([self_described, *shown], request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        fields = list(super().get_readonly_fields(request, obj))
        # Apps, keys and price rules name a project by its key.
        return [*fields, "key", "customer_count", "keys"] if obj else fields

    @dialog(
        "New key",
        form=NewKeyDialog,
        permission="billing.manage_apikey",
        submit="Make the key",
        description="The secret is shown once, in the next step.",
        icon="key",
        variant=ActionVariant.PRIMARY,
    )
    def new_key(self, request: HttpRequest, form: NewKeyDialog, project: Project) -> Shown:
        return make_key(request, form, project)

    @admin.display(description="keys in use")
    def live_keys(self, project: Project) -> int:
        return sum(key_state(key)[0] in {"live", "expiring"} for key in project.api_keys.all())

    @admin.display(description="customers")
    def customer_count(self, project: Project) -> SafeString:
        customers = count(Customer.objects.filter(project=project))
        about = "about " if customers > COUNTED else ""
        listed = link(f"{about}{customers:,}", "billing_customer_changelist", query=f"project__id__exact={project.pk}")
        return format_html("{}", listed)

    @admin.display(description="API keys")
    def keys(self, project: Project) -> SafeString:
        rows = [
            (
                link(key.name, "billing_apikey_change", key.pk),
                key.get_environment_display(),
                names(key.scopes),
                moment(key.last_used_at) if key.last_used_at else "never",
                key_state(key)[1],
            )
            for key in ApiKey.objects.filter(project=project)[:50]
        ]
        return table(("Key", "Environment", "May use", "Last used", "State"), rows, empty="No key yet: an app needs one to report events.")
