"""Validation errors in words that name the field and the remedy."""

from collections.abc import Sequence
from typing import Any

_PLACES = {"body", "path", "query", "header"}
# Of an object, pydantic's own words would name our class.
_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this call; leave it out (prompts and outputs are never stored)",
    "json_invalid": "is not valid JSON",
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "must be a JSON object"),
}


def field_errors(errors: Sequence[Any]) -> list[dict[str, str]]:
    """Turn pydantic's errors into `errors` of a problem: one per field, path with dots, sentence without its start."""
    return [{"field": _field([*error["loc"], *_part(error)]), "message": _message(error)} for error in errors] or [
        {"field": "body", "message": "is not valid"}
    ]


def _field(location: Sequence[Any]) -> str:
    parts = list(location)
    # Ninja puts the source and the name of the parameter in front.
    if parts and parts[0] in _PLACES:
        parts = parts[2:] if len(parts) > 2 and parts[1] in {"body", "query"} else parts[1:]
    return ".".join(str(part) for part in parts) or "body"


def _part(error: Any) -> list[str]:
    """The field that a check of several fields blames."""
    field = error.get("ctx", {}).get("field")
    return [field] if field else []


def _message(error: Any) -> str:
    match error["type"]:
        case kind if kind in _WORDS:
            return _WORDS[kind]
        case "string_pattern_mismatch":
            return f"must match {error['ctx']['pattern']}"
        case "value_error":
            return str(error["ctx"]["error"]) if "error" in error.get("ctx", {}) else str(error["msg"])
        case _:
            text = str(error["msg"])
            return text[:1].lower() + text[1:]
