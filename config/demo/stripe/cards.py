"""The ways to pay that the simulation knows: Stripe's own test cards, and a bank that takes its time."""

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Card:
    """A payment method and how its bank behaves. `code` and `decline` are what Stripe says when it refuses."""

    name: str
    label: str
    last4: str
    brand: str = "visa"
    code: str = ""
    decline: str = ""
    is_fine_at_first: bool = False  # can be paid with, or saved; refuses when it is charged without the buyer
    is_disputed: bool = False  # the buyer complains at once
    is_bank: bool = False  # the money takes days, and may not come

    def details(self) -> dict[str, Any]:
        """Return what a payment method or a charge tells of it."""
        if self.is_bank:
            return {"type": "us_bank_account", "us_bank_account": {"bank_name": "TEST BANK", "last4": self.last4}}
        card = {"brand": self.brand, "country": "US", "exp_month": 12, "exp_year": 2034, "funding": "credit", "last4": self.last4}
        return {"type": "card", "card": card}


_DECLINED: Final = "card_declined"
CARDS: Final[dict[str, Card]] = {
    card.name: card
    for card in (
        Card("visa", "Visa 4242", "4242"),
        Card("mastercard", "Mastercard 4444", "4444", brand="mastercard"),
        Card("declined", "Declined", "0002", code=_DECLINED, decline="generic_decline"),
        Card("insufficient_funds", "Not enough money", "9995", code=_DECLINED, decline="insufficient_funds"),
        Card("expired", "Expired", "0069", code="expired_card", decline="expired_card"),
        Card("stolen", "Stolen", "9979", code=_DECLINED, decline="stolen_card"),
        Card("fails_later", "Can be saved, fails when charged", "0341", code=_DECLINED, decline="generic_decline", is_fine_at_first=True),
        Card(
            "authenticate",
            "Bank wants to ask the buyer each time",
            "3184",
            code="authentication_required",
            decline="authentication_required",
            is_fine_at_first=True,
        ),
        Card("disputed", "The buyer complains at once", "0259", is_disputed=True),
        Card("bank", "Bank account", "6789", is_bank=True),
    )
}
# Stripe's names for ready-made payment methods.
METHODS: Final = {
    "pm_card_visa": "visa",
    "pm_card_mastercard": "mastercard",
    "pm_card_visa_chargeDeclined": "declined",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_chargeDeclinedExpiredCard": "expired",
    "pm_card_visa_chargeDeclinedStolenCard": "stolen",
    "pm_card_chargeCustomerFail": "fails_later",
    "pm_card_authenticationRequired": "authenticate",
    "pm_card_createDispute": "disputed",
    "pm_usBankAccount_success": "bank",
}
MESSAGES: Final = {
    "generic_decline": "Your card was declined.",
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    "stolen_card": "Your card was declined.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
}
