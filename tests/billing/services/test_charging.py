"""A charge: priced, paid from lots, recorded, answered; once."""

from decimal import Decimal

import pytest

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
