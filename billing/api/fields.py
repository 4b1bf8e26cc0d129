"""The types that fields of the API are made of, with their limits.

Limits are part of each type, so that nothing that passes validation can be refused by the database: ids are printable
ASCII, numbers are bounded, decimals are strings with no more places than are stored, times have an offset.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StringConstraints, WithJsonSchema, validate_email

from config.base.exact import CREDIT_PLACES, MONEY_PLACES, ZERO, has_more_places, plain

_DECIMAL = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")
_EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})")


def _parse_decimal(places: int, digits: int = 14) -> Any:
    @lru_cache(maxsize=1024)  # apps send the same few numbers: "1", "0"
    def read(text: str) -> Decimal:
        if not _DECIMAL.fullmatch(text):
            raise ValueError('must be a decimal number in a string, such as "1.5"')
        number = Decimal(text)
        if abs(number) >= 10**digits:
            raise ValueError(f"must have at most {digits} digits before the point")
        if has_more_places(number, places):
            raise ValueError(f"must have at most {places} decimal places; nothing is rounded silently")
        return Decimal(plain(number)) if number else ZERO  # "1.50" and "1.5" are one number and one body, "-0" and "0" too

    def parse(value: Any) -> Decimal:
        if isinstance(value, Decimal):
            return value
        return read(value if isinstance(value, str) else "")

    return BeforeValidator(parse)


def _decimal_schema(places: int, digits: int = 14, *, positive: bool = False) -> WithJsonSchema:
    some = r"(?=.*[1-9])" if positive else ""
    return WithJsonSchema({"type": "string", "pattern": rf"^{some}[0-9]{{1,{digits}}}(\.[0-9]{{1,{places}}})?$", "examples": ["1.5"]})


def _parse_time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError("must be an ISO 8601 time with an offset, such as 2026-11-20T10:00:00+00:00")
    try:
        time = datetime.fromisoformat(value.replace(" ", "T")).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("must be an ISO 8601 time that exists, with an offset, such as 2026-11-20T10:00:00+00:00") from error
    if not _EARLIEST <= time < _LATEST:
        raise ValueError("must lie between 2015 and 2100")
    return time


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        raise ValueError("must be more than zero")
    return value


def _not_negative(value: Decimal) -> Decimal:
    if value < 0:
        raise ValueError("must not be negative")
    return value


_as_text = PlainSerializer(plain, return_type=str)

Credits = Annotated[
    Decimal, _parse_decimal(CREDIT_PLACES), AfterValidator(_positive), _as_text, _decimal_schema(CREDIT_PLACES, positive=True)
]
"""Credits or a quantity: more than zero, at most 6 places."""
Money = Annotated[Decimal, _parse_decimal(MONEY_PLACES), AfterValidator(_not_negative), _as_text, _decimal_schema(MONEY_PLACES)]
"""An amount in the book currency: not negative, at most 12 places."""
Seconds = Annotated[Decimal, _parse_decimal(3, 9), AfterValidator(_not_negative), _as_text, _decimal_schema(3, 9)]
"""Seconds of media: not negative, at most 9 digits and 3 places."""
Time = Annotated[
    datetime,
    BeforeValidator(_parse_time),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-20T10:00:00+00:00"]}),
]

Id = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$", strict=True)]
"""An id of the app's own: 1 to 128 printable ASCII characters without spaces."""
CustomerId = Annotated[str, StringConstraints(pattern=r"^[!-.0-~]{1,128}$", strict=True)]
"""A customer's id: an id that is one segment of a path, so without `/`."""
OptionalId = Annotated[str, StringConstraints(pattern=r"^[!-~]{0,128}$", strict=True)]
Label = Annotated[str, StringConstraints(pattern=r"^[ -~]{0,64}$", strict=True)]
"""A short label: at most 64 printable ASCII characters."""
Name = Annotated[str, StringConstraints(pattern=r"^[ -~]{0,128}$", strict=True)]
EventName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$", max_length=64, strict=True)]
Tokens = Annotated[int, Field(ge=0, le=1_000_000_000_000, strict=True)]
Count = Annotated[int, Field(ge=0, le=1_000_000, strict=True)]
Milliseconds = Annotated[int, Field(ge=0, le=604_800_000, strict=True)]

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def _clean(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("must not contain control characters")
    return value


def _email(value: str) -> str:
    return validate_email(value)[1] if value else ""


Email = Annotated[
    str,
    StringConstraints(max_length=254, strict=True),
    AfterValidator(_email),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "email", "maxLength": 254, "examples": ["ada@example.com"]}, {"const": ""}]}),
]
"""An address, or ''."""
Text200 = Annotated[str, StringConstraints(max_length=200, strict=True), AfterValidator(_clean)]
Text500 = Annotated[str, StringConstraints(max_length=500, strict=True), AfterValidator(_clean)]

_METADATA_KEY = re.compile(r"[A-Za-z0-9_.\-]{1,40}")
# Compared without case, hyphens and underscores; of a dotted key the last part counts (`gen_ai.prompt`).
_CONTENT_KEYS = frozenset(
    [
        "prompt",
        "prompts",
        "message",
        "messages",
        "content",
        "contents",
        "completion",
        "completions",
        "input",
        "inputs",
        "output",
        "outputs",
        "text",
        "texts",
        "body",
        "response",
        "requestbody",
        "responsebody",
        "systemprompt",
        "userprompt",
        "inputmessages",
        "outputmessages",
        "transcript",
        "conversation",
    ]
)
_MAX_METADATA_KEYS = 20
_MAX_METADATA_TEXT = 500
_MAX_METADATA_NUMBER = 2**53


def _flat(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be a flat JSON object")  # noqa: TRY004 - pydantic tells ValueErrors to the caller
    if len(value) > _MAX_METADATA_KEYS:
        raise ValueError(f"must have at most {_MAX_METADATA_KEYS} keys")
    for key, entry in value.items():
        _check_key(key)
        _check_entry(key, entry)
    # Sorted, so that the order in which an app happens to write them does not make another body.
    return dict(sorted(value.items()))


def _check_key(key: Any) -> None:
    if not isinstance(key, str) or not _METADATA_KEY.fullmatch(key):
        raise ValueError("keys must be 1 to 40 letters, digits, dots, hyphens or underscores")
    if key.lower().rpartition(".")[2].replace("-", "").replace("_", "") in _CONTENT_KEYS:
        raise ValueError(f"must not contain {key}: prompts and outputs are never stored")


def _check_entry(key: str, entry: Any) -> None:
    if isinstance(entry, str):
        if len(entry) > _MAX_METADATA_TEXT:
            raise ValueError(f"{key} must be at most {_MAX_METADATA_TEXT} characters")
        _clean(entry)
    elif isinstance(entry, int | float):
        if not -_MAX_METADATA_NUMBER <= entry <= _MAX_METADATA_NUMBER:  # false for NaN as well
            raise ValueError(f"{key} must be a number between -2^53 and 2^53")
    elif entry is not None:
        raise ValueError(f"{key} must be text, a number, true, false or null")


Metadata = Annotated[
    dict[str, Any],
    BeforeValidator(_flat),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": _MAX_METADATA_KEYS,
            "propertyNames": {"pattern": r"^[A-Za-z0-9_.\-]{1,40}$", "not": {"enum": sorted(_CONTENT_KEYS)}},
            "additionalProperties": {
                "anyOf": [
                    {"type": "string", "maxLength": _MAX_METADATA_TEXT},
                    {"type": "number", "minimum": -_MAX_METADATA_NUMBER, "maximum": _MAX_METADATA_NUMBER},
                    {"type": "boolean"},
                    {"type": "null"},
                ]
            },
            "examples": [{"ticket": "T-1"}],
        }
    ),
]
"""Small, flat JSON for reconciliation; never prompts or outputs."""
