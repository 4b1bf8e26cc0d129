"""A list as a file: the same rows in the same order, with the filters that chose them, streamed."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from config.base.admin.keyset import KeysetAdmin, KeysetChangeList
from config.base.export import Column, csv_response, read


class ExportedChangeList(KeysetChangeList):
    """A list that knows where its export is."""

    @property
    def export_url(self) -> str:
        name = f"{self.model_admin.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_export"
        return f"{reverse(name)}{self.get_query_string()}"


class ExportedAdmin(KeysetAdmin):
    """A keyset list with a CSV of what it shows; subclasses name the columns."""

    export_columns: Sequence[Column]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return ExportedChangeList

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        return [path("export/", self.admin_site.admin_view(self.export_view), name=name), *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Answer with every row that the list would show under these filters."""
        if request.method not in {"GET", "HEAD"} or not self.has_view_permission(request):
            raise PermissionDenied
        listed = self.get_changelist_instance(request)
        title = str(self.opts.verbose_name_plural)
        about = {
            "File": title.capitalize(),
            "Drawn at": timezone.localtime().isoformat(timespec="seconds"),
            "Drawn by": request.user.get_username(),
            "Time zone": timezone.get_current_timezone_name(),
            **dict(_chosen(listed)),
        }
        filename = f"{title.replace(' ', '-')}-{timezone.localtime():%Y%m%d-%H%M%S}.csv"
        headings = [column.heading for column in self.export_columns]
        return csv_response(rows=read(listed.queryset, self.export_columns), headings=headings, about=about, filename=filename)


def _chosen(listed: Any) -> Iterator[tuple[str, str]]:
    """Yield the filters in force, in the words of the page."""
    if listed.query:
        yield "Search", listed.query
    for spec in listed.filter_specs:
        words = {str(value): str(text) for value, text in _choices(spec)}
        for name, value in spec.used_parameters.items():
            values = value if isinstance(value, list) else [value]
            texts = [words.get(str(one), str(one)) for one in values if one not in {"", None}]
            side = " from" if "_from" in name else " to" if "_to" in name else ""
            if texts:
                yield f"Filter: {spec.title}{side}", ", ".join(texts)


def _choices(spec: Any) -> Any:
    if hasattr(spec, "lookup_choices"):
        return [choice for choice in spec.lookup_choices if len(choice) == 2]
    return getattr(getattr(spec, "field", None), "flatchoices", ())
