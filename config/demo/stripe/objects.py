"""Stripe's objects: built only of fields that stripe-python's class for the object declares."""

from functools import cache
from typing import Any

import stripe

Fields = dict[str, Any]
KINDS: dict[str, Any] = {
    "balance_transaction": stripe.BalanceTransaction,
    "charge": stripe.Charge,
    "checkout.session": stripe.checkout.Session,
    "customer": stripe.Customer,
    "dispute": stripe.Dispute,
    "event": stripe.Event,
    "payment_intent": stripe.PaymentIntent,
    "payment_method": stripe.PaymentMethod,
    "payout": stripe.Payout,
    "radar.early_fraud_warning": stripe.radar.EarlyFraudWarning,
    "refund": stripe.Refund,
    "setup_intent": stripe.SetupIntent,
}


def declared(fields: Fields) -> Fields:
    """Return `fields`, whose "object" says what it is. Raises TypeError for a field that Stripe does not have."""
    _compare(KINDS[fields["object"]], fields)
    return fields


def has_field(fields: Fields, name: str) -> bool:
    """Say whether objects of the kind of `fields` have a field of that name."""
    return name in _known(KINDS[fields["object"]])[0]


def _compare(kind: Any, fields: Fields) -> None:
    names, parts = _known(kind)
    unknown = fields.keys() - names
    if unknown:
        raise TypeError(f"Stripe's {kind.__name__} has no {', '.join(sorted(unknown))}")
    for name, part in parts.items():
        inner = fields.get(name)
        for one in inner if isinstance(inner, list) else [inner]:
            if isinstance(one, dict):
                _compare(part, one)


@cache
def _known(kind: Any) -> tuple[frozenset[str], dict[str, Any]]:
    names = frozenset().union(*(getattr(one, "__annotations__", {}) for one in kind.__mro__))
    return names, dict(getattr(kind, "_inner_class_types", {}))
