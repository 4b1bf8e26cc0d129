"""The same call again: the original answer, whatever has happened since; another body under its key is refused."""

from decimal import Decimal

import pytest

from billing.errors import IdempotencyMismatch, PaymentAlreadyCredited
from billing.events import Charged
from billing.models import Operation, UsageRecord
from billing.services import charging, refunds
from billing.services.idempotency import Call
from tests.billing.factories import NOW, a_caller, a_deposit, a_price, a_wallet, an_event
from tests.worked_examples.books import DAY, account, balance, charged, refused

pytestmark = pytest.mark.django_db


class TestEvents:
    def test_a_retry_gets_the_original_answer_to_the_letter(self) -> None:
        """The app sends a reply, spends on, tops up, and sends the first again a day later: nothing moves."""
        caller = a_caller()
        a_price("4")
        ann = a_wallet(caller)
        a_deposit(ann, "3")
        a_deposit(ann, "100")
        event = an_event(caller, provider_cost=Decimal("0.0123"))
        [first] = charging.charge([event], now=NOW)
        charged(caller)
        a_deposit(ann, "50")
        before = account(ann)
        [again] = charging.charge([event], now=NOW + DAY)
        assert isinstance(first, Charged)
        assert again == first._replace(replayed=True)
        assert account(ann) == before

    def test_twice_in_one_batch(self) -> None:
        """The same event twice in one batch is one charge and one duplicate."""
        caller = a_caller()
        a_price("4")
        ben = a_wallet(caller, credits="10")
        event = an_event(caller)
        results = charging.charge([event, event], now=NOW)
        assert [result.replayed for result in results if isinstance(result, Charged)] == [False, True]
        assert balance(ben) == 6

    def test_another_body_under_the_same_key_is_refused(self) -> None:
        """Key 9f2 was one reply; two replies under it are refused, in the same batch and in a later one."""
        caller = a_caller()
        a_price("4")
        cleo = a_wallet(caller, credits="100")
        one = an_event(caller, key="9f2")
        two = one._replace(quantity=Decimal(2), body_hash=b"2" * 16)
        [_, mismatch] = charging.charge([one, two], now=NOW)
        assert mismatch == charging.charge([two], now=NOW)[0]
        assert refused(caller, key="9f2", body_hash=b"2" * 16).code == "idempotency_mismatch"
        assert balance(cleo) == 96

    def test_a_refused_event_can_be_sent_again_after_a_top_up(self) -> None:
        """Dora had 3 credits, was refused, topped up 10 and sends the very same event: it is charged now."""
        caller = a_caller()
        a_price("4")
        dora = a_wallet(caller, credits="3")
        refused(caller, key="9f2")
        a_deposit(dora, "10")
        assert charged(caller, key="9f2").balance == 9
        assert UsageRecord.objects.count() == 1

    def test_keys_are_the_projects_own(self) -> None:
        """Two projects use key 9f2 for their own events: both are charged."""
        a_price("4")
        for caller in (a_caller(), a_caller()):
            a_wallet(caller, credits="10")
            assert not charged(caller, key="9f2").replayed


class TestOtherCalls:
    def test_a_deposit_again(self) -> None:
        """The top-up of Emil is reported twice: one lot, and the second answer is the first one."""
        caller = a_caller()
        a_price("4")
        emil = a_wallet(caller)
        call = Call(caller.project_id, "top_1", Operation.DEPOSIT, b"d" * 16)
        first = a_deposit(emil, "10", payment_id="pay_emil", call=call)
        charged(caller)
        again = a_deposit(emil, "10", payment_id="pay_emil", call=call)
        assert again.replayed
        assert (again.transaction_id, again.balance, again.available) == (first.transaction_id, 10, 10)
        assert balance(emil) == 6

    def test_a_payment_is_credited_once_whatever_the_key(self) -> None:
        """The same payment under a new key is refused by name."""
        finn = a_wallet(a_caller())
        a_deposit(finn, "10", payment_id="pay_finn")
        with pytest.raises(PaymentAlreadyCredited):
            a_deposit(finn, "10", payment_id="pay_finn")
        assert balance(finn) == 10

    def test_a_refund_again(self) -> None:
        """A refund of 1 under key r1 is sent three times: 1 credit comes back."""
        caller = a_caller()
        a_price("4")
        gus = a_wallet(caller, credits="10")
        reply = charged(caller)
        call = Call(caller.project_id, "r1", Operation.REFUND, b"r" * 16)
        for _ in range(3):
            refunds.refund_event(caller=caller, record_id=reply.record_id, credits=Decimal(1), reason="Slow", now=NOW, call=call)
        assert balance(gus) == 7

    def test_a_key_of_an_event_does_not_serve_a_deposit(self) -> None:
        """Key 9f2 was a reply; a deposit under it is refused, and so is the other way round."""
        caller = a_caller()
        a_price("4")
        hedi = a_wallet(caller, credits="10")
        charged(caller, key="9f2")
        with pytest.raises(IdempotencyMismatch):
            a_deposit(hedi, "10", call=Call(caller.project_id, "9f2", Operation.DEPOSIT, b"0" * 16))
        a_deposit(hedi, "10", call=Call(caller.project_id, "top_1", Operation.DEPOSIT, b"0" * 16))
        assert refused(caller, key="top_1").code == "idempotency_mismatch"
