"""The OpenAPI document: what ninja knows of the routes, and what only we know of their answers.

Ninja declares every answer as plain JSON and knows no headers. Here each refusal becomes a problem in its own media type,
headers are named where they are sent, calls that can be repeated tell of `Idempotency-Key`, and every call says which
scope its key needs.
"""

from typing import Any, Final

from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from billing.api.auth import KeyAuth
from billing.api.problems import STATUS
from config.base import problem

_REQUEST_ID: Final = {
    "description": "The id of this call; taken from the request's own `X-Request-ID` if it has a usable one.",
    "schema": {"type": "string"},
}
_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": {"description": "`Bearer`", "schema": {"type": "string"}}},
    429: {
        "Retry-After": {
            "description": "Seconds to wait. Not there: waiting does not help, `detail` says what does.",
            "schema": {"type": "string"},
        }
    },
    503: {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string"}}},
}
_REPLAYED: Final = {"description": "`true`: this call was answered before, and this is the answer again.", "schema": {"type": "string"}}
_KEY: Final = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "description": "The `idempotency_key`, where the body has none.",
    "schema": {"type": "string", "pattern": r"^[!-~]{1,128}$"},
}
_ANY_CALL: Final = (401, 403, 422, 429, 500, 503)
_WITH_BODY: Final = (400, 411, 413, 415)


class Document(OpenAPISchema):
    """The document of one API."""

    def operation_details(self, operation: Operation) -> dict[str, Any]:
        """Add the key header to calls that may be repeated."""
        details: dict[str, Any] = super().operation_details(operation)
        if 201 in details["responses"] and 200 in details["responses"] and "post" in {m.lower() for m in operation.methods}:
            details["parameters"].append(_KEY)
            details["responses"][200]["headers"]["Idempotent-Replayed"] = _REPLAYED
        return details

    def request_body(self, operation: Operation) -> dict[str, Any]:
        """Show the example that the body's schema gives."""
        body: dict[str, Any] = super().request_body(operation)
        for media in body.get("content", {}).values():
            name = media["schema"].get("$ref", "").rpartition("/")[2]
            if examples := self.schemas.get(name, {}).get("examples"):
                media["example"] = examples[0]
        return body

    def responses(self, operation: Operation) -> dict[int, dict[str, Any]]:
        """Declare refusals as problems, and every header."""
        declared: dict[int, dict[str, Any]] = super().responses(operation)
        statuses = {*_ANY_CALL, *(_WITH_BODY if self.request_body(operation) else ())}
        for status in sorted(statuses - declared.keys()):
            declared[status] = {"description": problem.title(status)}
        for status, answer in declared.items():
            answer["headers"] = {"X-Request-ID": _REQUEST_ID, **_HEADERS.get(status, {})}
            if status >= 400:
                codes = [code for code, its_status in STATUS.items() if its_status == status]
                answer["description"] = f"{problem.title(status)}: {', '.join(f'`{code}`' for code in codes)}"
                example = problem.describe(code=codes[0], status=status, detail="What is wrong and what to do.", request_id="req_8a3f")
                answer["content"] = {problem.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}}
        return dict(sorted(declared.items()))

    def operation_security(self, operation: Operation) -> list[dict[str, Any]] | None:
        """Name the scopes, one of which the key needs."""
        super().operation_security(operation)
        scopes = [sorted(auth.scopes) for auth in operation.auth_callbacks if isinstance(auth, KeyAuth)]
        return [{KeyAuth.__name__: names} for names in scopes] or None

    def add_schema_definitions(self, definitions: dict[str, Any]) -> None:
        """Add schemas; two of one name would describe each other's answers."""
        for name, schema in definitions.items():
            assert self.schemas.get(name, schema) == schema, f"two schemas are named {name}"
        super().add_schema_definitions(definitions)

    def get_components(self) -> dict[str, Any]:
        """Add the one schema that refusals share."""
        self.schemas |= problem.schemas()
        components: dict[str, Any] = super().get_components()
        return components
