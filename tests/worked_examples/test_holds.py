"""Holding: credits set aside for an action still running, then captured, released, or left to expire."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest

from billing.errors import InsufficientCredits
from billing.events import Caller, Capture, Charged, Overage, Refused, Result
from billing.models import Customer, Hold, HoldStatus, Operation, Wallet
from billing.services import charging, holds, ledger
from billing.services.idempotency import Call
from tests.billing.factories import NOW, a_caller, a_price, a_wallet, an_event
from tests.worked_examples.books import account, charged, lots, refused, table

pytestmark = pytest.mark.django_db


@dataclass
class Desk:
    """A customer who starts agent runs at 4 credits a quantity, and has 10 credits at 1 cent."""

    caller: Caller
    wallet: Wallet

    @property
    def customer(self) -> Customer:
        return Customer.objects.select_related("wallet", "project").get(pk=self.wallet.customer_id)

    def hold(self, credits: str, key: str = "hold_1") -> holds.Placed:
        call = Call(self.caller.project_id, key, Operation.HOLD, b"h" * 16)
        return holds.place(
            caller=self.caller,
            customer=self.customer,
            event="chat.reply",
            quantity=None,
            credits=Decimal(credits),
            expires_in=900,
            now=NOW,
            call=call,
        )

    def capture(self, hold: Hold, quantity: str, overage: Overage = Overage.REFUSE) -> Result:
        event = an_event(self.caller, customer=None, quantity=Decimal(quantity), capture=Capture(hold.pk, overage))
        return holds.capture(event=event, customer="user_42", now=NOW)


@pytest.fixture
def desk() -> Desk:
    caller = a_caller()
    a_price("4")
    return Desk(caller, a_wallet(caller, credits="10"))


class TestPlacing:
    def test_sets_credits_aside(self, desk: Desk) -> None:
        """8 of 10 credits are held: the balance is still 10, 2 are available, and a reply at 4 is refused."""
        placed = desk.hold("8")
        assert placed.available == 2
        desk.wallet.refresh_from_db()
        assert (desk.wallet.balance, desk.wallet.held) == (10, 8)
        assert refused(desk.caller).figures == {"balance": "10", "available": "2", "needed": "4"}

    def test_never_sets_the_same_credits_aside_twice(self, desk: Desk) -> None:
        """After a hold of 8 a second one of 3 is refused."""
        desk.hold("8")
        with pytest.raises(InsufficientCredits):
            desk.hold("3", key="hold_2")

    def test_the_same_call_again_gets_the_first_answer(self, desk: Desk) -> None:
        """The app lost the answer and asks again after a reply was charged: it hears the same hold and the same 2."""
        first = desk.hold("4")
        charged(desk.caller)
        again = desk.hold("4")
        assert (again.hold.pk, again.available, again.replayed) == (first.hold.pk, 6, True)


class TestCapturing:
    def test_below_what_was_held(self, desk: Desk) -> None:
        """8 are held and the run costs 4: 4 are charged, the other 4 are free again."""
        result = desk.capture(desk.hold("8").hold, "1")
        assert isinstance(result, Charged)
        assert (result.credits, result.balance, result.available) == (4, 6, 6)

    def test_exactly_what_was_held(self, desk: Desk) -> None:
        """8 are held and the run costs 8."""
        hold = desk.hold("8").hold
        result = desk.capture(hold, "2")
        assert isinstance(result, Charged)
        assert (result.credits, result.balance, result.available) == (8, 2, 2)
        hold.refresh_from_db()
        assert (hold.status, hold.captured_credits, hold.usage_record_id) == (HoldStatus.CAPTURED, 8, result.record_id)

    def test_above_is_refused(self, desk: Desk) -> None:
        """4 are held and the run costs 8: nothing happens, and the hold stays open."""
        hold = desk.hold("4").hold
        result = desk.capture(hold, "2")
        assert isinstance(result, Refused)
        assert result.code == "insufficient_credits"
        hold.refresh_from_db()
        assert hold.status == HoldStatus.OPEN

    def test_above_takes_what_is_available(self, desk: Desk) -> None:
        """4 are held, 6 more are there, and the run costs 12: 10 are charged, 2 are waived on a line of their own."""
        result = desk.capture(desk.hold("4").hold, "3", Overage.AVAILABLE)
        assert isinstance(result, Charged)
        assert (result.credits, result.balance) == (10, 0)
        assert [(line["kind"], line["credits"]) for line in result.price_lines] == [("event", "12"), ("waived", "-2")]

    def test_above_spares_what_other_holds_have_set_aside(self, desk: Desk) -> None:
        """4 and 5 are held, 1 is free, and the first run costs 12: it gets 4 + 1, and the other hold is safe."""
        first = desk.hold("4").hold
        desk.hold("5", key="hold_2")
        result = desk.capture(first, "3", Overage.AVAILABLE)
        assert isinstance(result, Charged)
        assert (result.credits, result.balance, result.available) == (5, 5, 0)

    def test_above_is_allowed_and_the_rest_is_owed(self, desk: Desk) -> None:
        """4 are held and the run costs 12: all of it is charged, 10 from the lot and 2 as a debt."""
        result = desk.capture(desk.hold("4").hold, "3", Overage.ALLOW)
        assert isinstance(result, Charged)
        assert (result.credits, result.balance, result.available) == (12, -2, 0)
        assert account(desk.wallet) == table("""
            kind     lot   credits  value  balance
            deposit  A          10   0.10       10
            charge   A         -10  -0.10        0
            charge   debt       -2  -0.02       -2
        """)
        assert lots(desk.wallet)["debt"].credit_limit == 2

    def test_above_is_owed_even_while_another_hold_keeps_credits_back(self, desk: Desk) -> None:
        """4 and 6 are held and the first run costs 8: 4 come from the lot, 4 are owed, and the other 6 stay held."""
        first = desk.hold("4").hold
        second = desk.hold("6", key="hold_2").hold
        desk.capture(first, "2", Overage.ALLOW)
        assert {name: lot.remaining for name, lot in lots(desk.wallet).items()} == {"A": 6, "debt": -4}
        result = desk.capture(second, "1")
        assert isinstance(result, Charged)
        assert (result.balance, result.available) == (-2, 2)


class TestEnding:
    def test_released(self, desk: Desk) -> None:
        """The user closes the window: 8 held credits are free again, and doing it twice changes nothing."""
        hold = desk.hold("8").hold
        for _ in range(2):
            assert holds.release(caller=desk.caller, hold_id=hold.pk, now=NOW).status == HoldStatus.RELEASED
        assert charged(desk.caller, quantity=Decimal("2.5")).balance == 0

    def test_expired(self, desk: Desk) -> None:
        """Nobody comes back within 15 minutes: the next reply may have the credits, and a late capture is refused."""
        hold = desk.hold("8").hold
        over = NOW + timedelta(minutes=15)
        assert charged(desk.caller, at=over, quantity=Decimal("2.5")).balance == 0
        hold.refresh_from_db()
        assert (hold.status, hold.ended_at) == (HoldStatus.EXPIRED, over)
        result = desk.capture(hold, "1")
        assert isinstance(result, Refused)
        assert (result.code, result.figures) == ("hold_ended", {"hold_status": "expired"})

    def test_an_estimate_counts_what_an_expired_hold_gives_back(self, desk: Desk) -> None:
        """After 15 minutes an estimate says what the charge would: 10 are available, not 2; and it changes nothing."""
        hold = desk.hold("8").hold
        event = an_event(desk.caller, quantity=Decimal("2.5"))
        result = charging.estimate(event, now=NOW + timedelta(minutes=15))
        assert isinstance(result, Charged)
        assert (result.credits, result.balance, result.available) == (10, 0, 0)
        hold.refresh_from_db()
        assert hold.status == HoldStatus.OPEN

    def test_a_new_hold_is_not_served_by_what_has_expired(self, desk: Desk) -> None:
        """10 gifts end a moment before the hold of 8 is placed: they are written off, and 2 of the paid 10 stay free."""
        ends = NOW - timedelta(minutes=1)
        ledger.grant(
            wallet_id=desk.wallet.pk, credits=Decimal(10), reason="Gift", actor="user:vera", now=ends - timedelta(days=1), expires_at=ends
        )
        assert desk.hold("8").available == 2
        assert account(desk.wallet)[-1] == ("expiry", "B", -10, 0, 10)

    def test_the_sweep_leaves_what_was_held_before_it_expired(self, desk: Desk) -> None:
        """8 are held while 6 gifts are there; the gifts end, and are still there for the run that they were held for."""
        ends = NOW + timedelta(minutes=5)
        ledger.grant(wallet_id=desk.wallet.pk, credits=Decimal(6), reason="Gift", actor="user:vera", now=NOW, expires_at=ends)
        hold = desk.hold("8").hold
        assert ledger.expire(wallet_id=desk.wallet.pk, now=ends) is None
        event = an_event(desk.caller, customer=None, quantity=Decimal(2), capture=Capture(hold.pk))
        result = holds.capture(event=event, customer="user_42", now=ends)
        assert isinstance(result, Charged)
        assert (result.balance, result.available) == (8, 8)

    def test_extended(self, desk: Desk) -> None:
        """The run takes longer and asks for an hour: after 15 minutes the credits are still set aside."""
        hold = desk.hold("8").hold
        holds.extend(caller=desk.caller, hold_id=hold.pk, expires_in=3600, now=NOW)
        assert holds.expire_due(now=NOW + timedelta(minutes=15)) == 0
        assert refused(desk.caller, at=NOW + timedelta(minutes=15)).code == "insufficient_credits"
