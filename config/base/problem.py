"""Problem responses: how a refusal is told, as RFC 9457 has it (`application/problem+json`)."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from pydantic import BaseModel, ConfigDict, Field

CONTENT_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """One field that is wrong and what it must be."""

    field: str = Field(examples=["usage.input_tokens"])
    message: str


class Problem(BaseModel):
    """A refusal. `code` is stable and for programs, `detail` is for people and says what to do.

    Further members are figures to act on, such as `balance` and `needed` of `insufficient_credits`, `budgets` of
    `budget_exceeded`.
    """

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["about:blank"])
    title: str
    status: int
    detail: str
    code: str = Field(examples=["insufficient_credits"])
    request_id: str
    errors: list[FieldError] | None = None


def title(status: int) -> str:
    """Return the status in words."""
    return HTTPStatus(status).phrase


def schemas() -> dict[str, Any]:
    """Return the schemas of a problem and what it consists of, by name."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    return {**schema.pop("$defs"), "Problem": schema}


def describe(*, code: str, status: int, detail: str, request_id: str, figures: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a problem as a JSON object; `figures` are members of its own, such as `balance` and `needed`."""
    assert not figures or not figures.keys() & Problem.model_fields.keys() - {"errors"}, "a figure under a name that every problem has"
    return {
        "type": "about:blank",
        "title": title(status),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        **(figures or {}),
    }


def respond(
    request: HttpRequest,
    *,
    code: str,
    status: int,
    detail: str,
    figures: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """Return a problem as a response."""
    body = describe(code=code, status=status, detail=detail, request_id=request.META.get("REQUEST_ID", ""), figures=figures)
    return HttpResponse(json.dumps(body), status=status, content_type=CONTENT_TYPE, headers=headers)
