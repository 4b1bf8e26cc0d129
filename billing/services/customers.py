"""Customers and their wallets: made together, changed with a trace."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from billing.errors import UnknownCustomer
from billing.events import Caller
from billing.models import Customer, Dispute, Lot, LotKind, Wallet, WalletStatus
from billing.models.fields import save_with_reason
from pricing.queries import workspace


@dataclass(frozen=True, slots=True)
class Upserted:
    customer: Customer
    is_new: bool


def upsert(*, caller: Caller, external_id: str, changes: dict[str, Any], now: datetime) -> Upserted:
    """Create the customer with its empty wallet, or change the fields that are given (name, plan, email, metadata)."""
    with transaction.atomic():
        customer, is_new = Customer.objects.select_for_update(of=("self",)).get_or_create(
            project_id=caller.project_id,
            environment=caller.environment,
            external_id=external_id,
            defaults={**changes, "created_at": now},
        )
        if is_new:
            Wallet.objects.create(customer=customer)
        elif any(getattr(customer, name) != value for name, value in changes.items()):
            for name, value in changes.items():
                setattr(customer, name, value)
            save_with_reason(customer, *changes, reason=f"by {caller.actor}")
        return Upserted(customer, is_new)


def get(*, caller: Caller, external_id: str) -> Customer:
    """Return the caller's customer with its wallet. Raises UnknownCustomer."""
    found = (
        Customer.objects.select_related("wallet", "project")
        .filter(project_id=caller.project_id, environment=caller.environment, external_id=external_id)
        .first()
    )
    if found is None:
        raise UnknownCustomer(external_id, caller.environment)
    return found


def set_overdraft_limit(*, wallet_id: int, limit: Decimal, reason: str, now: datetime) -> Wallet:
    """Let a wallet owe up to `limit` credits (0: nothing more than it owes already)."""
    with transaction.atomic():
        wallet = Wallet.objects.select_for_update().get(pk=wallet_id)
        wallet.overdraft_limit = limit
        save_with_reason(wallet, "overdraft_limit", reason=reason)
        lot = ensure_overdraft_lot(wallet_id=wallet_id, now=now)
        lot.credit_limit = max(limit, -lot.remaining)
        lot.save(update_fields=["credit_limit"])
        return wallet


def ensure_overdraft_lot(*, wallet_id: int, now: datetime) -> Lot:
    """Return the lot that carries what the wallet owes, made if it is missing. Its credits are worth the list value."""
    lot, _ = Lot.objects.get_or_create(
        wallet_id=wallet_id,
        kind=LotKind.OVERDRAFT,
        defaults={
            "granted": 0,
            "value": 0,
            "unit_value": workspace.load().credit_value,
            "priority": 100,
            "note": "What the wallet owes",
            "created_at": now,
        },
    )
    return lot


def set_status(*, wallet_id: int, status: WalletStatus, reason: str) -> Wallet:
    """Freeze a wallet, so that it pays for nothing, or release it.

    Whoever does so decides from then on: a dispute that had frozen it releases it no more.
    """
    with transaction.atomic():
        wallet = Wallet.objects.select_for_update().get(pk=wallet_id)
        Dispute.objects.filter(topup__wallet=wallet_id, has_frozen=True).update(has_frozen=False)
        wallet.status = status
        save_with_reason(wallet, "status", reason=reason)
        return wallet


def set_low_balance_threshold(*, wallet_id: int, threshold: Decimal | None, reason: str) -> Wallet:
    """Say below how many available credits a wallet counts as low; None: never."""
    with transaction.atomic():
        wallet = Wallet.objects.select_for_update().get(pk=wallet_id)
        wallet.low_balance_threshold = threshold
        save_with_reason(wallet, "low_balance_threshold", reason=reason)
        return wallet
