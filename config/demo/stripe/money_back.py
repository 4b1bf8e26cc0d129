"""Money that leaves the balance: refunds, disputes, payouts."""

from dataclasses import dataclass
from typing import Any

from config.demo.stripe.errors import Refusal
from config.demo.stripe.objects import Fields
from config.demo.stripe.payments import Payments
from config.demo.stripe.state import State

_DISPUTE_FEE = 1500
_EVIDENCE_SECONDS = 7 * 86_400
_PAYOUT_SECONDS = 2 * 86_400


@dataclass(slots=True)
class MoneyBack:
    """Refunds, disputes, payouts."""

    state: State
    payments: Payments

    def refund(self, params: dict[str, Any], *, status: str = "") -> Fields:
        """Give back a charge or a part of it. Raises Refusal above what is left of it."""
        charge = self._refunded(params)
        left = charge["amount"] - charge["amount_refunded"]
        amount = params.get("amount", left)
        if charge["refunded"]:
            raise Refusal(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
        if self._is_taken_back(charge):
            raise Refusal(f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed")
        if not 0 < amount <= left:
            raise Refusal(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", param="amount")
        fields = {
            "object": "refund",
            "amount": amount,
            "balance_transaction": None,
            "charge": charge["id"],
            "currency": charge["currency"],
            "failure_reason": None,
            "metadata": params.get("metadata") or {},
            "payment_intent": charge["payment_intent"],
            "reason": params.get("reason"),
            "status": status or self.state.data["refunds"],
        }
        refund = self.state.add("re", fields)
        entry = self.payments.book(-amount, charge["currency"], kind="refund", category="refund", source=refund["id"])
        refund["balance_transaction"] = entry["id"]
        self._count(charge, amount)
        self.state.tell("refund.created", refund)
        self.state.tell("charge.refunded", charge)
        return refund

    def _refunded(self, params: dict[str, Any]) -> Fields:
        name = params.get("charge")
        if params.get("payment_intent"):
            name = self.state.find("payment_intent", params["payment_intent"])["latest_charge"]
        if not name:
            raise Refusal("One of the following params should be provided for this request: payment_intent or charge.")
        charge = self.state.find("charge", name)
        if not charge["paid"]:
            raise Refusal(f"Charge {name} was not paid; there is nothing to refund.")
        return charge

    def _is_taken_back(self, charge: Fields) -> bool:
        """Say whether a dispute holds its money. A won one has brought it back, though the charge stays marked."""
        disputes = (one for one in self.state.all("dispute") if one["charge"] == charge["id"])
        return any(one["status"] in {"needs_response", "lost"} for one in disputes)

    def _count(self, charge: Fields, amount: int) -> None:
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]

    def bank_answers(self, name: str, *, succeeds: bool) -> Fields:
        """A refund arrives, or comes back (even after it had succeeded). Raises Refusal when it failed before."""
        refund = self.state.find("refund", name)
        if refund["status"] not in {"pending", "succeeded"}:
            raise Refusal(f"Refund {name} is {refund['status']} already.")
        if succeeds:
            refund["status"] = "succeeded"
            self.state.tell("refund.updated", refund)
            return refund
        refund.update(status="failed", failure_reason="lost_or_stolen_card")
        entry = self.payments.book(refund["amount"], refund["currency"], kind="refund_failure", category="refund_failure", source=name)
        refund["failure_balance_transaction"] = entry["id"]
        self._count(self.state.find("charge", refund["charge"]), -refund["amount"])
        self.state.tell("refund.updated", refund)
        self.state.tell("refund.failed", refund)
        return refund

    def open_dispute(self, charge_name: str, *, amount: int | None, reason: str, is_inquiry: bool) -> Fields:
        """Let the buyer's bank take a charge back, or only ask about it. Raises Refusal."""
        charge = self.state.find("charge", charge_name)
        if charge["disputed"] or not charge["paid"]:
            raise Refusal(f"Charge {charge_name} cannot be disputed.")
        due = {"due_by": self.state.now() + _EVIDENCE_SECONDS, "has_evidence": False, "past_due": False, "submission_count": 0}
        fields = {
            "object": "dispute",
            "amount": charge["amount"] - charge["amount_refunded"] if amount is None else amount,
            "balance_transactions": [],
            "charge": charge_name,
            "currency": charge["currency"],
            "evidence_details": due,
            "is_charge_refundable": is_inquiry,
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "reason": reason,
            "status": "warning_needs_response" if is_inquiry else "needs_response",
        }
        dispute = self.state.add("dp", fields)
        if not is_inquiry:
            charge["disputed"] = True
            self._take(dispute)
        self.state.tell("charge.dispute.created", dispute)
        if not is_inquiry:
            self.state.tell("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def escalate(self, name: str) -> Fields:
        """Turn an inquiry into a dispute. Raises Refusal."""
        dispute = self.state.find("dispute", name)
        if dispute["status"] != "warning_needs_response":
            raise Refusal(f"Dispute {name} is no inquiry that waits for an answer.")
        dispute.update(status="needs_response", is_charge_refundable=False)
        self.state.find("charge", dispute["charge"])["disputed"] = True
        self._take(dispute)
        self.state.tell("charge.dispute.updated", dispute)
        self.state.tell("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def close_dispute(self, name: str, outcome: str) -> Fields:
        """Decide a dispute, `won` or `lost`; an inquiry just ends. Raises Refusal."""
        dispute = self.state.find("dispute", name)
        if dispute["status"] == "warning_needs_response":
            dispute["status"] = "warning_closed"
        elif dispute["status"] != "needs_response" or outcome not in {"won", "lost"}:
            raise Refusal(f"Dispute {name} is {dispute['status']} and cannot be {outcome}.")
        else:
            dispute["status"] = outcome
        is_won = dispute["status"] == "won"
        if is_won:
            entry = self.payments.book(
                dispute["amount"],
                dispute["currency"],
                kind="adjustment",
                category="dispute_reversal",
                source=name,
                description=f"Chargeback reversal for {dispute['charge']}",
            )
            dispute["balance_transactions"].append(dict(entry))
        self.state.tell("charge.dispute.closed", dispute)
        if is_won:
            self.state.tell("charge.dispute.funds_reinstated", dispute)
        return dispute

    def _take(self, dispute: Fields) -> None:
        entry = self.payments.book(
            -dispute["amount"],
            dispute["currency"],
            kind="adjustment",
            category="dispute",
            source=dispute["id"],
            fee=_DISPUTE_FEE,
            description=f"Chargeback withdrawal for {dispute['charge']}",
        )
        dispute["balance_transactions"].append(dict(entry))

    def warn(self, charge_name: str) -> Fields:
        """Give an early fraud warning."""
        charge = self.state.find("charge", charge_name)
        fields = {
            "object": "radar.early_fraud_warning",
            "actionable": not charge["refunded"] and not charge["disputed"],
            "charge": charge_name,
            "fraud_type": "unauthorized_use_of_card",
            "payment_intent": charge["payment_intent"],
        }
        warning = self.state.add("issfr", fields)
        self.state.tell("radar.early_fraud_warning.created", warning)
        return warning

    def pay_out(self, *, fails: bool = False) -> list[Fields]:
        """Send what is in the balance to the bank, one payout for each currency that has anything."""
        waiting = [one for one in self.state.all("balance_transaction") if not self.state.facts(one["id"])["payout"]]
        by_currency: dict[str, list[Fields]] = {}
        for entry in waiting:
            by_currency.setdefault(entry["currency"], []).append(entry)
        return [self._pay_out(currency, entries, fails=fails) for currency, entries in sorted(by_currency.items())]

    def _pay_out(self, currency: str, entries: list[Fields], *, fails: bool) -> Fields:
        now = self.state.now()
        fields = {
            "object": "payout",
            "amount": sum(entry["net"] for entry in entries),
            "arrival_date": now + _PAYOUT_SECONDS,
            "automatic": True,
            "balance_transaction": None,
            "currency": currency,
            "description": "STRIPE PAYOUT",
            "failure_code": None,
            "failure_message": None,
            "metadata": {},
            "method": "standard",
            "reconciliation_status": "in_progress",
            "status": "in_transit",
            "type": "bank_account",
        }
        payout = self.state.add("po", fields)
        own = self.payments.book(
            -payout["amount"], currency, kind="payout", category="payout", source=payout["id"], description="STRIPE PAYOUT"
        )
        payout["balance_transaction"] = own["id"]
        for entry in [*entries, own]:
            entry.update(status="available", available_on=min(entry["available_on"], now))
            self.state.facts(entry["id"])["payout"] = payout["id"]
        self.state.tell("payout.created", payout)
        if fails:
            self._bounce(payout)
            return payout
        payout["status"] = "paid"
        self.state.tell("payout.paid", payout)
        payout["reconciliation_status"] = "completed"
        self.state.tell("payout.reconciliation_completed", payout)
        return payout

    def _bounce(self, payout: Fields) -> None:
        payout.update(status="failed", failure_code="account_closed", failure_message="The bank account has been closed.")
        entry = self.payments.book(
            payout["amount"], payout["currency"], kind="payout_failure", category="payout_reversal", source=payout["id"]
        )
        payout["failure_balance_transaction"] = entry["id"]
        self.state.tell("payout.failed", payout)
