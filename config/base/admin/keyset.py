"""Lists of any length: paged by where the last row stood, not by how many rows came before it.

An offset makes the database read and throw away all that it skips, and a total reads the table. Here a page is
"the 50 after this one", which an index answers at any depth, and the total is what the planner believes; only what is
cheap to count is counted.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import F, Model, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan
from django.http import HttpRequest
from django.utils import timezone
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList

from config.base.admin.records import BaseAdmin

OLDER, NEWER = "older_than", "newer_than"
COUNTED = 10_000  # rows that are counted one by one
_CHEAP = 20_000  # planner's cost units below which that count is allowed


class KeysetPage:
    """What the paging template needs; stands where Django's paginator would."""

    template_name = "admin/base/keyset_pagination.html"

    def __init__(self, per_page: int) -> None:
        self.per_page = per_page


class KeysetChangeList(ChangeList):
    """Newest first, from a cursor in the address on, one page at a time."""

    cursor: dict[str, str]
    queryset: "QuerySet[Any]"

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> "QuerySet[Any]":
        # Taken out before anything else: filters, search and links of the page must not carry the cursor along.
        self.cursor = {name: self.params.pop(name) for name in (OLDER, NEWER) if name in self.params}
        get = request.GET.copy()
        for name in (OLDER, NEWER):
            self.filter_params.pop(name, None)
            get.pop(name, None)
        request.GET = get  # type: ignore[assignment]
        queryset: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        return queryset

    def get_ordering(self, request: HttpRequest, queryset: "QuerySet[Any]") -> list[str]:
        self.keys: Sequence[str] = self.model_admin.get_keyset(request)
        return [f"-{key}" for key in self.keys]

    def get_results(self, request: HttpRequest) -> None:
        """Read one row more than the page shows, to know whether there is a next page."""
        backwards = NEWER in self.cursor
        rows = self._read(backwards)
        more = len(rows) > self.list_per_page
        rows = rows[: self.list_per_page]
        if backwards:
            rows.reverse()
        has_newer, has_older = (more, True) if backwards else (bool(self.cursor), more)
        self.model_admin.read_along(rows)
        self.result_list = rows
        self.newer_url = self._page_url(NEWER, rows[0]) if rows and has_newer else ""
        self.older_url = self._page_url(OLDER, rows[-1]) if rows and has_older else ""
        self.newest_url = self.get_query_string() if self.cursor else ""
        is_whole = not self.cursor and not more
        self.result_count = len(rows) if is_whole else count(self.queryset)
        self.is_estimate = not is_whole and self.result_count > COUNTED
        self.full_result_count = self.result_count
        self.show_full_result_count = self.show_admin_actions = False
        self.can_show_all = self.multi_page = False
        self.paginator = KeysetPage(self.list_per_page)

    def _read(self, backwards: bool) -> list[Any]:
        """Return the rows of the page, from as short a stretch of time as has enough of them."""
        values, enough = self._cursor_values(), self.list_per_page + 1
        side = self._from_cursor(values, backwards)
        start = values[0] if values else timezone.now()
        for span in self.model_admin.get_widening(self.keys):
            bound = {f"{self.keys[0]}__{'lte' if backwards else 'gte'}": start + span if backwards else start - span}
            if len(rows := list(side.filter(**bound)[:enough])) == enough:
                return rows
        return list(side[:enough])

    def _cursor_values(self) -> list[Any]:
        if not self.cursor:
            return []
        texts = next(iter(self.cursor.values())).split("~")
        if len(texts) != len(self.keys):
            raise IncorrectLookupParameters
        try:
            return [datetime.fromisoformat(text) if "T" in text else int(text) for text in texts]
        except ValueError as error:
            raise IncorrectLookupParameters from error

    def _from_cursor(self, values: list[Any], backwards: bool) -> "QuerySet[Any]":
        if not values:
            return self.queryset
        if len(self.keys) == 1:
            [key], [value] = self.keys, values
            side = self.queryset.filter(**{f"{key}__{'gt' if backwards else 'lt'}": value})
        else:
            compare = TupleGreaterThan if backwards else TupleLessThan
            side = self.queryset.filter(compare(Tuple(*map(F, self.keys)), tuple(values)))
        return side.order_by(*self.keys) if backwards else side

    def _page_url(self, side: str, row: Model) -> str:
        values = [getattr(row, key) for key in self.keys]
        cursor = "~".join(value.isoformat() if isinstance(value, datetime) else str(value) for value in values)
        return str(self.get_query_string({side: cursor}))


class KeysetAdmin(BaseAdmin):
    """A list without end: no sorting by columns, no total that would read the table."""

    sortable_by = ()
    ordering = ("-pk",)
    paginator = InfinitePaginator  # what a search field asks for pages by; the list itself has its own
    keyset: Sequence[str] = ("pk",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return KeysetChangeList

    def get_keyset(self, request: HttpRequest) -> Sequence[str]:
        """Return the columns that order the list, descending; together they are unique."""
        return self.keyset

    def read_along(self, rows: Sequence[Any]) -> None:
        """Read what the cells of these rows need beyond the rows, for the whole page at once; by default nothing."""

    def get_widening(self, keys: Sequence[str]) -> Sequence[timedelta]:
        """Return stretches of time to look for a page in, the shortest first.

        For a list in the order of a time that has a block range index only: it finds a stretch quickly but sorts nothing.
        """
        return ()


def count(queryset: "QuerySet[Any]") -> int:
    """Return how many rows there are: counted where that is cheap and they are few, else as the planner believes."""
    plan = json.loads(queryset.order_by().select_related(None).explain(format="json"))[0]["Plan"]
    believed: int = plan["Plan Rows"]
    if believed <= COUNTED and plan["Total Cost"] <= _CHEAP:
        counted: int = queryset.order_by().select_related(None)[: COUNTED + 1].count()
        return max(counted, believed) if counted > COUNTED else counted
    return max(believed, COUNTED + 1)
