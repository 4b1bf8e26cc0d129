"""Admin pages of records: what they have in common, and those that nobody may change."""

from typing import Any

from django.contrib.admin import ShowFacets
from django.contrib.admin.checks import ModelAdminChecks
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import PermissionDenied
from django.db import DataError, OperationalError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.text import capfirst
from psycopg.errors import QueryCanceled
from unfold.admin import ModelAdmin


class BaseAdmin(ModelAdmin):
    """Lists named as in the menu, no counts beside filters, no bulk actions unless a subclass names them, times in the workspace's zone."""

    # Unfold's checks ask the database for each permission, so that a first `migrate` would refuse to make the tables.
    checks_class = ModelAdminChecks
    show_facets = ShowFacets.NEVER
    actions: Any = None
    list_per_page = 50
    list_max_show_all = 0
    list_filter_submit = True
    compressed_fields = True
    empty_value_display = "-"
    when_empty = ""  # what a list without rows says: where its rows come from

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list; one that the database cannot find in time says so instead of failing."""
        named = {"title": capfirst(self.opts.verbose_name_plural)}  # as the menu calls it
        try:
            response: HttpResponse = super().changelist_view(request, named | (extra_context or {}))
            if isinstance(response, TemplateResponse):
                response.render()
        except DataError:  # a filter by what no column can hold, such as a NUL; Django answers other odd filters the same way
            return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled):
                raise
            context = {**self.admin_site.each_context(request), **named, "opts": self.opts}
            return TemplateResponse(request, "admin/base/too_slow.html", context, status=503)
        return response


class ReadOnlyAdmin(BaseAdmin):
    """Records that are looked at and never changed here: no form can be sent, whoever asks."""

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return flatten_fieldsets(self.fieldsets) if self.fieldsets else super().get_readonly_fields(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        refuse_writing(request)
        return super().changelist_view(request, extra_context)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        refuse_writing(request)
        # Django's own log of edits has nothing to say about them.
        shown = {"show_history": hasattr(self.model, "history")}
        return super().changeform_view(request, object_id, form_url, {**shown, **(extra_context or {})})


def refuse_writing(request: HttpRequest) -> None:
    """Let nothing but looking pass."""
    if request.method not in {"GET", "HEAD"}:
        raise PermissionDenied("These records cannot be changed here.")
