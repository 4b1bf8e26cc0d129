"""Streamed exports: any number of rows with the memory of a few, safe to open in a spreadsheet.

The file opens with what it is: its name, when and by whom it was drawn, the time zone, the filters. A cell that a
spreadsheet would run as a formula is written as text, by an apostrophe before it.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from config.base.database import patient, snapshot
from config.base.exact import plain

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_CHUNK = 2_000
_LINES = 500
MOST_SHEET_ROWS: Final = 20_000


class UnknownColumn(ValueError):
    """A file was asked for with a column that it does not have."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, the fields that it is made of, and how, where it is not one field as it stands.

    Fields are read as tuples, not as model instances, which would take most of the time of a large file.
    """

    heading: str
    fields: Sequence[str]
    made_by: Callable[..., Any] | None = None


def chosen(headings: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return the places of the wanted columns, in the file's own order; all of them when none is named. Raises UnknownColumn."""
    if strange := [heading for heading in wanted if heading not in headings]:
        raise UnknownColumn(f"There is no column “{strange[0][:60]}” in this file. Choose from the list of columns.")
    return [place for place, heading in enumerate(headings) if not wanted or heading in wanted]


def cell(value: Any) -> str:
    """Write one value: decimals plain, times with their offset in the current zone, text that is never a formula."""
    if type(value) is str:
        return f"'{value}" if value.startswith(_FORMULA) else value
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return timezone.localtime(value).isoformat(timespec="seconds")
    return str(value) if isinstance(value, int) else cell(str(value))


class _Echo:
    """Takes what the csv writer writes and gives it back."""

    def write(self, text: str) -> str:
        return text


def lines(rows: Iterable[Sequence[Any]], headings: Sequence[str], about: Mapping[str, str]) -> Iterator[str]:
    """Yield the file in pieces of some hundred lines."""
    writer = csv.writer(_Echo())
    piece = ["\ufeff"]  # spreadsheets take the file for UTF-8 by it
    piece += [writer.writerow([cell(name), cell(value)]) for name, value in about.items()]
    piece += [writer.writerow([]), writer.writerow([cell(heading) for heading in headings])]
    for row in rows:
        piece.append(writer.writerow([cell(value) for value in row]))
        if len(piece) >= _LINES:
            yield "".join(piece)
            piece.clear()
    yield "".join(piece)


def read(queryset: "QuerySet[Any]", columns: Sequence[Column], *, seconds: int = 600) -> Iterator[list[Any]]:
    """Yield rows through a cursor on the server, as of one moment, with a longer time limit than pages have."""
    fields = list(dict.fromkeys(field for column in columns for field in column.fields))
    makers = [(column.made_by, [fields.index(field) for field in column.fields]) for column in columns]
    with snapshot():
        patient(seconds=seconds)
        for row in queryset.select_related(None).values_list(*fields).iterator(chunk_size=_CHUNK):
            yield [made_by(*[row[at] for at in places]) if made_by else row[places[0]] for made_by, places in makers]


def csv_response(
    *, rows: Iterable[Sequence[Any]], headings: Sequence[str], about: Mapping[str, str], filename: str
) -> StreamingHttpResponse:
    """Answer with the file as it is drawn; the zone of this moment holds for the whole of it."""
    zone = timezone.get_current_timezone()

    def pieces() -> Iterator[str]:
        with timezone.override(zone):
            yield from lines(rows, headings, about)

    return StreamingHttpResponse(pieces(), content_type="text/csv; charset=utf-8", headers=_headers(filename))


def xlsx_response(*, rows: Iterable[Sequence[Any]], headings: Sequence[str], about: Mapping[str, str], filename: str) -> HttpResponse:
    """Answer with a workbook of the same cells as the CSV; whole numbers are numbers, all else is text as there.

    The workbook is made in memory: for at most MOST_SHEET_ROWS rows, which the caller sees to.
    """
    book = Workbook(write_only=True)
    sheet = book.create_sheet(about.get("File", "Rows")[:31])
    for line in [*about.items(), (), headings, *rows]:
        sheet.append([_sheet_cell(value) for value in line])
    file = io.BytesIO()
    book.save(file)
    return HttpResponse(file.getvalue(), content_type=_XLSX, headers=_headers(filename))


def _sheet_cell(value: Any) -> int | str | None:
    """Write one value; a workbook cannot hold control characters, and a date in it has no zone."""
    if value is None or type(value) is int:
        return value
    return str(ILLEGAL_CHARACTERS_RE.sub(" ", cell(value)))


FILES: Final[Mapping[str, Callable[..., HttpResponseBase]]] = {"csv": csv_response, "xlsx": xlsx_response}


def _headers(filename: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{filename}"', "X-Accel-Buffering": "no", "Cache-Control": "no-store"}
