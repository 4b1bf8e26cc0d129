"""A charge: priced, paid from lots, recorded, answered; once."""

from decimal import Decimal
from zlib import crc32

import pytest
from django.db import DataError

from billing.events import Charged, Refused
from billing.models import LedgerEntry, UsageRecord
from billing.services import charging
from tests.billing.factories import NOW, a_caller, a_price, a_wallet, an_event

pytestmark = pytest.mark.django_db


class TestCharge:
    def test_takes_the_price_from_the_wallet_and_records_the_action(self) -> None:
        caller = a_caller()
        a_price("4")
        wallet = a_wallet(caller, credits="10")
        [result] = charging.charge([an_event(caller)], now=NOW)
        assert isinstance(result, Charged)
        assert (result.credits, result.balance, result.available) == (4, 6, 6)
        wallet.refresh_from_db()
        assert wallet.balance == 6
        assert UsageRecord.objects.get().credits == 4
        assert LedgerEntry.objects.get(kind="charge").value == Decimal("-0.04")

    def test_refuses_what_the_wallet_cannot_pay_and_leaves_nothing_behind(self) -> None:
        caller = a_caller()
        a_price("4")
        a_wallet(caller, credits="3")
        [result] = charging.charge([an_event(caller)], now=NOW)
        assert isinstance(result, Refused)
        assert result.code == "insufficient_credits"
        assert not UsageRecord.objects.exists()


class TestChargeBatch:
    """Large batches go in parts; nobody must notice but by their speed."""

    def test_answers_in_the_order_of_the_events_whatever_part_they_were_in(self) -> None:
        caller = a_caller()
        a_price("4")
        for number in range(7):
            a_wallet(caller, f"user_{number}", credits="400")
        events = [an_event(caller, customer=f"user_{number % 7}", key=f"key_{number}") for number in range(600)]
        assert len(charging._parts(events)) == 3
        results = charging.charge_batch(events, now=NOW)
        customers = [result.customer for result in results if isinstance(result, Charged)]
        assert customers == [event.customer for event in events]
        balances = [result.balance or 0 for result in results if isinstance(result, Charged) and result.customer == "user_3"]
        assert balances == sorted(balances, reverse=True), "each customer's events are charged in their order"

    def test_the_first_of_two_customers_under_one_key_is_charged(self) -> None:
        caller = a_caller()
        a_price("4")
        names = sorted((f"user_{number}" for number in range(300)), key=lambda name: crc32(name.encode()) % 2, reverse=True)
        events = [an_event(caller, customer=name, key="the_same", body_hash=name.ljust(16).encode()) for name in names]
        a_wallet(caller, names[0], credits="10")
        a_wallet(caller, names[-1], credits="10")  # whose part, were it for the customer alone, would come first
        first, *others = charging.charge_batch(events, now=NOW)
        assert isinstance(first, Charged)
        assert {getattr(other, "code", None) for other in others} == {"idempotency_mismatch"}

    def test_what_was_charged_before_a_part_failed_is_found_when_it_is_sent_again(self) -> None:
        caller = a_caller()
        a_price("4")
        names = [f"user_{number}" for number in range(300)]
        for name in names:
            a_wallet(caller, name, credits="4")
        events = [an_event(caller, customer=name) for name in names]
        first, second = charging._parts(events)
        poisoned = list(events)
        poisoned[second[-1]] = events[second[-1]]._replace(trace_id="\0")
        with pytest.raises(DataError):
            charging.charge_batch(poisoned, now=NOW)
        again = [result.replayed for result in charging.charge_batch(events, now=NOW) if isinstance(result, Charged)]
        assert (len(again), sum(again)) == (300, len(first))
        assert UsageRecord.objects.count() == 300
