"""Billing in the admin, one file per noun, laid out for the people who answer for the money."""

from billing.admin import api_key, check, customer, hold, ledger, lot, owner, payment, rerating, run, seal, unpriced, usage, wallet

__all__ = [
    "api_key",
    "check",
    "customer",
    "hold",
    "ledger",
    "lot",
    "owner",
    "payment",
    "rerating",
    "run",
    "seal",
    "unpriced",
    "usage",
    "wallet",
]
