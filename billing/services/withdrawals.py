"""Taking back what was bought, because the money went back: for refunds of top-ups and for disputes.

Of a top-up of A that sold C credits, money back of a in all takes C·a/A in all, so that whole money back takes all of it
however it was cut up. What is left in the lot leaves the lot. What has expired there is not the customer's debt: its
expiry is reversed first. What was spent is owed: the overdraft lot goes negative and is settled at once from other credits
that were bought, or the loss is written off, as the workspace's policy has it. What is left of the bonus goes in the same
share; a spent bonus is nobody's debt.

What holds have set aside goes as well, else whoever holds and releases would keep credits that were paid back. An action
that is still running can be captured all the same: what is missing then is owed.

Giving back reverses exactly those entries, each into its lot.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Sum
from django.db.models.functions import Coalesce

from billing.allocation import OVERDRAFT, Movement, OpenLot, share, take
from billing.models import EntryKind, LedgerEntry, Lot, LotKind, Payment
from billing.services.customers import ensure_overdraft_lot
from billing.services.journal import Journal, Posted, lock_wallet, lower_credit_limit, post, settle_excess, settle_from_lots
from billing.services.reversals import fill, given_back, unsettle
from config.base.exact import CONTEXT, CREDIT_STEP, ZERO, Rounding, round_money, round_to
from pricing.models import SpentRefundPolicy


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What left the wallet: `credits` in all, `owed` of them spent before. `transaction_id` is None when there was nothing."""

    transaction_id: int | None
    credits: Decimal
    owed: Decimal


@dataclass(frozen=True, slots=True)
class Back:
    """How much money has gone back of how much, in minor units."""

    minor: int
    whole_minor: int


def withdraw(*, payment: Payment, back: Back, policy: SpentRefundPolicy, reason: str, actor: str, now: datetime) -> Withdrawn:
    """Take the credits of `payment` until what is `back` has been taken in all, earlier withdrawals included.

    Inside a transaction in which the caller has locked the top-up, so that `back` is the sum of all money back of it.
    """
    wallet = lock_wallet(payment.wallet_id, now=now)
    journal = Journal(wallet, actor, now, reason=reason)
    sold, bonus = _lots(payment)
    for lot in bonus:
        _take(journal, lot, due(lot, back) - _taken(payment, [lot]), payment)
    wanted = due(sold, back) - _taken_of_sold(payment, bonus)
    missing = wanted - _take(journal, sold, wanted, payment)
    missing -= _take_expired(journal, sold, missing, payment)
    if missing > 0:
        _owe(journal, missing, sold, payment, policy, now)
    if not journal.entries:
        return Withdrawn(None, ZERO, ZERO)
    if wallet.held:
        _overdraft(journal, now)  # where a capture finds what it lacks
    post(journal)
    lower_credit_limit(wallet)
    credits = -sum((entry.credits for entry in journal.entries if entry.kind == EntryKind.WITHDRAWAL), ZERO)
    return Withdrawn(journal.transaction_id, credits, max(missing, ZERO))


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What `withdraw` would do now: `sold` and `bonus` credits leave; of the sold ones `expired` had been written off, `spent` are gone."""

    sold: Decimal
    bonus: Decimal
    expired: Decimal
    spent: Decimal


def foresee(*, payment: Payment, back: Back) -> Foreseen:
    """Say what `withdraw` would take if it came now; changes nothing."""
    sold, bonus = _lots(payment)
    wanted = max(due(sold, back) - _taken_of_sold(payment, bonus), ZERO)
    of_bonus = sum((min(max(due(lot, back) - _taken(payment, [lot]), ZERO), lot.remaining) for lot in bonus), ZERO)
    missing = max(wanted - sold.remaining, ZERO)
    expiries = LedgerEntry.objects.filter(wallet_id=sold.wallet_id, lot=sold, kind=EntryKind.EXPIRY)
    expired = min(missing, -(expiries.aggregate(sum=Coalesce(Sum("credits"), ZERO))["sum"]))
    return Foreseen(wanted, of_bonus, expired, missing - expired)


def give_back(*, transaction_id: int, reason: str, actor: str, now: datetime, still: Back | None = None) -> Posted | None:
    """Reverse a withdrawal: every credit goes back to the lot that it left, and what was owed for it is owed no more.

    Where the wallet owes more than it may for another payment, the credits pay that first, as they would have then.
    With `still`, money of the same payment that stays back for another reason keeps its credits out of the wallet. Credits
    of a lot that has expired since are written off by the next sweep, as they would have been anyway. None: nothing to give.
    """
    entries = list(LedgerEntry.objects.filter(transaction_id=transaction_id).select_related("payment").order_by("-id"))
    wallet = lock_wallet(entries[0].wallet_id, now=now)
    journal = Journal(wallet, actor, now, reason=reason)
    written_off = [entry for entry in entries if entry.kind == EntryKind.ADJUSTMENT]
    for entry in (one for one in entries if one.kind == EntryKind.WITHDRAWAL and one.credits < 0):
        part = -entry.credits - given_back([entry])[entry.pk][0]
        if still is not None:
            part = min(part, _too_much(journal, entry, still))
        if part <= 0:
            continue
        lot = _reverse(journal, entry, part)
        if lot.kind == OVERDRAFT:
            for loss in written_off:
                _reverse(journal, loss, part)
            unsettle(journal, lot)
    if not journal.entries:
        return None
    settle_excess(journal)
    posted = post(journal)
    lower_credit_limit(wallet)
    return posted


def still_out(transaction_id: int) -> Decimal:
    """Return how many credits of a withdrawal have not gone back."""
    taken = LedgerEntry.objects.filter(transaction_id=transaction_id, kind=EntryKind.WITHDRAWAL, credits__lt=0)
    done = given_back(taken)
    return sum((-entry.credits - done[entry.pk][0] for entry in taken), ZERO)


def _reverse(journal: Journal, entry: LedgerEntry, credits: Decimal) -> OpenLot:
    """Move `credits` (positive) of an entry back to where they came from."""
    done_credits, done_value = given_back([entry])[entry.pk]
    left, value_left = abs(entry.credits) - done_credits, abs(entry.value) - done_value
    value = share(abs(entry.credits), abs(entry.value), credits, left=left, value_left=value_left)
    sign = 1 if entry.credits < 0 else -1
    movement = Movement(entry.lot_id, sign * credits, sign * value)
    journal.enter(EntryKind(entry.kind), movement, reverses=entry, payment_id=entry.payment_id)
    return fill(journal, entry.lot_id, sign * credits, sign * value)


def _too_much(journal: Journal, entry: LedgerEntry, still: Back) -> Decimal:
    """Return how many credits more have been taken of the payment, where this entry took them, than what is `still` back."""
    assert entry.payment is not None
    sold, bonus = _lots(entry.payment)
    in_journal = [one for one in journal.entries if one.kind == EntryKind.WITHDRAWAL]
    for lot in bonus:
        if lot.pk == entry.lot_id:
            back = sum((one.credits for one in in_journal if one.lot_id == lot.pk), ZERO)
            return _taken(entry.payment, [lot]) - back - due(lot, still)
    own = {lot.pk for lot in bonus}
    back = sum((one.credits for one in in_journal if one.lot_id not in own), ZERO)
    return _taken_of_sold(entry.payment, bonus) - back - due(sold, still)


def _lots(payment: Payment) -> tuple[Lot, list[Lot]]:
    """Return the lot that was sold and those of the bonus."""
    sold, *bonus = Lot.objects.filter(payment=payment).order_by("pk")
    return sold, bonus


def due(lot: Lot, back: Back) -> Decimal:
    """Return how many credits of what `lot` was granted the money that went back stands for."""
    exact = CONTEXT.divide(CONTEXT.multiply(lot.granted, Decimal(back.minor)), Decimal(back.whole_minor))
    granted: Decimal = lot.granted
    return min(round_to(exact, CREDIT_STEP, Rounding.HALF_EVEN), granted)


def _taken(payment: Payment, lots: list[Lot]) -> Decimal:
    """Return how many credits withdrawals of this payment have taken out of `lots`, what was given back not counted."""
    entries = LedgerEntry.objects.filter(wallet_id=payment.wallet_id, payment=payment, kind=EntryKind.WITHDRAWAL, lot__in=lots)
    taken: Decimal = entries.aggregate(sum=Coalesce(Sum("credits"), ZERO))["sum"]
    return -taken


def _taken_of_sold(payment: Payment, bonus: list[Lot]) -> Decimal:
    """Return the same of the credits that were sold, wherever they were taken from: their lot, or what the wallet owes."""
    entries = LedgerEntry.objects.filter(wallet_id=payment.wallet_id, payment=payment, kind=EntryKind.WITHDRAWAL)
    taken: Decimal = entries.exclude(lot__in=bonus).aggregate(sum=Coalesce(Sum("credits"), ZERO))["sum"]
    return -taken


def _take(journal: Journal, lot: Lot, credits: Decimal, payment: Payment) -> Decimal:
    """Take up to `credits` of what is left in `lot`; return how many that were."""
    state = next((one for one in journal.wallet.lots if one.id == lot.pk), None)
    part = min(credits, state.remaining) if state else ZERO
    if state is None or part <= 0:
        return ZERO
    journal.enter(EntryKind.WITHDRAWAL, take(state, part), payment=payment)
    return part


def _take_expired(journal: Journal, lot: Lot, credits: Decimal, payment: Payment) -> Decimal:
    """Reverse the lot's expiry as far as `credits` reach, and take those; return how many that were."""
    expiries = list(LedgerEntry.objects.filter(wallet_id=lot.wallet_id, lot=lot, kind=EntryKind.EXPIRY, credits__lt=0).order_by("-id"))
    done = given_back(expiries)
    taken = ZERO
    for expiry in expiries:
        left, value_left = -expiry.credits - done[expiry.pk][0], -expiry.value - done[expiry.pk][1]
        part = min(credits - taken, left)
        if part <= 0:
            continue
        value = share(-expiry.credits, -expiry.value, part, left=left, value_left=value_left)
        journal.enter(EntryKind.EXPIRY, Movement(lot.pk, part, value), reverses=expiry)
        fill(journal, lot.pk, part, value)
        taken += _take(journal, lot, part, payment)
    return taken


def _owe(journal: Journal, credits: Decimal, sold: Lot, payment: Payment, policy: SpentRefundPolicy, now: datetime) -> None:
    """Book spent credits as a debt at the value that they were sold for, or write that debt off at once."""
    debt = _overdraft(journal, now)
    value = round_money(CONTEXT.multiply(credits, sold.unit_value))
    journal.enter(EntryKind.WITHDRAWAL, Movement(debt.id, -credits, -value), payment=payment)
    debt.remaining -= credits
    debt.value_remaining -= value
    if policy == SpentRefundPolicy.WRITE_OFF:
        journal.enter(EntryKind.ADJUSTMENT, Movement(debt.id, credits, value), payment=payment)
        debt.remaining += credits
        debt.value_remaining += value
    else:
        limit = -debt.remaining
        Lot.objects.filter(pk=debt.id, kind=LotKind.OVERDRAFT, credit_limit__lt=limit).update(credit_limit=limit)
        settle_from_lots(journal)


def _overdraft(journal: Journal, now: datetime) -> OpenLot:
    if journal.wallet.overdraft is None:
        ensure_overdraft_lot(wallet_id=journal.wallet.id, now=now)
        lot = Lot.objects.get(wallet_id=journal.wallet.id, kind=LotKind.OVERDRAFT)
        journal.wallet.lots.append(OpenLot(lot.pk, lot.kind, lot.remaining, lot.value_remaining, lot.unit_value, lot.priority, None))
    found = journal.wallet.overdraft
    assert found is not None
    return found
