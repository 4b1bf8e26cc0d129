"""A list as a file: the same rows in the same order, with the filters and the columns that chose them.

CSV is streamed, whatever its length; a workbook is made in memory and has a limit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from config.base.admin.keyset import KeysetAdmin, KeysetChangeList
from config.base.export import FILES, MOST_SHEET_ROWS, Column, UnknownColumn, chosen, read

COLUMN = "column"  # named once for each column that the file shall have


@dataclass(frozen=True, slots=True)
class ExportForm:
    """What `admin/base/export_form.html` lays out: the columns to choose from, the kinds of files, and what else is asked for."""

    headings: Sequence[str]
    files: Sequence[tuple[str, str]]  # the kind in capitals, and its address
    kept: Sequence[tuple[str, str]]  # what the address of the page asks for, such as filters


def too_long_for_a_sheet(count: int) -> str:
    """Say that there are more rows than a workbook takes; empty where there are not."""
    if count <= MOST_SHEET_ROWS:
        return ""
    return f"A workbook holds at most {MOST_SHEET_ROWS:,} rows here. Take the CSV, which has no limit, or choose fewer rows by the filters."


class ExportedChangeList(KeysetChangeList):
    """A list that knows where its files are, and which columns this person may have in them."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> "QuerySet[Any]":
        self.columns: Sequence[Column] = self.model_admin.get_export_columns(request)
        return super().get_queryset(request, exclude_parameters)

    @property
    def export_url(self) -> str:
        return f"{self._file('csv')}{self.get_query_string()}"

    @property
    def export(self) -> ExportForm:
        headings = [column.heading for column in self.columns]
        asked = [(name, value) for name, values in self.filter_params.items() for value in values]
        kept = [*asked, *([("q", self.query)] if self.query else [])]
        return ExportForm(headings, [(kind.upper(), self._file(kind)) for kind in FILES], kept)

    def _file(self, kind: str) -> str:
        name = f"{self.model_admin.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_export"
        return reverse(name) if kind == "csv" else reverse(f"{name}_as", args=[kind])


class ExportedAdmin(KeysetAdmin):
    """A keyset list with a CSV and a workbook of what it shows; subclasses name the columns."""

    export_columns: Sequence[Column]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return ExportedChangeList

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        view = self.admin_site.admin_view(self.export_view)
        files = [path("export/", view, name=name), path("export/<str:kind>/", view, name=f"{name}_as")]
        return [*files, *super().get_urls()]

    def get_export_columns(self, request: HttpRequest) -> Sequence[Column]:
        """Return the columns that this person may have."""
        return self.export_columns

    def for_export(self, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        """Add what only the file's columns read."""
        return queryset

    def export_view(self, request: HttpRequest, kind: str = "csv") -> HttpResponseBase:
        """Answer with every row that the list would show under these filters, in the columns that are asked for."""
        if request.method not in {"GET", "HEAD"} or not self.has_view_permission(request):
            raise PermissionDenied
        if kind not in FILES:
            raise Http404
        asked = request.GET.copy()
        wanted = asked.pop(COLUMN, [])
        request.GET = asked  # type: ignore[assignment] # no filter of the list
        listed = self.get_changelist_instance(request)
        try:
            columns = [listed.columns[place] for place in chosen([column.heading for column in listed.columns], wanted)]
        except UnknownColumn as error:
            return self._back_to_list(request, str(error))
        if kind == "xlsx" and (words := too_long_for_a_sheet(listed.queryset.order_by()[: MOST_SHEET_ROWS + 1].count())):
            return self._back_to_list(request, words)
        title = str(self.opts.verbose_name_plural)
        about = {
            "File": title.capitalize(),
            "Drawn at": timezone.localtime().isoformat(timespec="seconds"),
            "Drawn by": request.user.get_username(),
            "Time zone": timezone.get_current_timezone_name(),
            **dict(_chosen(listed)),
        }
        filename = f"{title.replace(' ', '-')}-{timezone.localtime():%Y%m%d-%H%M%S}.{kind}"
        headings = [column.heading for column in columns]
        return FILES[kind](rows=read(self.for_export(listed.queryset), columns), headings=headings, about=about, filename=filename)

    def _back_to_list(self, request: HttpRequest, words: str) -> HttpResponseRedirect:
        messages.error(request, words)
        name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_changelist"
        return HttpResponseRedirect(f"{reverse(name)}?{request.GET.urlencode()}")


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
