"""Domain errors: something that a person or an app asked for and that cannot be done, said so that they can act."""

from collections.abc import Mapping
from typing import Any


class DomainError(Exception):
    """Base of all refusals. `code` is stable and travels to the caller; the message says what to do."""

    code: str

    def __init__(self, detail: str, **figures: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.figures: Mapping[str, Any] = figures
