"""Sales: credits that were paid for come into a wallet, in a lot of their own and with the bonus that was sold along.

What the wallet owes is settled first. A payment is credited once, whoever brings it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from billing.allocation import Movement
from billing.errors import InvalidRequest, PaymentAlreadyCredited
from billing.models import Customer, EntryKind, LotKind, Payment, PaymentSource
from billing.services.charging import KeyTaken
from billing.services.idempotency import Call, find_effect
from billing.services.journal import (
    DEFAULT_PRIORITY,
    Journal,
    Posted,
    lock_wallet,
    lower_credit_limit,
    open_lot,
    post,
    replayed,
    settle_overdraft,
)
from config.base.database import retrying
from config.base.exact import MAX_MONEY, ZERO
from pricing.queries import workspace


def deposit(
    *,
    wallet_id: int,
    credits: Decimal,
    amount: Decimal,
    currency: str,
    source: PaymentSource,
    payment_id: str,
    actor: str,
    now: datetime,
    is_promotional: bool = False,
    expires_at: datetime | None = None,
    priority: int = DEFAULT_PRIORITY,
    metadata: dict[str, Any] | None = None,
    request_id: str = "",
    call: Call | None = None,
) -> Posted:
    """Put bought credits into a lot of their own, and settle what the wallet owes from it.

    `amount` is in the book currency and becomes the lot's value. `call` makes it repeatable.
    Raises InvalidRequest (currency, expiry), IdempotencyMismatch, PaymentAlreadyCredited.
    """

    def work() -> Posted:
        with transaction.atomic():
            wallet = lock_wallet(wallet_id, now=now)
            if call and (effect := find_effect(call)):
                return replayed(effect.effect_id)
            sale = Sale(credits, amount, currency, source, payment_id, is_promotional, expires_at, priority, metadata or {})
            return credit_sale(Journal(wallet, actor, now, request_id), sale, call=call)

    return retrying(work, also=(KeyTaken,))


@dataclass(frozen=True, slots=True)
class Sale:
    """Credits that were paid for: `amount` in the book currency becomes their value; the bonus comes on top, worth nothing."""

    credits: Decimal
    amount: Decimal
    currency: str
    source: PaymentSource
    payment_id: str
    is_promotional: bool = False
    expires_at: datetime | None = None
    priority: int = DEFAULT_PRIORITY
    metadata: dict[str, Any] = field(default_factory=dict)
    bonus_credits: Decimal = ZERO
    bonus_expires_at: datetime | None = None


def credit_sale(journal: Journal, sale: Sale, *, call: Call | None = None) -> Posted:
    """Put what was sold into lots of the journal's wallet, which is locked, and settle what the wallet owes.

    Raises InvalidRequest (currency, expiry), PaymentAlreadyCredited.
    """
    wallet, now = journal.wallet, journal.now
    books = workspace.load().currency
    if sale.currency != books:
        raise InvalidRequest("currency", f"must be {books}, the currency of the books")
    if sale.expires_at and sale.expires_at <= now:
        raise InvalidRequest("expires_at", "must lie in the future")
    if sale.amount > sale.credits * MAX_MONEY:
        raise InvalidRequest("amount", "is more per credit than can be recorded")
    customer = Customer.objects.get(wallet=wallet.id)
    payment, is_new = Payment.objects.get_or_create(
        project_id=customer.project_id,
        environment=customer.environment,
        source=sale.source,
        external_id=sale.payment_id,
        defaults={
            "wallet_id": wallet.id,
            "amount": sale.amount,
            "currency": sale.currency,
            "metadata": sale.metadata,
            "received_at": now,
        },
    )
    if not is_new:
        raise PaymentAlreadyCredited(
            f"Payment {sale.payment_id} has been credited already. To repeat the call, use its own idempotency key."
        )
    kind = LotKind.PROMOTIONAL if sale.is_promotional else LotKind.PAID
    lot = open_lot(
        wallet,
        kind=kind,
        credits=sale.credits,
        value=sale.amount,
        now=now,
        expires_at=sale.expires_at,
        priority=sale.priority,
        payment=payment,
    )
    journal.enter(EntryKind.DEPOSIT, Movement(lot.id, sale.credits, sale.amount), payment=payment)
    settle_overdraft(journal, lot)
    if sale.bonus_credits:
        bonus = open_lot(
            wallet,
            kind=LotKind.PROMOTIONAL,
            credits=sale.bonus_credits,
            value=ZERO,
            now=now,
            expires_at=sale.bonus_expires_at,
            priority=sale.priority,
            payment=payment,
            note="Bonus",
        )
        journal.enter(EntryKind.GRANT, Movement(bonus.id, sale.bonus_credits, ZERO), payment=payment, reason="Bonus")
    posted = post(journal, call=call)
    lower_credit_limit(wallet)
    return posted
