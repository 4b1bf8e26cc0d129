"""What billing may refuse. Each error's code travels to the caller; `config.api` maps codes to problem responses."""

from billing.events import Refused
from config.base.errors import DomainError


class InvalidRequest(DomainError):
    """A field is wrong; `errors` names it and says what it must be."""

    code = "invalid_request"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}.", errors=[{"field": field, "message": message}])


class UnknownCustomer(DomainError):
    """Create the customer with PUT /customers/{customer} first."""

    code = "unknown_customer"

    def __init__(self, external_id: str, environment: str) -> None:
        super().__init__(
            f"There is no customer {external_id!r} in this project's {environment}. Create it with PUT /customers/{{customer}}."
        )


class UnknownEvent(DomainError):
    """The id is not one that this project's events were answered with."""

    code = "unknown_event"


class UnknownEventType(DomainError):
    """Create the event type in the admin first."""

    code = "unknown_event_type"


class UnknownHold(DomainError):
    """The id is not one that this project's holds were answered with."""

    code = "unknown_hold"


class NotFound(DomainError):
    """There is nothing under this address."""

    code = "not_found"


class NoPrice(DomainError):
    """Publish a price for the event type first."""

    code = "no_price"


class HoldEnded(DomainError):
    """The hold was captured, released or has expired."""

    code = "hold_ended"


class InsufficientCredits(DomainError):
    """Top up the wallet and send the same call again."""

    code = "insufficient_credits"


class WalletFrozen(DomainError):
    """Ask the operator to release the wallet."""

    code = "wallet_frozen"


class IdempotencyMismatch(DomainError):
    """Use a new key for a new action, the same body for a retry."""

    code = "idempotency_mismatch"


class PaymentAlreadyCredited(DomainError):
    """The payment was deposited under another idempotency key; nothing more is due."""

    code = "payment_already_credited"


class RefundExceedsCharge(DomainError):
    """Refund at most what is left of the charge."""

    code = "refund_exceeds_charge"


class RefusedEvent(DomainError):
    """An event that was refused, with the code that it was refused with."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.detail, **refused.figures)
        self.code = refused.code
