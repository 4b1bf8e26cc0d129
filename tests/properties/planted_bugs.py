"""Bugs planted on purpose, one at a time, into the code that runs: each is noticed by the steps that lead to it.

Each bug is a function that patches production code. Some never reach the books on paper, because the database refuses
what they try to write; that is as good, and `refused_by_database` says of which.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest

from billing import allocation, metering
from billing.allocation import Movement, OpenLot
from billing.errors import InsufficientCredits
from billing.events import Event
from billing.models import EntryKind, Lot
from billing.queries import wallets
from billing.services import charging, customers, holds, journal, ledger, locked_read, refunds, replay, reversals, sales
from config.base.exact import ZERO, round_money
from pricing.price_book import PriceBook
from tests.properties import scripts
from tests.properties.scripts import Script

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Bug:
    """What is wrong, and how it gets into the code."""

    name: str
    plant: Callable[[Patch], None]
    script: Script  # the steps that lead to it
    refused_by_database: bool = False


def _burn_key(lot: OpenLot, flips: tuple[int, ...]) -> tuple[Any, ...]:
    key = OpenLot._right_key(lot)  # type: ignore[attr-defined]
    return tuple(-float(part) if position in flips else part for position, part in enumerate(key))


def _flip(patch: Patch, *positions: int) -> None:
    patch.setattr(OpenLot, "_right_key", OpenLot.burn_key, raising=False)
    patch.setattr(OpenLot, "burn_key", lambda lot: _burn_key(lot, positions))


def newest_lot_first(patch: Patch) -> None:
    _flip(patch, 5)


def priority_reversed(patch: Patch) -> None:
    _flip(patch, 1)


def paid_before_promotional(patch: Patch) -> None:
    _flip(patch, 4)


def expired_lots_are_burnt(patch: Patch) -> None:
    patch.setattr(OpenLot, "is_expired", lambda lot, now: False)


def lots_expire_a_moment_late(patch: Patch) -> None:
    def is_expired(lot: OpenLot, now: datetime) -> bool:
        return lot.expires_at is not None and lot.expires_at < now

    patch.setattr(OpenLot, "is_expired", is_expired)


def values_have_two_places(patch: Patch) -> None:
    def to_cents(value: Decimal) -> Decimal:
        return value.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)

    patch.setattr(allocation, "round_money", to_cents)


def the_last_credit_leaves_value_behind(patch: Patch) -> None:
    def value_of(lot: OpenLot, credits: Decimal) -> Decimal:
        return min(round_money(credits * lot.unit_value), lot.value_remaining)

    patch.setattr(allocation, "value_of", value_of)


def a_refund_starts_with_the_first_lot(patch: Patch) -> None:
    right = reversals.given_back

    def given_back(charges: Any) -> Any:
        if isinstance(charges, list) and charges and charges[0].kind == EntryKind.CHARGE:
            charges.reverse()
        return right(charges)

    patch.setattr(refunds, "given_back", given_back)


def a_refund_goes_to_the_newest_lot(patch: Patch) -> None:
    right = journal.Journal.enter

    def enter(entries: journal.Journal, kind: EntryKind, movement: Movement, **links: Any) -> Any:
        if kind == EntryKind.REFUND:
            newest = Lot.objects.filter(wallet_id=entries.wallet.id).order_by("-id")[0]
            movement = Movement(newest.pk, movement.credits, movement.value)
        return right(entries, kind, movement, **links)

    patch.setattr(journal.Journal, "enter", enter)


def a_refund_forgets_earlier_ones(patch: Patch) -> None:
    patch.setattr(refunds, "given_back", lambda charges: {charge.pk: (ZERO, ZERO) for charge in charges})


def a_settled_debt_is_not_unsettled(patch: Patch) -> None:
    patch.setattr(refunds, "unsettle", lambda journal, overdraft: None)


def a_deposit_does_not_settle(patch: Patch) -> None:
    patch.setattr(sales, "settle_overdraft", lambda journal, lot: None)


def the_overdraft_limit_is_ignored(patch: Patch) -> None:
    right = allocation.spendable

    def spendable(lots: Any, *, held: Decimal, overdraft_limit: Decimal, now: datetime) -> Decimal:
        room = Decimal(1000) if overdraft_limit else ZERO
        return right(lots, held=held, overdraft_limit=room, now=now)

    patch.setattr(metering, "spendable", spendable)


def held_credits_are_available(patch: Patch) -> None:
    right = allocation.spendable

    def spendable(lots: Any, *, held: Decimal, overdraft_limit: Decimal, now: datetime) -> Decimal:
        return right(lots, held=ZERO, overdraft_limit=overdraft_limit, now=now)

    patch.setattr(metering, "spendable", spendable)


def a_frozen_wallet_pays(patch: Patch) -> None:
    right = metering.pay

    def pay(wallet: metering.WalletState, credits: Decimal, *, now: datetime) -> Any:
        wallet.is_frozen = False
        return right(wallet, credits, now=now)

    patch.setattr(charging, "pay", pay)


def a_key_is_charged_twice_in_one_batch(patch: Patch) -> None:
    def seen_before(flush: Any, event: Event) -> Any:
        earlier = flush.state.earlier.get((event.caller.project_id, event.idempotency_key))
        return earlier.answer(event.body_hash) if earlier else None

    patch.setattr(charging._Flush, "_seen_before", seen_before)


def a_key_is_forgotten(patch: Patch) -> None:
    patch.setattr(replay, "with_answers", lambda rows: {})


def another_body_gets_the_old_answer(patch: Patch) -> None:
    patch.setattr(replay.Earlier, "answer", lambda earlier, body_hash: earlier.charged)


def prices_go_by_the_time_of_arrival(patch: Patch) -> None:
    right, charge, arrivals = PriceBook.price_for, charging.charge, []

    def noting(events: Any, *, now: datetime) -> Any:
        arrivals.append(now)
        return charge(events, now=now)

    def price_for(book: PriceBook, *, at: datetime, **terms: Any) -> Any:
        return right(book, at=arrivals[-1] if arrivals else at, **terms)

    patch.setattr(charging, "charge", noting)
    patch.setattr(PriceBook, "price_for", price_for)


def the_plan_is_ignored(patch: Patch) -> None:
    right = PriceBook.price_for

    def price_for(book: PriceBook, *, plan: str, **terms: Any) -> Any:
        return right(book, plan="", **terms)

    patch.setattr(PriceBook, "price_for", price_for)


def a_capture_keeps_the_rest_held(patch: Patch) -> None:
    right = metering.capture

    def capture(wallet: metering.WalletState, hold: Any, event: Event, credits: Decimal, *, now: datetime) -> Any:
        payment = right(wallet, hold, event, credits, now=now)
        if isinstance(payment, metering.Payment):
            wallet.held += hold.credits - min(hold.credits, payment.credits)
            wallet.settle_view(now)
        return payment

    patch.setattr(charging, "capture", capture)


def an_ended_hold_is_captured(patch: Patch) -> None:
    right = metering.capture

    def capture(wallet: metering.WalletState, hold: Any, event: Event, credits: Decimal, *, now: datetime) -> Any:
        if hold is not None:
            hold.status, hold.expires_at = "open", max(hold.expires_at, now.replace(year=now.year + 1))
        return right(wallet, hold, event, credits, now=now)

    patch.setattr(charging, "capture", capture)


def overdue_holds_stay(patch: Patch) -> None:
    patch.setattr(locked_read, "_give_back_expired_holds", lambda *arguments, **options: None)


def an_extension_shortens(patch: Patch) -> None:
    patch.setattr(holds, "max", lambda _, wanted: wanted, raising=False)


def expiry_takes_held_credits(patch: Patch) -> None:
    right = journal.lock_wallet

    def expire(*, wallet_id: int, now: datetime) -> Any:
        def unheld(wallet_id: int, *, now: datetime) -> Any:
            wallet = right(wallet_id, now=now)
            wallet.held = ZERO
            return wallet

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(ledger, "lock_wallet", unheld)
            return expire_right(wallet_id=wallet_id, now=now)

    expire_right = ledger.expire
    patch.setattr(ledger, "expire", expire)


def adjustments_take_what_is_held(patch: Patch) -> None:
    def take_unheld(wallet: metering.WalletState, credits: Decimal, *, now: datetime) -> list[Movement]:
        movements, missing = allocation.burn(wallet.lots, credits, now=now)
        if missing:
            raise InsufficientCredits("no")
        return movements

    patch.setattr(ledger, "take_unheld", take_unheld)


def lots_forget_their_priority(patch: Patch) -> None:
    right = journal.open_lot

    def open_lot(wallet: metering.WalletState, **terms: Any) -> OpenLot:
        return right(wallet, **(terms | {"priority": journal.DEFAULT_PRIORITY}))

    for room in (ledger, sales):
        patch.setattr(room, "open_lot", open_lot)


def a_limit_is_set_on_paper_only(patch: Patch) -> None:
    right = customers.set_overdraft_limit

    def set_overdraft_limit(*, wallet_id: int, limit: Decimal, reason: str, now: datetime) -> Any:
        return right(wallet_id=wallet_id, limit=min(limit, Decimal(5)), reason=reason, now=now)

    patch.setattr(customers, "set_overdraft_limit", set_overdraft_limit)


def an_answer_misses_an_emptied_lot(patch: Patch) -> None:
    def fill(entries: journal.Journal, lot_id: int, credits: Decimal, value: Decimal) -> OpenLot:
        lot = next((lot for lot in entries.wallet.lots if lot.id == lot_id), None) or wallets.open_lot(Lot.objects.get(pk=lot_id))
        lot.remaining += credits
        return lot

    patch.setattr(refunds, "fill", fill)


BUGS = (
    Bug("newest lot first", newest_lot_first, scripts.pay_beside_a_newer_lot),
    Bug("priority reversed", priority_reversed, scripts.pay_beside_a_lot_that_goes_first),
    Bug("paid before promotional", paid_before_promotional, scripts.pay_beside_a_gift),
    Bug("expired lots are burnt", expired_lots_are_burnt, scripts.pay_beside_an_expired_gift),
    Bug("lots expire a moment late", lots_expire_a_moment_late, scripts.pay_at_the_moment_of_expiry),
    Bug("values have two places", values_have_two_places, scripts.pay_a_millionth),
    Bug(
        "the last credit leaves value behind",
        the_last_credit_leaves_value_behind,
        scripts.empty_a_lot_whose_value_does_not_divide,
        refused_by_database=True,
    ),
    Bug("a refund starts with the first lot", a_refund_starts_with_the_first_lot, scripts.refund_a_part_of_two_lots),
    Bug("a refund goes to the newest lot", a_refund_goes_to_the_newest_lot, scripts.refund_beside_a_newer_lot, refused_by_database=True),
    Bug("a refund forgets earlier ones", a_refund_forgets_earlier_ones, scripts.refund_twice, refused_by_database=True),
    Bug("a settled debt is not unsettled", a_settled_debt_is_not_unsettled, scripts.refund_a_settled_debt, refused_by_database=True),
    Bug("a deposit does not settle", a_deposit_does_not_settle, scripts.top_up_what_is_owed),
    Bug("the overdraft limit is ignored", the_overdraft_limit_is_ignored, scripts.pay_more_than_may_be_owed, refused_by_database=True),
    Bug("held credits are available", held_credits_are_available, scripts.pay_beside_a_hold),
    Bug("a frozen wallet pays", a_frozen_wallet_pays, scripts.pay_from_a_frozen_wallet),
    Bug(
        "a key is charged twice in one batch",
        a_key_is_charged_twice_in_one_batch,
        scripts.report_twice_in_one_batch,
        refused_by_database=True,
    ),
    Bug("a key is forgotten", a_key_is_forgotten, scripts.report_again, refused_by_database=True),
    Bug("another body gets the old answer", another_body_gets_the_old_answer, scripts.report_another_body),
    Bug(
        "prices go by the time of arrival",
        prices_go_by_the_time_of_arrival,
        scripts.report_late_what_had_another_price,
        refused_by_database=True,
    ),
    Bug("the plan is ignored", the_plan_is_ignored, scripts.pay_the_price_of_a_plan),
    Bug("a capture keeps the rest held", a_capture_keeps_the_rest_held, scripts.capture_less_than_is_held),
    Bug("an ended hold is captured", an_ended_hold_is_captured, scripts.capture_a_hold_that_has_ended, refused_by_database=True),
    Bug("overdue holds stay", overdue_holds_stay, scripts.pay_after_a_hold_has_ended),
    Bug("an extension shortens", an_extension_shortens, scripts.extend_for_less_than_is_left),
    Bug("expiry takes held credits", expiry_takes_held_credits, scripts.sweep_a_lot_that_is_held),
    Bug("adjustments take what is held", adjustments_take_what_is_held, scripts.take_back_what_is_held),
    Bug("an answer misses an emptied lot", an_answer_misses_an_emptied_lot, scripts.refund_into_an_emptied_lot),
    Bug("a limit is set on paper only", a_limit_is_set_on_paper_only, scripts.pay_what_may_be_owed),
    Bug("lots forget their priority", lots_forget_their_priority, scripts.pay_beside_a_lot_that_goes_first),
)
