"""Checkout: the page where a buyer pays, or saves a way to pay."""

from dataclasses import dataclass
from typing import Any

from config.demo.stripe.cards import CARDS, Card
from config.demo.stripe.errors import Refusal
from config.demo.stripe.objects import Fields
from config.demo.stripe.payments import Payments
from config.demo.stripe.state import State

_SHORTEST, _LONGEST = 30 * 60, 24 * 3600


@dataclass(slots=True)
class Checkout:
    """Checkout sessions."""

    state: State
    payments: Payments
    address: str  # of the hosted pages

    def create(self, params: dict[str, Any]) -> Fields:
        """Open a session of mode `payment` or `setup`. Raises Refusal."""
        mode = params.get("mode")
        if mode not in {"payment", "setup"}:
            raise Refusal("This simulation has Checkout in the modes payment and setup.", param="mode")
        if not params.get("success_url"):
            raise Refusal("Missing required param: success_url.", param="success_url", code="parameter_missing")
        if params.get("customer"):
            self.state.find("customer", params["customer"])
        total, currency = None, params.get("currency")
        if mode == "payment":
            total, currency = _total(params)
            # Stripe's words differ a little, its codes do not.
            self.payments.check_amount(total, currency, said="The Checkout Session's total amount due must be")
        if not currency and not params.get("payment_method_types"):
            raise Refusal("Missing required param: currency.", param="currency", code="parameter_missing")
        fields = {
            "object": "checkout.session",
            "amount_subtotal": total,
            "amount_total": total,
            "cancel_url": params.get("cancel_url"),
            "client_reference_id": params.get("client_reference_id"),
            "currency": currency,
            "customer": params.get("customer"),
            "customer_email": params.get("customer_email"),
            "expires_at": self._expiry(params),
            "metadata": params.get("metadata") or {},
            "mode": mode,
            "payment_intent": None,
            "payment_status": "unpaid" if mode == "payment" else "no_payment_required",
            "setup_intent": None,
            "status": "open",
            "success_url": params["success_url"],
        }
        session = self.state.add("cs_test", fields, params=params)
        session["url"] = f"{self.address}/pay/{session['id']}"
        return session

    def _expiry(self, params: dict[str, Any]) -> int:
        now = self.state.now()
        ends: int = params.get("expires_at", now + _LONGEST)
        if not now + _SHORTEST - 60 <= ends <= now + _LONGEST + 60:
            raise Refusal("The `expires_at` timestamp must be between 30 minutes and 24 hours from now.", param="expires_at")
        return ends

    def find(self, name: str) -> Fields:
        """Return a session as it is by now. Raises Refusal (404)."""
        session = self.state.find("checkout.session", name)
        if session["status"] == "open" and session["expires_at"] <= self.state.now():
            self._end(session)
        return session

    def expire_due(self) -> int:
        """End the open sessions whose time is over; return how many."""
        due = [one["id"] for one in self.state.all("checkout.session") if one["status"] == "open" and one["expires_at"] <= self.state.now()]
        return len([self.find(name) for name in reversed(due)])

    def expire(self, name: str) -> Fields:
        """End an open session. Raises Refusal."""
        session = self._open(name)
        self._end(session)
        return session

    def pay(self, name: str, card: Card) -> Fields:
        """The buyer presses Pay: the bank takes it, refuses it (the session stays open), or takes its time."""
        session = self._open(name)
        if session["mode"] == "setup":
            return self._save(session, card)
        intent = self._intent(session, card)
        if card.decline and not card.is_fine_at_first:
            self.payments.decline(intent, card)
            return session
        charge = None
        if card.is_bank:
            self.payments.begin(intent, card)
        else:
            charge = self.payments.succeed(intent, card)
        session.update(status="complete", payment_status="paid" if charge else "unpaid", payment_intent=intent["id"], url=None)
        self.state.tell("checkout.session.completed", session)
        if charge:
            self.payments.settle(charge["id"])
        return session

    def bank_answers(self, intent: Fields, *, pays: bool) -> None:
        """The money of a payment that was under way comes, or does not."""
        if intent["status"] != "processing":
            raise Refusal("No bank has to answer about this payment.")
        sessions = [one for one in self.state.all("checkout.session") if one["payment_intent"] == intent["id"]]
        if pays:
            charge = self.payments.succeed(intent, CARDS["bank"])
        else:
            self.payments.bank_refuses(intent)
        for session in sessions:
            session["payment_status"] = "paid" if pays else "unpaid"
            self.state.tell(f"checkout.session.async_payment_{'succeeded' if pays else 'failed'}", session)
        if pays:
            self.payments.settle(charge["id"])

    def _open(self, name: str) -> Fields:
        session = self.find(name)
        if session["status"] != "open":
            raise Refusal(f'Only Checkout Sessions with a status in ["open"] can be expired or paid; this one is {session["status"]}.')
        return session

    def _end(self, session: Fields) -> None:
        session.update(status="expired", url=None)
        self.state.tell("checkout.session.expired", session)

    def _intent(self, session: Fields, card: Card) -> Fields:
        """Return the session's payment intent; a declined one is tried again."""
        facts = self.state.facts(session["id"])
        data = facts["params"].get("payment_intent_data") or {}
        if facts["params"].get("customer_creation") == "always" and not session["customer"]:
            session["customer"] = self.payments.create_customer({"email": session["customer_email"]})["id"]
        owner = session["customer"] if data.get("setup_future_usage") else None
        method = self.payments.save_method(card, owner)
        if "intent" not in facts:
            facts["intent"] = self.payments.new_intent(
                {
                    "amount": session["amount_total"],
                    "currency": session["currency"],
                    "customer": session["customer"],
                    "description": data.get("description"),
                    "metadata": data.get("metadata"),
                }
            )["id"]
        intent = self.state.find("payment_intent", facts["intent"])
        intent["payment_method"] = method["id"]
        return intent

    def _save(self, session: Fields, card: Card) -> Fields:
        if card.decline and not card.is_fine_at_first:
            return session
        data = self.state.facts(session["id"])["params"].get("setup_intent_data") or {}
        method = self.payments.save_method(card, session["customer"])
        intent = self.state.add(
            "seti",
            {
                "object": "setup_intent",
                "customer": session["customer"],
                "metadata": data.get("metadata") or {},
                "payment_method": method["id"],
                "status": "succeeded",
                "usage": "off_session",
            },
        )
        session.update(status="complete", setup_intent=intent["id"], url=None)
        self.state.tell("setup_intent.succeeded", intent)
        self.state.tell("checkout.session.completed", session)
        return session


def _total(params: dict[str, Any]) -> tuple[int, str]:
    """Return amount and currency of the line items; each has its price with it."""
    total, currencies = 0, set()
    for item in params.get("line_items") or []:
        price = item.get("price_data") or {}
        if "unit_amount" not in price or "product_data" not in price:
            raise Refusal("This simulation sells line items with price_data of unit_amount and product_data.", param="line_items")
        total += price["unit_amount"] * item.get("quantity", 1)
        currencies.add(price["currency"].lower())
    if len(currencies) != 1:
        raise Refusal("All line items must be in one currency, and there must be one at least.", param="line_items")
    return total, currencies.pop()
