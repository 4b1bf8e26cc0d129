"""What the routes share: declared refusals, idempotency keys, ids with prefixes, cursors, JSON responses."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from pydantic import BaseModel, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError, to_json

from billing.api.problems import STATUS
from billing.errors import InvalidRequest, NotFound
from billing.events import body_hash
from billing.models import Operation
from billing.services.idempotency import Call
from config.base.errors import DomainError
from config.base.problem import Problem

M = TypeVar("M", bound=Model)

_KEY = re.compile(r"[!-~]{1,128}")
DEFAULT_PAGE = 50
MAX_PAGE = 200


def answers(success: Mapping[int, Any], *codes: str) -> dict[int, Any]:
    """Declare what a route may answer: its successes and its own refusals; the document adds those that any call may meet."""
    return {**success, **{STATUS[code]: Problem for code in codes}}


def respond(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Answer with JSON."""
    return HttpResponse(to_json(body), status=status, content_type="application/json", headers=headers)


def respond_once(body: Any, *, is_replayed: bool, created: int = 201) -> HttpResponse:
    """Answer a call that may be repeated: 201 the first time, then 200 with `Idempotent-Replayed`."""
    return respond(body, headers={"Idempotent-Replayed": "true"}) if is_replayed else respond(body, status=created)


def idempotency_key(request: HttpRequest, given: str | None) -> str:
    """Return the key of the body or of the header `Idempotency-Key`. Raises InvalidRequest when there is none, or two."""
    header = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if header is not None and not _KEY.fullmatch(header):
        raise InvalidRequest("Idempotency-Key", "must be 1 to 128 printable ASCII characters without spaces")
    if given and header and given != header:
        raise InvalidRequest("idempotency_key", "differs from the header Idempotency-Key; send one of them")
    key = given or header
    if not key:
        raise InvalidRequest("idempotency_key", "is required, here or as header Idempotency-Key")
    return key


def call_of(request: HttpRequest, operation: Operation, project_id: int, body: BaseModel, *about: str) -> Call:
    """Return the repeatable call that `body` makes; `about` is what the path adds to it.

    As with events (`billing.events.facts`), fields left at their defaults do not count in the hash.
    """
    key = idempotency_key(request, getattr(body, "idempotency_key", None))
    content = body.model_dump_json(exclude_defaults=True, exclude={"idempotency_key"})
    return Call(project_id, key, operation, body_hash(" ".join((operation, *about)), content.encode()))


def read_id(prefix: str, value: str, error: type[DomainError] = NotFound) -> int:
    """Return the number in an id such as `evt_12`. Raises `error` for anything else."""
    number = value.removeprefix(f"{prefix}_")
    if not value.startswith(f"{prefix}_") or not re.fullmatch(r"[0-9]{1,18}", number):
        raise error(f"{value!r} is not an id that this API gives out: they look like {prefix}_12.")
    return int(number)


class PageQuery(BaseModel):
    """Which part of a list."""

    cursor: str | None = Field(None, pattern=r"^[A-Za-z0-9_=-]{1,64}$", description="`next_cursor` of the page before.")
    limit: int = Field(DEFAULT_PAGE, ge=1, le=MAX_PAGE)

    @model_validator(mode="after")
    def _known_and_once(self, info: ValidationInfo) -> "PageQuery":
        """A filter that is misspelt or given twice would show rows that nobody asked for."""
        assert info.context, "validated by ninja, which hands over the request"
        for name, values in info.context["request"].GET.lists():
            if name not in type(self).model_fields:
                raise PydanticCustomError("unknown_parameter", "is not a parameter of this call", {"field": name})
            if len(values) > 1:
                raise PydanticCustomError("repeated_parameter", "is given more than once", {"field": name})
        return self


def page(rows: "QuerySet[M]", query: PageQuery, show: Callable[[M], Any], *, ascending: bool = False) -> HttpResponse:
    """Answer one page of `rows`, which are read in the order of their ids, newest first unless `ascending`."""
    found, cursor = cut(rows, query, ascending=ascending)
    return respond({"data": [show(row) for row in found], "next_cursor": cursor})


def cut(rows: "QuerySet[M]", query: PageQuery, *, ascending: bool = False) -> tuple[list[M], str | None]:
    """Return the rows of one page and the cursor of the next, if there is one."""
    if query.cursor is not None:
        last = _read_cursor(query.cursor)
        rows = rows.filter(pk__gt=last) if ascending else rows.filter(pk__lt=last)
    found = list(rows.order_by("pk" if ascending else "-pk")[: query.limit + 1])
    more = len(found) > query.limit
    found = found[: query.limit]
    cursor = base64.urlsafe_b64encode(str(found[-1].pk).encode()).decode() if more else None
    return found, cursor


def _read_cursor(cursor: str) -> int:
    try:
        number = base64.urlsafe_b64decode(cursor.encode()).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidRequest("cursor", "must be the next_cursor of the page before") from error
    if not re.fullmatch(r"[0-9]{1,18}", number):
        raise InvalidRequest("cursor", "must be the next_cursor of the page before")
    return int(number)
