"""What operators do: adjust, move credits between wallets, freeze; each leaves its reason in the ledger."""

from decimal import Decimal
from typing import Any

import pytest

from billing.errors import InsufficientCredits, InvalidRequest
from billing.models import LedgerEntry, WalletStatus
from billing.services import customers, ledger, refunds
from tests.billing.factories import NOW, a_caller, a_deposit, a_price, a_wallet
from tests.worked_examples.books import DAY, account, balance, charged, lots, refused, table

pytestmark = pytest.mark.django_db


class TestAdjustments:
    def test_up_and_down(self) -> None:
        """Vera gives Ann 5 credits for an outage, then takes 7 back that were booked twice: the gift first, 2 paid ones."""
        ann = a_wallet(a_caller())
        a_deposit(ann, "10", amount="0.20")
        ledger.adjust(wallet_id=ann.pk, credits=Decimal(5), reason="Outage", actor="user:vera", now=NOW)
        ledger.adjust(wallet_id=ann.pk, credits=Decimal(-7), reason="Booked twice", actor="user:vera", now=NOW)
        assert account(ann) == table("""
            kind        lot  credits  value  balance
            deposit     A         10   0.20       10
            adjustment  B          5   0.00       15
            adjustment  B         -5   0.00       10
            adjustment  A         -2  -0.04        8
        """)
        assert list(LedgerEntry.objects.filter(kind="adjustment").order_by("id").values_list("reason", flat=True)) == [
            "Outage",
            "Booked twice",
            "Booked twice",
        ]

    def test_never_takes_more_than_there_is(self) -> None:
        """Ben has 10 credits and may owe 5: an adjustment of 11 is refused, it must not put him into debt."""
        ben = a_wallet(a_caller(), credits="10")
        customers.set_overdraft_limit(wallet_id=ben.pk, limit=Decimal(5), reason="Known customer", now=NOW)
        with pytest.raises(InsufficientCredits):
            ledger.adjust(wallet_id=ben.pk, credits=Decimal(-11), reason="Wrong", actor="user:vera", now=NOW)
        assert balance(ben) == 10


class TestTransfers:
    def test_move_value_expiry_and_priority(self) -> None:
        """Cleo passes 5 credits on to Dora: 2 at 3 cents that end tomorrow and 3 at 1 cent; they stay what they are."""
        caller = a_caller()
        cleo, dora = a_wallet(caller, "cleo"), a_wallet(caller, "dora")
        a_deposit(cleo, "2", amount="0.06", expires_at=NOW + DAY)
        a_deposit(cleo, "10", priority=60)
        ledger.transfer(from_wallet_id=cleo.pk, to_wallet_id=dora.pk, credits=Decimal(5), reason="Moved house", actor="user:vera", now=NOW)
        assert account(cleo) == table("""
            kind      lot  credits  value  balance
            deposit   A          2   0.06        2
            deposit   B         10   0.10       12
            transfer  A         -2  -0.06       10
            transfer  B         -3  -0.03        7
        """)
        assert account(dora) == table("""
            kind      lot  credits  value  balance
            transfer  A          2   0.06        2
            transfer  B          3   0.03        5
        """)
        assert [(lot.expires_at, lot.priority) for lot in lots(dora).values()] == [(NOW + DAY, 50), (None, 60)]
        assert LedgerEntry.objects.filter(kind="transfer").values("transaction_id").distinct().count() == 1

    def test_more_than_there_is_moves_nothing(self) -> None:
        """Emil has 3 credits and cannot pass on 4; nor can he pass anything on to himself."""
        caller = a_caller()
        emil, finn = a_wallet(caller, "emil", credits="3"), a_wallet(caller, "finn")
        terms: dict[str, Any] = {"from_wallet_id": emil.pk, "credits": Decimal(4), "reason": "Moved", "actor": "user:vera", "now": NOW}
        with pytest.raises(InsufficientCredits):
            ledger.transfer(to_wallet_id=finn.pk, **terms)
        with pytest.raises(InvalidRequest):
            ledger.transfer(to_wallet_id=emil.pk, **terms)
        assert (balance(emil), balance(finn)) == (3, 0)


class TestFreezing:
    def test_a_frozen_wallet_pays_for_nothing_and_still_receives(self) -> None:
        """Gus is frozen after a chargeback: replies are refused, his top-up and his refund arrive; released, he goes on."""
        caller = a_caller()
        a_price("4")
        gus = a_wallet(caller, credits="10")
        reply = charged(caller)
        customers.set_status(wallet_id=gus.pk, status=WalletStatus.FROZEN, reason="Chargeback")
        assert refused(caller).code == "wallet_frozen"
        a_deposit(gus, "1")
        refunds.refund_event(caller=caller, record_id=reply.record_id, credits=None, reason="Wrong answer", now=NOW)
        assert balance(gus) == 11
        customers.set_status(wallet_id=gus.pk, status=WalletStatus.ACTIVE, reason="Cleared")
        assert charged(caller).balance == 7
