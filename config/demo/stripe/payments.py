"""Charging: what a payment intent goes through, and what a charge leaves in the balance."""

from dataclasses import dataclass
from typing import Any

from billing import minor_units
from config.demo.stripe.cards import CARDS, MESSAGES, METHODS, Card
from config.demo.stripe.errors import Refusal
from config.demo.stripe.objects import Fields
from config.demo.stripe.state import State

_AVAILABLE_AFTER = 2 * 86_400
_FEE_PERMYRIAD, _FEE_MINOR = 290, 30


@dataclass(slots=True)
class Payments:
    """Payment intents, charges, saved payment methods and the balance."""

    state: State

    def create_customer(self, params: dict[str, Any]) -> Fields:
        kept = {name: params.get(name) for name in ("name", "email", "description")}
        customer = self.state.add("cus", {"object": "customer", **kept, "metadata": params.get("metadata") or {}})
        self.state.tell("customer.created", customer)
        return customer

    def save_method(self, card: Card, customer: str | None) -> Fields:
        """Make a payment method, attached to a customer if there is one."""
        billing = {"address": None, "email": None, "name": None, "phone": None}
        fields = {"object": "payment_method", "customer": customer, "billing_details": billing, "metadata": {}, **card.details()}
        method = self.state.add("pm", fields, card=card.name)
        if customer:
            self.state.tell("payment_method.attached", method)
        return method

    def card_of(self, method: str) -> Card:
        """Return how a payment method behaves, a saved one or one of Stripe's test names. Raises Refusal."""
        if method in METHODS:
            return CARDS[METHODS[method]]
        self.state.find("payment_method", method)
        return CARDS[self.state.facts(method)["card"]]

    def new_intent(self, params: dict[str, Any]) -> Fields:
        fields = {
            "object": "payment_intent",
            "amount": params["amount"],
            "amount_received": 0,
            "capture_method": "automatic_async",
            "currency": params["currency"].lower(),
            "customer": params.get("customer"),
            "description": params.get("description"),
            "last_payment_error": None,
            "latest_charge": None,
            "cancellation_reason": None,
            "metadata": params.get("metadata") or {},
            "payment_method": params.get("payment_method"),
            "status": "requires_payment_method",
        }
        intent = self.state.add("pi", fields)
        self.state.tell("payment_intent.created", intent)
        return intent

    def check_amount(self, amount: int, currency: str, *, said: str) -> None:
        """See that Stripe charges so much. `said` is how it begins to say that it does not. Raises Refusal."""
        if amount < 1:
            raise Refusal("This value must be greater than or equal to 1.", param="amount", code="parameter_invalid_integer")
        if currency.upper() not in minor_units.EXPONENTS:
            raise Refusal(f"Invalid currency: {currency.lower()}.", param="currency")
        # As in an account that settles in another currency, a test may have it higher.
        least = self.state.data.get("minima", {}).get(currency.lower()) or minor_units.minimum(currency)
        if amount < least:
            money = f"{minor_units.to_major(least, currency)} {currency.lower()}"
            raise Refusal(f"{said} at least {money}", param="amount", code="amount_too_small")
        if amount > minor_units.MAX_MINOR:
            money = f"{minor_units.to_major(minor_units.MAX_MINOR, currency):,} {currency.lower()}"
            raise Refusal(f"{said} no more than {money}", param="amount", code="amount_too_large")

    def create_intent(self, params: dict[str, Any]) -> Fields:
        """Charge a saved payment method at once; nothing else is sold without Checkout. Raises Refusal when the bank declines."""
        self.check_amount(params["amount"], params["currency"], said="Amount must be")
        if not (params.get("confirm") and params.get("off_session") and params.get("payment_method")):
            raise Refusal("This simulation makes payment intents only with confirm, off_session and a payment_method.", param="confirm")
        card = self.card_of(params["payment_method"])
        if params["payment_method"] not in METHODS:
            self._check_owner(params)
        intent = self.new_intent(params)
        if card.decline:
            self.decline(intent, card)
            raise Refusal(
                MESSAGES[card.decline],
                status=402,
                kind="card_error",
                code=card.code,
                decline_code=card.decline,
                charge=intent["latest_charge"],
                payment_intent=dict(intent),
            )
        if card.is_bank:
            self.begin(intent, card)
        else:
            self.succeed(intent, card)
            self.settle(intent["latest_charge"])
        return intent

    def _check_owner(self, params: dict[str, Any]) -> None:
        method = self.state.find("payment_method", params["payment_method"])
        if not params.get("customer") or method["customer"] != params["customer"]:
            raise Refusal("The payment method does not belong to this customer.", param="payment_method")

    def decline(self, intent: Fields, card: Card) -> None:
        """Let the bank say no; the intent can be paid in another way."""
        charge = self._charge(intent, card, status="failed", paid=False)
        error = {"type": "card_error", "code": card.code, "decline_code": card.decline, "message": MESSAGES[card.decline]}
        intent.update(latest_charge=charge["id"], last_payment_error=error, status="requires_payment_method")
        charge.update(failure_code=card.code, failure_message=error["message"])
        self.state.tell("charge.failed", charge)
        self.state.tell("payment_intent.payment_failed", intent)

    def begin(self, intent: Fields, card: Card) -> None:
        """Send the payment to a bank that takes its time."""
        charge = self._charge(intent, card, status="pending", paid=False)
        intent.update(latest_charge=charge["id"], status="processing")
        self.state.tell("charge.pending", charge)
        self.state.tell("payment_intent.processing", intent)

    def bank_refuses(self, intent: Fields) -> None:
        charge = self.state.find("charge", intent["latest_charge"])
        message = "The bank account does not hold enough money."
        charge.update(status="failed", failure_code="insufficient_funds", failure_message=message)
        error = {"type": "invalid_request_error", "code": "payment_intent_payment_attempt_failed", "message": message}
        intent.update(status="requires_payment_method", last_payment_error=error)
        self.state.tell("charge.failed", charge)
        self.state.tell("payment_intent.payment_failed", intent)

    def succeed(self, intent: Fields, card: Card) -> Fields:
        """Take the money. What it cost is told a moment later: `settle`."""
        if intent["status"] == "processing":
            charge = self.state.find("charge", intent["latest_charge"])
            charge.update(status="succeeded", paid=True, captured=True, amount_captured=charge["amount"])
        else:
            charge = self._charge(intent, card, status="succeeded", paid=True)
        intent.update(status="succeeded", amount_received=intent["amount"], latest_charge=charge["id"], last_payment_error=None)
        self.state.tell("charge.succeeded", charge)
        self.state.tell("payment_intent.succeeded", intent)
        return charge

    def settle(self, name: str) -> None:
        """Book a charge in the balance, with its fee."""
        charge = self.state.find("charge", name)
        fee = (charge["amount"] * _FEE_PERMYRIAD + 5000) // 10_000 + _FEE_MINOR
        entry = self.book(charge["amount"], charge["currency"], fee=fee, kind="charge", category="charge", source=name)
        charge["balance_transaction"] = entry["id"]
        self.state.tell("charge.updated", charge)

    def book(self, amount: int, currency: str, *, kind: str, category: str, source: str, fee: int = 0, description: str = "") -> Fields:
        """Move the balance; returns the balance transaction."""
        part = {"amount": fee, "application": None, "currency": currency, "description": "Stripe processing fees", "type": "stripe_fee"}
        entry = {
            "object": "balance_transaction",
            "amount": amount,
            "available_on": self.state.now() + _AVAILABLE_AFTER,
            "currency": currency,
            "description": description or None,
            "exchange_rate": None,
            "fee": fee,
            "fee_details": [part] if fee else [],
            "net": amount - fee,
            "reporting_category": category,
            "source": source,
            "status": "pending",
            "type": kind,
        }
        return self.state.add("txn", entry, payout="")

    def _charge(self, intent: Fields, card: Card, *, status: str, paid: bool) -> Fields:
        fields = {
            "object": "charge",
            "amount": intent["amount"],
            "amount_captured": intent["amount"] if paid else 0,
            "amount_refunded": 0,
            "balance_transaction": None,
            "captured": paid,
            "currency": intent["currency"],
            "customer": intent["customer"],
            "description": intent["description"],
            "disputed": False,
            "failure_code": None,
            "failure_message": None,
            "metadata": dict(intent["metadata"]),
            "paid": paid,
            "payment_intent": intent["id"],
            "payment_method": intent["payment_method"],
            "payment_method_details": card.details(),
            "refunded": False,
            "status": status,
        }
        return self.state.add("ch", fields, card=card.name)
