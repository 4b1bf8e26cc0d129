"""Topping up and spending: which lots pay, and what each charge is worth."""

from decimal import Decimal

import pytest

from billing.models import Lot
from billing.services import ledger
from tests.billing.factories import NOW, a_caller, a_deposit, a_price, a_wallet
from tests.worked_examples.books import DAY, account, balance, charged, lots, refused, table

pytestmark = pytest.mark.django_db


class TestSpending:
    def test_a_deposit_and_a_charge(self) -> None:
        """Ann pays 1.00 for 100 credits and has one reply at 4 credits: 0.04 of her payment is revenue."""
        caller = a_caller()
        a_price("4")
        ann = a_wallet(caller)
        a_deposit(ann, "100", amount="1.00")
        reply = charged(caller)
        assert (reply.credits, reply.balance, reply.available) == (4, 96, 96)
        assert account(ann) == table("""
            kind     lot  credits  value  balance
            deposit  A        100   1.00      100
            charge   A         -4  -0.04       96
        """)
        assert lots(ann)["A"].value_remaining == Decimal("0.96")

    def test_a_charge_that_spans_two_lots(self) -> None:
        """Ben has 3 credits left of a pack at 2 cents and a new pack at 1 cent; a reply takes 3 of the old, 1 of the new."""
        caller = a_caller()
        a_price("4")
        ben = a_wallet(caller)
        a_deposit(ben, "3", amount="0.06")
        a_deposit(ben, "100", amount="1.00")
        reply = charged(caller)
        assert account(ben) == table("""
            kind     lot  credits  value  balance
            deposit  A          3   0.06        3
            deposit  B        100   1.00      103
            charge   A         -3  -0.06      100
            charge   B         -1  -0.01       99
        """)
        named = lots(ben)
        assert [(part.lot_id, part.credits) for part in reply.lots] == [(named["A"].pk, 3), (named["B"].pk, 1)]
        transactions = set(ben.entries.filter(kind="charge").values_list("transaction_id", flat=True))
        assert transactions == {reply.record_id}

    def test_promotional_credits_go_before_paid_ones(self) -> None:
        """Cleo bought 10 credits, then got 5 as a welcome; two replies take the gift first, which is worth nothing."""
        caller = a_caller()
        a_price("4")
        cleo = a_wallet(caller)
        a_deposit(cleo, "10", amount="0.10")
        ledger.grant(wallet_id=cleo.pk, credits=Decimal(5), reason="Welcome", actor="user:vera", now=NOW)
        charged(caller)
        charged(caller)
        assert account(cleo) == table("""
            kind     lot  credits  value  balance
            deposit  A         10   0.10       10
            grant    B          5   0.00       15
            charge   B         -4   0.00       11
            charge   B         -1   0.00       10
            charge   A         -3  -0.03        7
        """)

    def test_the_burn_order(self) -> None:
        """Six lots of one credit each, bought in the worst order; six charges take them one by one.

        F has priority 10; E goes in one day and D in two; of those that never expire, C is a gift; A is older than B.
        """
        caller = a_caller()
        a_price("1")
        dora = a_wallet(caller)
        a_deposit(dora, "1")
        a_deposit(dora, "1")
        ledger.grant(wallet_id=dora.pk, credits=Decimal(1), reason="Gift", actor="user:vera", now=NOW)
        a_deposit(dora, "1", expires_at=NOW + 2 * DAY)
        a_deposit(dora, "1", expires_at=NOW + DAY)
        a_deposit(dora, "1", priority=10)
        for _ in range(6):
            charged(caller)
        assert "".join(row.lot for row in account(dora) if row.kind == "charge") == "FEDCAB"

    def test_promotional_goes_first_only_among_equal_expiry(self) -> None:
        """Emil's paid credit goes tomorrow, his gift next week: the paid one is spent, so that he loses neither."""
        caller = a_caller()
        a_price("1")
        emil = a_wallet(caller)
        ledger.grant(wallet_id=emil.pk, credits=Decimal(1), reason="Gift", actor="user:vera", now=NOW, expires_at=NOW + 7 * DAY)
        a_deposit(emil, "1", expires_at=NOW + DAY)
        charged(caller)
        assert account(emil)[-1].lot == "B"

    def test_a_price_of_zero_is_recorded_and_moves_nothing(self) -> None:
        """Status pings are free: they are on record with their price, and the ledger stays as it is, even when empty."""
        caller = a_caller()
        a_price("0")
        finn = a_wallet(caller)
        reply = charged(caller)
        assert (reply.credits, reply.balance, reply.lots, reply.version) == (0, 0, (), 1)
        assert account(finn) == []

    def test_not_enough(self) -> None:
        """Gus has 3 credits and asks for a reply at 4: he is told what he has and what he needs, and keeps his 3."""
        caller = a_caller()
        a_price("4")
        gus = a_wallet(caller, credits="3")
        no = refused(caller)
        assert no.code == "insufficient_credits"
        assert no.figures == {"balance": "3", "available": "3", "needed": "4"}
        assert balance(gus) == 3


class TestRounding:
    def test_a_unit_value_that_does_not_divide_evenly(self) -> None:
        """Hedi pays 10.00 for 3 credits. Each is worth 3.333333333333; the last one takes the rest, 3.333333333334."""
        caller = a_caller()
        a_price("1")
        hedi = a_wallet(caller)
        a_deposit(hedi, "3", amount="10.00")
        for _ in range(3):
            charged(caller)
        assert account(hedi) == table("""
            kind     lot  credits            value  balance
            deposit  A          3            10.00        3
            charge   A         -1  -3.333333333333        2
            charge   A         -1  -3.333333333333        1
            charge   A         -1  -3.333333333334        0
        """)
        assert sum(row.value for row in account(hedi)) == 0

    def test_a_unit_value_that_is_rounded_up(self) -> None:
        """Ida pays 20.00 for 3 credits. Each is worth 6.666666666667, so the last one has only 6.666666666666 left."""
        caller = a_caller()
        a_price("1")
        ida = a_wallet(caller)
        a_deposit(ida, "3", amount="20.00")
        for _ in range(3):
            charged(caller)
        assert [row.value for row in account(ida)[1:]] == [
            Decimal("-6.666666666667"),
            Decimal("-6.666666666667"),
            Decimal("-6.666666666666"),
        ]
        assert Lot.objects.get(wallet=ida).value_remaining == 0

    def test_the_smallest_charge(self) -> None:
        """A millionth of a credit at one cent a credit is worth 0.00000001, and a whole credit can be spent that way."""
        caller = a_caller()
        a_price("0.000001")
        jan = a_wallet(caller, credits="1")
        charged(caller)
        assert account(jan)[-1] == ("charge", "A", Decimal("-0.000001"), Decimal("-0.00000001"), Decimal("0.999999"))


class TestInternalUsage:
    def test_has_an_owner_and_a_cost_but_no_wallet(self) -> None:
        """An evaluation run without a customer costs the company 0.02: recorded, and no wallet is touched."""
        caller = a_caller()
        kim = a_wallet(caller, credits="10")
        a_price("4")
        run = charged(caller, customer=None, provider_cost=Decimal("0.02"))
        assert (run.customer, run.credits, run.balance, run.version) == (None, 0, None, None)
        assert (run.cost.amount, run.cost.status) == (Decimal("0.02"), "reported")
        assert len(account(kim)) == 1
