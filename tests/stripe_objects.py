"""Stripe's objects as tests need them: small, our own, and with no field that Stripe does not have.

Each builder returns what Stripe's JSON would hold; `overlay` sets further fields. A field that stripe-python's class for
the object does not declare is an error, so that no test speaks of a Stripe that is only imagined.
"""

import itertools
import json
import time
from datetime import UTC, datetime
from typing import Any

import stripe

SECRET = "whsec_of_the_tests"
_numbers = itertools.count(1)


def number() -> str:
    """A new number for an id."""
    return f"{next(_numbers):06d}"


def declared(kind: type[stripe.StripeObject], fields: dict[str, Any]) -> dict[str, Any]:
    """Return `fields`, all of which `kind` has."""
    known = set().union(*(getattr(one, "__annotations__", {}) for one in kind.__mro__))
    unknown = fields.keys() - known
    assert not unknown, f"Stripe's {kind.__name__} has no {sorted(unknown)}"
    return fields


def checkout_session(**overlay: Any) -> dict[str, Any]:
    fields = {
        "id": f"cs_test_{number()}",
        "object": "checkout.session",
        "mode": "payment",
        "status": "complete",
        "payment_status": "paid",
        "amount_total": 1999,
        "currency": "usd",
        "client_reference_id": None,
        "customer": None,
        "payment_intent": f"pi_{number()}",
        "setup_intent": None,
        "metadata": {},
        "livemode": False,
        "url": None,
        "expires_at": int(time.time()) + 3600,
        "created": int(time.time()),
    }
    return declared(stripe.checkout.Session, fields | overlay)


def payment_intent(**overlay: Any) -> dict[str, Any]:
    fields = {
        "id": f"pi_{number()}",
        "object": "payment_intent",
        "amount": 1999,
        "amount_received": 1999,
        "currency": "usd",
        "customer": None,
        "latest_charge": f"ch_{number()}",
        "payment_method": None,
        "last_payment_error": None,
        "cancellation_reason": None,
        "metadata": {},
        "livemode": False,
        "status": "succeeded",
        "created": int(time.time()),
    }
    return declared(stripe.PaymentIntent, fields | overlay)


def charge(**overlay: Any) -> dict[str, Any]:
    fields = {
        "id": f"ch_{number()}",
        "object": "charge",
        "amount": 1999,
        "amount_captured": 1999,
        "amount_refunded": 0,
        "balance_transaction": None,
        "captured": True,
        "currency": "usd",
        "disputed": False,
        "livemode": False,
        "metadata": {},
        "paid": True,
        "payment_intent": f"pi_{number()}",
        "refunded": False,
        "status": "succeeded",
        "created": int(time.time()),
    }
    return declared(stripe.Charge, fields | overlay)


def refund(**overlay: Any) -> dict[str, Any]:
    fields = {
        "id": f"re_{number()}",
        "object": "refund",
        "amount": 1999,
        "balance_transaction": None,
        "charge": f"ch_{number()}",
        "currency": "usd",
        "metadata": {},
        "payment_intent": f"pi_{number()}",
        "reason": None,
        "status": "succeeded",
        "created": int(time.time()),
    }
    return declared(stripe.Refund, fields | overlay)


def dispute(**overlay: Any) -> dict[str, Any]:
    fields = {
        "id": f"dp_{number()}",
        "object": "dispute",
        "amount": 1999,
        "balance_transactions": [],
        "charge": f"ch_{number()}",
        "currency": "usd",
        "evidence_details": {"due_by": int(time.time()) + 7 * 86_400, "has_evidence": False, "past_due": False, "submission_count": 0},
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": f"pi_{number()}",
        "reason": "fraudulent",
        "status": "needs_response",
        "created": int(time.time()),
    }
    return declared(stripe.Dispute, fields | overlay)


def balance_transaction(**overlay: Any) -> dict[str, Any]:
    fields = {
        "id": f"txn_{number()}",
        "object": "balance_transaction",
        "amount": 1999,
        "available_on": int(time.time()) + 2 * 86_400,
        "created": int(time.time()),
        "currency": "usd",
        "description": None,
        "exchange_rate": None,
        "fee": 88,
        "fee_details": [],
        "net": 1911,
        "reporting_category": "charge",
        "source": f"ch_{number()}",
        "status": "pending",
        "type": "charge",
    }
    return declared(stripe.BalanceTransaction, fields | overlay)


def payout(**overlay: Any) -> dict[str, Any]:
    fields = {
        "id": f"po_{number()}",
        "object": "payout",
        "amount": 1911,
        "arrival_date": int(time.time()) + 2 * 86_400,
        "automatic": True,
        "balance_transaction": f"txn_{number()}",
        "created": int(time.time()),
        "currency": "usd",
        "livemode": False,
        "metadata": {},
        "method": "standard",
        "reconciliation_status": "completed",
        "status": "paid",
        "type": "bank_account",
    }
    return declared(stripe.Payout, fields | overlay)


def event(kind: str, about: dict[str, Any], **overlay: Any) -> dict[str, Any]:
    """Return the event that tells of `about`, such as `event("charge.updated", charge())`."""
    fields = {
        "id": f"evt_{number()}",
        "object": "event",
        "api_version": stripe.api_version,
        "created": int(time.time()),
        "data": {"object": about},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }
    return declared(stripe.Event, fields | overlay)


def body_of(happened: dict[str, Any]) -> bytes:
    """Return an event as Stripe sends it."""
    return json.dumps(happened, indent=2).encode()


def stored(happened: dict[str, Any]) -> Any:
    """Return an event as a handler gets it, written nowhere."""
    from billing.models import StripeEvent

    at = datetime.fromtimestamp(happened["created"], UTC)
    return StripeEvent(event_id=happened["id"], type=happened["type"], happened_at=at, body=body_of(happened).decode())


def signature(body: bytes, *, secret: str = SECRET, at: int | None = None) -> str:
    """Return the header `Stripe-Signature` for `body`."""
    stamp = int(time.time()) if at is None else at
    signed = stripe.WebhookSignature._compute_signature(f"{stamp}.{body.decode()}", secret)
    return f"t={stamp},v1={signed}"
