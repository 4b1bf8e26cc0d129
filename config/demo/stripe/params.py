"""What a request may hold: exactly what stripe-python's own TypedDicts declare for the call, and nothing else.

Stripe refuses a parameter that it does not know, and so does the simulation; a misspelt field is then found here and not
with the first real customer. The TypedDicts are open (extra keys pass) and name their choices as `Literal[…] | str`, for
values that come later; `closed` makes strict copies of them.
"""

import re
import types
from functools import cache
from importlib import import_module
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

from pydantic import ConfigDict, TypeAdapter, ValidationError
from stripe import RequestOptions
from typing_extensions import TypedDict, is_typeddict

_KEY = re.compile(r"^([^\[\]]+)((?:\[[^\[\]]*\])*)$")
# Options of the client, such as the idempotency key: they go into headers and never into the body.
_OPTIONS = frozenset(RequestOptions.__annotations__)


class BadParameter(ValueError):
    """A field that Stripe does not know, that is missing, or that has a wrong value. `code` is Stripe's."""

    def __init__(self, message: str, *, param: str, code: str = "") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


def decode(encoded: str) -> dict[str, Any]:
    """Return `a[b]=1&c[0]=2` as {"a": {"b": "1"}, "c": ["2"]}: how Stripe's libraries write nested values in a form."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True, max_num_fields=1000):
        found = _KEY.match(name)
        if not found:
            raise BadParameter(f"Invalid parameter name: {name}", param=name)
        *path, last = [found[1], *re.findall(r"\[([^\[\]]*)\]", found[2])]
        place = tree
        for step in path:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise BadParameter(f"Invalid parameter: {name}", param=name)
        place[last or str(len(place))] = value
    return {name: _lists(value) for name, value in tree.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _lists(one) for name, one in value.items()}
    return list(inner.values()) if inner and all(name.isdigit() for name in inner) else inner


def check(kind: Any, given: dict[str, Any], *, is_strict: bool = False) -> dict[str, Any]:
    """Return `given` with the types that `kind` declares. `is_strict` takes no "1" for 1. Raises BadParameter."""
    try:
        checked: dict[str, Any] = _adapter(kind).validate_python(given, strict=is_strict)
    except ValidationError as error:
        raise _told(error) from None
    return checked


def _told(error: ValidationError) -> BadParameter:
    first = error.errors(include_url=False)[0]
    path = [str(step) for step in first["loc"] if not str(step).startswith(("literal[", "dict[", "list[", "Session"))]
    param = path[0] + "".join(f"[{step}]" for step in path[1:])
    if first["type"] == "extra_forbidden":
        return BadParameter(f"Received unknown parameter: {param}", param=param, code="parameter_unknown")
    if first["type"] == "missing":
        return BadParameter(f"Missing required param: {param}.", param=param, code="parameter_missing")
    return BadParameter(f"Invalid {param}: {first['msg']}", param=param)


@cache
def _adapter(kind: Any) -> TypeAdapter[dict[str, Any]]:
    return TypeAdapter(closed(kind))


@cache
def closed(kind: Any) -> Any:
    """Return a copy of the TypedDict `kind` that takes no other keys and no other choices, all the way down."""
    names = {"StripeContext": Any, **vars(import_module(RequestOptions.__module__)), **vars(import_module(kind.__module__))}
    hints = get_type_hints(kind, names, include_extras=True)
    fields = {name: _closed(hint) for name, hint in hints.items() if name not in _OPTIONS}
    make: Any = TypedDict
    copy = make(kind.__name__, fields)
    copy.__pydantic_config__ = ConfigDict(extra="forbid")
    return copy


def _closed(hint: Any) -> Any:
    if is_typeddict(hint):
        return closed(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal or not inner:
        return hint
    if origin in {Union, types.UnionType}:
        inner = tuple(one for one in inner if "UntypedStripeObject" not in str(one))
        if any(get_origin(one) is Literal and one != Literal[""] for one in inner):
            inner = tuple(one for one in inner if one is not str)
        return Union[tuple(_closed(one) for one in inner)]  # noqa: UP007 - made at run time
    if origin in {NotRequired, Required}:
        return origin[_closed(inner[0])]
    return origin[tuple(_closed(one) for one in inner)]
