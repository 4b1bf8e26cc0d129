"""One account at the simulated Stripe, and everything that can happen to it."""

from dataclasses import dataclass, field
from typing import Any

from config.demo.stripe.cards import CARDS
from config.demo.stripe.checkout import Checkout
from config.demo.stripe.errors import Refusal
from config.demo.stripe.money_back import MoneyBack
from config.demo.stripe.objects import Fields
from config.demo.stripe.payments import Payments
from config.demo.stripe.state import State


@dataclass(slots=True)
class Account:
    """The parts of an account, on one state."""

    state: State
    address: str
    payments: Payments = field(init=False)
    checkout: Checkout = field(init=False)
    money_back: MoneyBack = field(init=False)

    def __post_init__(self) -> None:
        self.payments = Payments(self.state)
        self.checkout = Checkout(self.state, self.payments, self.address)
        self.money_back = MoneyBack(self.state, self.payments)

    def charge_saved(self, params: dict[str, Any]) -> Fields:
        """Charge a saved payment method. Raises Refusal."""
        intent = self.payments.create_intent(params)
        self._complain(intent)
        return intent

    def pay(self, session_name: str, card_name: str) -> Fields:
        """Pay a Checkout session. Raises Refusal."""
        if card_name not in CARDS:
            raise Refusal(f"This simulation knows the cards {', '.join(CARDS)}.", param="card")
        session = self.checkout.pay(session_name, CARDS[card_name])
        if session["payment_intent"]:
            self._complain(self.state.find("payment_intent", session["payment_intent"]))
        return session

    def _complain(self, intent: Fields) -> None:
        charge = intent["latest_charge"]
        if charge and intent["status"] == "succeeded" and CARDS[self.state.facts(charge)["card"]].is_disputed:
            self.money_back.open_dispute(charge, amount=None, reason="fraudulent", is_inquiry=False)

    def charge_of(self, name: str) -> str:
        """Return the charge of a session, a payment intent or itself. Raises Refusal."""
        if name.startswith("cs_"):
            name = self.checkout.find(name)["payment_intent"] or ""
        if name.startswith("pi_"):
            name = self.state.find("payment_intent", name)["latest_charge"] or ""
        charge: str = self.state.find("charge", name)["id"]
        return charge
