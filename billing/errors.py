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


class BudgetExceeded(DomainError):
    """Wait for the budget's next window, or ask its owner for an exception."""

    code = "budget_exceeded"


class UnknownBudget(DomainError):
    """The id is not one of a running budget that concerns the key's project."""

    code = "unknown_budget"


class BudgetKept(DomainError):
    """People keep this budget: change it in the admin."""

    code = "budget_kept"


class UnknownProject(DomainError):
    """Use a key of the project that the call names."""

    code = "unknown_project"


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


class UnknownPack(DomainError):
    """Credit packs are listed in the admin, under Credit packs, with the key that apps ask for."""

    code = "unknown_pack"


class PackNotOnSale(DomainError):
    """The pack is not sold yet, or not any more."""

    code = "pack_not_on_sale"


class UnknownTopUp(DomainError):
    """The id is not one that this project's top-ups were answered with."""

    code = "unknown_topup"


class StripeNotSetUp(DomainError):
    """Set STRIPE_API_KEY and STRIPE_WEBHOOK_SECRET."""

    code = "stripe_not_set_up"


class StripeUnavailable(DomainError):
    """Stripe did not answer, or asked to slow down: send the same call again later."""

    code = "stripe_unavailable"


class StripeRefused(DomainError):
    """Stripe said no: a declined card, a wrong parameter. `figures` name its codes; the same call will fail again."""

    code = "stripe_refused"


class SettlementContradiction(DomainError):
    """Two statements of Stripe's about one movement differ: find out which is right. What was known first stays."""

    code = "settlement_contradiction"


class RefundExceedsPayment(DomainError):
    """Refund at most what is left of the payment."""

    code = "refund_exceeds_payment"


class UnknownRefund(DomainError):
    """There is no such refund of a top-up."""

    code = "unknown_refund"


class NeedsSecondPerson(DomainError):
    """One person has moved by hand what one person may: ask for a second person's approval."""

    code = "needs_second_person"


class UnknownRequest(DomainError):
    """There is no such request for a movement of credits."""

    code = "unknown_request"


class DecisionRefused(DomainError):
    """It has been decided already, or by somebody who may not."""

    code = "decision_refused"


class RefusedEvent(DomainError):
    """An event that was refused, with the code that it was refused with."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.detail, **refused.figures)
        self.code = refused.code
