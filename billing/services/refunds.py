"""Refunds of charges: credits go back to the lots that they came from, the lot that was spent last first.

A refund into a lot that has expired since is written off by the next sweep, as the credits would have been anyway.
A part that was paid on overdraft lowers what the wallet owes; where a deposit has settled that debt in the meantime, the
settlement is reversed as far as needed, so that the credits come back to the deposit's lot.
"""

from datetime import datetime
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import transaction

from billing.allocation import OVERDRAFT, Movement, share
from billing.errors import RefundExceedsCharge, UnknownEvent
from billing.events import Caller
from billing.models import EntryKind, LedgerEntry, UsageRecord
from billing.services.charging import KeyTaken
from billing.services.idempotency import Call, find_effect
from billing.services.journal import Journal, Posted, lock_wallet, lower_credit_limit, post, replayed, settle_excess
from billing.services.reversals import fill, given_back, unsettle
from config.base.database import retrying
from config.base.exact import ZERO, plain


def refund_event(
    *,
    caller: Caller,
    record_id: int,
    credits: Decimal | None,
    reason: str,
    now: datetime,
    call: Call | None = None,
    request_id: str = "",
    approved_by: User | None = None,
) -> Posted:
    """Give back `credits` of an event's charge, or all that is left of it.

    Raises UnknownEvent, RefundExceedsCharge, IdempotencyMismatch; of a person, NeedsSecondPerson.
    """
    if call and (effect := find_effect(call)):
        return replayed(effect.effect_id)  # also when the record has been dropped by retention since
    record = (
        UsageRecord.objects.filter(id=record_id, project_id=caller.project_id, environment=caller.environment)
        .select_related("customer__wallet")
        .first()
    )
    if record is None or record.customer is None:
        raise UnknownEvent("There is no such event with a customer in this project. Check the id that the event was answered with.")
    wallet_id = record.customer.wallet.pk

    def work() -> Posted:
        with transaction.atomic():
            wallet = lock_wallet(wallet_id, now=now)
            if call and (effect := find_effect(call)):
                return replayed(effect.effect_id)
            charges = list(LedgerEntry.objects.filter(transaction_id=record_id, kind=EntryKind.CHARGE).order_by("-id"))
            reversed_so_far = given_back(charges)
            left = sum((-charge.credits - reversed_so_far[charge.pk][0] for charge in charges), ZERO)
            wanted = left if credits is None else credits
            if wanted > left or not left:
                raise RefundExceedsCharge(
                    f"{plain(left)} credits of this charge have not been refunded yet. Refund at most that.", refundable=plain(left)
                )
            journal = Journal(wallet, caller.actor, now, request_id, reason, approved_by)
            for charge in charges:
                done_credits, done_value = reversed_so_far[charge.pk]
                remainder = -charge.credits - done_credits
                part = min(wanted, remainder)
                if part:
                    value = share(-charge.credits, -charge.value, part, left=remainder, value_left=-charge.value - done_value)
                    _give_back(journal, charge, part, value)
                    wanted -= part
            settle_excess(journal)
            posted = post(journal, call=call)
            lower_credit_limit(wallet)
            return posted

    return retrying(work, also=(KeyTaken,))


def _give_back(journal: Journal, charge: LedgerEntry, credits: Decimal, value: Decimal) -> None:
    links = {"reverses": charge, "usage_record_id": charge.usage_record_id, "project_id": charge.project_id}
    about = {"event_type_id": charge.event_type_id, "model": charge.model, "price_version_id": charge.price_version_id}
    journal.enter(EntryKind.REFUND, Movement(charge.lot_id, credits, value), **links, **about)
    lot = fill(journal, charge.lot_id, credits, value)
    if lot.kind == OVERDRAFT and lot.remaining > 0:
        unsettle(journal, lot)
