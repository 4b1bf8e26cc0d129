"""Bodies as they arrive: JSON in UTF-8, each name once, numbers that JSON knows."""

import json
from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser


class UnreadableBodyError(ValueError):
    """The body is not JSON; the message says where and why."""


class StrictParser(Parser):
    """Reads what can be read in one way only. Python's own reader takes the last of two values and knows NaN."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the body. Raises UnreadableBodyError."""
        body = request.body
        if request.META.get("CONTENT_LENGTH") != str(len(body)):
            raise UnreadableBodyError("it did not arrive whole")
        try:
            return json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_refuse)
        except UnreadableBodyError:
            raise
        except json.JSONDecodeError as error:
            raise UnreadableBodyError(f"{error.msg} in line {error.lineno}, column {error.colno}") from error
        except UnicodeDecodeError as error:
            raise UnreadableBodyError(f"byte {error.start} is not UTF-8") from error
        except RecursionError as error:
            raise UnreadableBodyError("it is nested too deeply") from error
        except ValueError as error:  # an integer of thousands of digits
            raise UnreadableBodyError("a number in it has too many digits") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UnreadableBodyError(f"the field {twice!r} is there more than once")
    return found


def _refuse(constant: str) -> Any:
    raise UnreadableBodyError(f"{constant} is not a JSON number")
