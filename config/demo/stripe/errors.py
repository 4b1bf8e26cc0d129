"""Refusals in Stripe's own shape."""

from typing import Any


class Refusal(Exception):
    """An answer other than 200: `{"error": {"type": …, "code": …, "message": …}}`."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "invalid_request_error", **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "message": message, **{name: value for name, value in more.items() if value}}}


def missing(kind: str, name: str) -> Refusal:
    """Nothing has that id."""
    return Refusal(f"No such {kind}: '{name}'", status=404, code="resource_missing", param="id")
