"""Why a change to event types, rules and prices is refused: a stable code, and a sentence that says what to do."""

from config.base.errors import DomainError


class PriceRefusedError(DomainError):
    """The change was refused and nothing was written. `problems` names fields where the fault lies in one."""

    code = "price_refused"

    def __init__(self, message: str, problems: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class InvalidPriceError(PriceRefusedError):
    """A figure or a name is not acceptable: correct the fields that `problems` names."""

    code = "invalid_price"


class StartsTooSoonError(PriceRefusedError):
    """Events of that moment may be charged already: choose a later start."""

    code = "price_starts_too_soon"


class LaterVersionError(PriceRefusedError):
    """A version that starts at that moment or later exists: start after it."""

    code = "price_later_version_exists"


class RuleEndedLaterError(PriceRefusedError):
    """The version before ends later than the new one would start: start at its end."""

    code = "price_period_taken"
