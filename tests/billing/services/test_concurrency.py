"""Many callers on the same wallets, keys, payments and prices: nothing is spent, given or credited twice."""

import itertools
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.utils import timezone

from billing import checks
from billing.errors import InsufficientCredits, PaymentAlreadyCredited, RefundExceedsCharge
from billing.events import Caller, Charged, Event, Refused, Result
from billing.models import Customer, Hold, LedgerEntry, Lot, Operation, UsageRecord, Wallet
from billing.services import charging, holds, ledger, refunds
from billing.services.idempotency import Call
from billing.services.journal import Posted
from pricing.models import PriceRule
from pricing.services import prices
from tests.billing.factories import NOW, a_caller, a_deposit, a_price, a_wallet, an_event
from tests.billing.services.rivals import at_once

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def caller() -> Caller:
    a_price("4")
    return a_caller()


def charge(*events: Event, now: datetime = NOW) -> list[Result]:
    return charging.charge(events, now=now)


def codes(results: list[list[Result] | Exception]) -> Counter[str]:
    """Count what became of all events."""
    found: Counter[str] = Counter()
    for result in results:
        assert not isinstance(result, Exception), result
        for one in result:
            found[one.code if isinstance(one, Refused) else "replayed" if one.replayed else "charged"] += 1
    return found


def the_books_hold() -> None:
    report = checks.run()
    assert not report.breaks, report.breaks


class TestOneWallet:
    def test_pays_for_exactly_what_it_has(self, caller: Caller) -> None:
        """64 callers, credits for 23 replies and a bit: 23 are served and 41 are told to top up."""
        wallet = a_wallet(caller, credits="95")
        results = at_once([partial(charge, an_event(caller)) for _ in range(64)])
        assert codes(results) == {"charged": 23, "insufficient_credits": 41}
        wallet.refresh_from_db()
        assert wallet.balance == 3
        the_books_hold()

    def test_the_same_key_has_one_effect_and_one_answer(self, caller: Caller) -> None:
        """64 callers send the same event: one is charged, and all hear the same."""
        a_wallet(caller, credits="1000")
        event = an_event(caller)
        results = at_once([partial(charge, event)] * 64)
        assert codes(results) == {"charged": 1, "replayed": 63}
        charged = [one for result in results if not isinstance(result, Exception) for one in result if isinstance(one, Charged)]
        answers = {(one.record_id, one.credits, one.balance, one.available, one.lots) for one in charged}
        assert len(answers) == 1
        assert UsageRecord.objects.count() == 1

    def test_holds_never_set_the_same_credits_aside(self, caller: Caller) -> None:
        """32 callers want 4 of 42 credits held: 10 get them."""
        wallet = a_wallet(caller, credits="42")
        customer = Customer.objects.select_related("wallet", "project").get(pk=wallet.customer_id)

        def place(number: int) -> holds.Placed:
            call = Call(caller.project_id, f"hold_{number}", Operation.HOLD, b"h" * 16)
            return holds.place(
                caller=caller, customer=customer, event="chat.reply", quantity=Decimal(1), credits=None, expires_in=900, now=NOW, call=call
            )

        results = at_once([partial(place, number) for number in range(32)])
        kinds = Counter(type(result) for result in results)
        assert kinds == {holds.Placed: 10, InsufficientCredits: 22}
        wallet.refresh_from_db()
        assert (wallet.held, Hold.objects.count()) == (40, 10)

    def test_a_charge_is_refunded_once(self, caller: Caller) -> None:
        """16 operators refund the same reply: one of them does."""
        wallet = a_wallet(caller, credits="10")
        [reply] = charge(an_event(caller))
        assert isinstance(reply, Charged)
        record_id = reply.record_id

        def refund() -> Posted:
            return refunds.refund_event(caller=caller, record_id=record_id, credits=None, reason="Wrong", now=NOW)

        kinds = Counter(type(result) for result in at_once([refund] * 16))
        assert kinds == {Posted: 1, RefundExceedsCharge: 15}
        wallet.refresh_from_db()
        assert wallet.balance == 10

    def test_a_payment_is_credited_once(self, caller: Caller) -> None:
        """16 callers report one payment under 16 keys: one deposit; 16 under one key: one deposit and 16 answers."""
        wallet = a_wallet(caller)

        def deposit(payment_id: str, key: str) -> Posted:
            return a_deposit(wallet, "10", payment_id=payment_id, call=Call(caller.project_id, key, Operation.DEPOSIT, b"d" * 16))

        kinds = Counter(type(result) for result in at_once([partial(deposit, "pay_1", f"key_{n}") for n in range(16)]))
        assert kinds == {Posted: 1, PaymentAlreadyCredited: 15}
        again = at_once([partial(deposit, "pay_2", "one_key")] * 16)
        assert {result.transaction_id for result in again if isinstance(result, Posted)} == {
            LedgerEntry.objects.latest("id").transaction_id
        }
        assert not [result for result in again if isinstance(result, Exception)]
        wallet.refresh_from_db()
        assert (wallet.balance, Lot.objects.count()) == (20, 2)


class TestManyWallets:
    def test_batches_in_opposite_orders_never_deadlock(self, caller: Caller) -> None:
        """32 callers charge the same 12 wallets, half of them backwards, while credits are moved between them."""
        names = [f"user_{number}" for number in range(12)]
        wallets = [a_wallet(caller, name, credits="1000") for name in names]

        def batch(order: list[str]) -> list[Result]:
            return charge(*(an_event(caller, customer=name) for name in order))

        def move(giving: Wallet, taking: Wallet) -> list[Result]:
            ledger.transfer(from_wallet_id=giving.pk, to_wallet_id=taking.pk, credits=Decimal(1), reason="Test", actor="user:vera", now=NOW)
            return []

        calls: list[Callable[[], list[Result]]] = [partial(batch, names[:: 1 if number % 2 else -1]) for number in range(32)]
        calls += [partial(move, *pair) for pair in itertools.pairwise(wallets)]
        calls += [partial(move, *pair) for pair in itertools.pairwise(reversed(wallets))]
        assert codes(at_once(calls)) == {"charged": 32 * 12}
        the_books_hold()

    def test_one_key_on_two_wallets_is_one_charge(self, caller: Caller) -> None:
        """An app sends one key for two customers at once: one of them is charged, the other is told of the mismatch."""
        for round_ in range(8):
            names = [f"left_{round_}", f"right_{round_}"]
            for name in names:
                a_wallet(caller, name, credits="10")
            events = [an_event(caller, key=f"shared_{round_}", customer=name, body_hash=name.encode().ljust(16)) for name in names]
            assert codes(at_once([partial(charge, event) for event in events * 4])) == {
                "charged": 1,
                "replayed": 3,
                "idempotency_mismatch": 4,
            }
        the_books_hold()


class TestPriceChanges:
    def test_no_charge_by_a_version_that_was_not_active(self, caller: Caller) -> None:
        """A new price is published while 24 callers charge actions of before, at and after its start."""
        a_wallet(caller, credits="100000")
        start = NOW + timedelta(seconds=90)

        def publish() -> list[Result]:
            time.sleep(0.05)
            rule = PriceRule.objects.get()
            prices.publish_version(rule=rule, credits_per_event=Decimal(5), effective_from=start, reason="Test", actor=None, now=NOW)
            return []

        def report(number: int) -> list[Result]:
            results: list[Result] = []
            for offset in range(8):
                at = start + timedelta(seconds=(number + offset) % 3 - 1)
                results += charge(an_event(caller, occurred_at=at), now=start - timedelta(seconds=50))
            return results

        calls: list[Callable[[], list[Result]]] = [publish, *(partial(report, number) for number in range(24))]
        results = at_once(calls)
        assert codes(results) == {"charged": 24 * 8}
        late = charge(an_event(caller, occurred_at=start), now=start)
        assert [one.credits for one in late if isinstance(one, Charged)] == [5]
        for entry in LedgerEntry.objects.filter(kind="charge").select_related("price_version"):
            assert entry.price_version is not None
            assert entry.credits == -entry.price_version.credits_per_event


def test_a_wallet_is_made_once(caller: Caller) -> None:
    """16 callers announce the same new customer."""
    results = at_once([partial(a_wallet, caller, "new", now=timezone.now())] * 16)
    assert {wallet.pk for wallet in results if isinstance(wallet, Wallet)} == {Wallet.objects.get().pk}
    assert not [result for result in results if isinstance(result, Exception)]
