"""What Stripe tells of its balance is kept once, whatever comes first: fees with their payments, payouts that add up."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import permutations
from threading import Thread
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing.balance import Movement, movement, paid_out
from billing.errors import SettlementContradiction
from billing.models import BalanceTransaction, EventQueue, Payout, PlatformFee, SettlementSweep, StripeEvent, TopUp, Wallet
from billing.services import checking, disputes, settlements, topup_refunds, topups
from billing.services.stripe_gateway import gateway
from billing.services.stripe_handling import NotOurs, NotYet
from reports.queries import reconciliation
from tests import stripe_objects
from tests.billing.factories import a_caller, a_wallet
from tests.billing.topups import NOW, a_paid_topup, an_order
from tests.stripe_desk import StripeDesk

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def wallet() -> Wallet:
    return a_wallet(a_caller())


@pytest.fixture
def topup(wallet: Wallet) -> TopUp:
    return a_paid_topup(wallet)


@pytest.fixture
def _account(settings: Any) -> None:
    """A key, and an address at which nobody answers: these events bring all that is needed."""
    settings.STRIPE_API_KEY, settings.STRIPE_API_BASE = "sk_test_nobody", "http://127.0.0.1:9"


def charged(topup: TopUp, **overlay: Any) -> dict[str, Any]:
    """The charge of a top-up, with its balance transaction: 5.00 less 0.45."""
    booked = stripe_objects.balance_transaction(amount=500, fee=45, net=455, source=topup.charge)
    fields = {"id": topup.charge, "payment_intent": topup.payment_intent, "amount": 500, "balance_transaction": booked}
    return stripe_objects.charge(**(fields | overlay))


def handle(kind: str, about: dict[str, Any]) -> str:
    happened = stripe_objects.event(kind, about)
    event = StripeEvent(event_id=happened["id"], type=kind, body=stripe_objects.body_of(happened).decode(), queue=EventQueue.STRIPE)
    return settlements.HANDLERS[kind](event, NOW)


def is_clean() -> bool:
    return checking.check(now=NOW, actor="system:tests").is_clean


@pytest.mark.usefixtures("_account")
class TestFeeOfACharge:
    def test_is_recorded_with_its_payment_once(self, topup: TopUp) -> None:
        about = charged(topup)
        assert handle("charge.succeeded", charged(topup, balance_transaction=None)) == f"Stripe has not booked {topup.charge} so far."
        assert "its fee is recorded" in handle("charge.updated", about)
        assert "fee" not in handle("charge.updated", about)
        fee = PlatformFee.objects.get()
        assert (fee.payment, fee.amount_minor, fee.amount, fee.kind) == (topup.payment, 45, Decimal("0.45"), "payment")
        assert BalanceTransaction.objects.get().net_minor == 455
        assert is_clean()

    def test_waits_for_the_deposit_and_is_recorded_then(self, wallet: Wallet) -> None:
        order = an_order(wallet, payment_intent="pi_late")
        about = charged(order, id="ch_late", balance_transaction=stripe_objects.balance_transaction(source="ch_late", amount=500, net=412))
        with pytest.raises(NotYet):
            handle("charge.updated", about)
        assert BalanceTransaction.objects.count() == 1
        order.refresh_from_db()
        assert order.charge == "ch_late"

    def test_of_somebody_elses_charge_is_nobodys_but_the_movement_is_kept(self) -> None:
        about = stripe_objects.charge(balance_transaction=stripe_objects.balance_transaction())
        with pytest.raises(NotOurs):
            handle("charge.updated", about)
        assert not PlatformFee.objects.exists()
        assert BalanceTransaction.objects.count() == 1

    def test_that_became_known_before_its_payment_is_recorded_later(self, wallet: Wallet) -> None:
        settlements.keep([movement(stripe_objects.balance_transaction(source="ch_first"))], now=NOW)
        topup = a_paid_topup(wallet)
        TopUp.objects.filter(pk=topup.pk).update(charge="ch_first")
        assert settlements.record_fees(now=NOW) == 1
        assert settlements.record_fees(now=NOW) == 0
        assert PlatformFee.objects.get().payment == topup.payment

    def test_in_another_currency_than_the_books_keeps_its_own_amount(self, topup: TopUp) -> None:
        booked = stripe_objects.balance_transaction(source=topup.charge, currency="eur", exchange_rate=0.91)
        handle("charge.updated", charged(topup, balance_transaction=booked))
        fee = PlatformFee.objects.get()
        assert (fee.amount_minor, fee.currency, fee.amount) == (88, "EUR", None)

    def test_of_a_refund_and_of_a_dispute_belong_to_the_payment(self, topup: TopUp) -> None:
        back = stripe_objects.refund(charge=topup.charge, payment_intent=topup.payment_intent, amount=100)
        topup_refunds.apply(back, NOW)
        fought = stripe_objects.dispute(charge=topup.charge, payment_intent=topup.payment_intent, amount=400)
        disputes.apply(fought, NOW)
        told = [
            stripe_objects.balance_transaction(
                type="refund", reporting_category="refund", source=back["id"], amount=-100, fee=10, net=-110
            ),
            stripe_objects.balance_transaction(
                type="adjustment", reporting_category="dispute", source=fought["id"], amount=-400, fee=1500, net=-1900
            ),
        ]
        assert settlements.keep([movement(one) for one in told], now=NOW) == settlements.Kept(new=2, fees=2)
        assert {(fee.kind, fee.amount_minor) for fee in PlatformFee.objects.filter(payment=topup.payment)} == {
            ("refund", 10),
            ("dispute", 1500),
        }
        assert is_clean()


class TestFacts:
    def test_are_the_same_in_any_order_and_number(self, wallet: Wallet) -> None:
        for number, order in enumerate(permutations(range(3))):
            payout = stripe_objects.payout(id=f"po_{number}", amount=300)
            first = stripe_objects.balance_transaction(amount=400, fee=40, net=360)
            second = stripe_objects.balance_transaction(amount=-60, fee=0, net=-60, type="refund", reporting_category="refund")
            parts = [movement(one, payout=payout["id"]) for one in (first, second)]
            steps: list[Callable[[], object]] = [
                partial(settlements.keep, parts[:1], now=NOW),
                partial(settlements.keep, [movement(second), parts[1]], now=NOW),
                partial(settlements.keep_payout, paid_out(payout), now=NOW),
            ]
            for step in [*order, *order]:
                steps[step]()
            kept = Payout.objects.get(stripe_id=payout["id"])
            assert (kept.is_reconciled, kept.transactions.count()) == (True, 2)
        assert is_clean()

    @pytest.mark.parametrize("other", [{"amount": 2000, "net": 1912}, {"currency": "eur"}, {"fee": 87, "net": 1912}, {"source": "ch_x"}])
    def test_that_are_told_otherwise_are_refused_whole(self, other: dict[str, Any]) -> None:
        known = stripe_objects.balance_transaction(id="txn_known", source="ch_known")
        settlements.keep([movement(known)], now=NOW)
        with pytest.raises(SettlementContradiction, match="txn_known is known here"):
            settlements.keep([movement(stripe_objects.balance_transaction()), movement(known | other)], now=NOW)
        assert BalanceTransaction.objects.count() == 1

    def test_that_went_out_with_another_payout_are_refused(self) -> None:
        known = stripe_objects.balance_transaction()
        settlements.keep([movement(known, payout="po_1")], now=NOW)
        with pytest.raises(SettlementContradiction, match="went out with po_1"):
            settlements.keep([movement(known, payout="po_2")], now=NOW)

    @pytest.mark.parametrize(
        "change",
        [{"amount_minor": 1, "net_minor": -87}, {"payout": None}, {"payout_id_at_stripe": ""}, {"source": "ch_2"}, {"status": "pending"}],
    )
    def test_are_kept_by_the_database(self, change: dict[str, Any]) -> None:
        settlements.keep_payout(paid_out(stripe_objects.payout(id="po_1")), now=NOW)
        settlements.keep([movement(stripe_objects.balance_transaction(status="available"), payout="po_1")], now=NOW)
        with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
            BalanceTransaction.objects.update(**change)

    def test_are_kept_once_by_two_at_a_time(self) -> None:
        told = [movement(stripe_objects.balance_transaction()) for _ in range(50)]
        failed: list[Exception] = []

        def keep(movements: Any) -> None:
            try:
                settlements.keep(movements, now=NOW)
            except Exception as error:  # noqa: BLE001 - told below
                failed.append(error)
            finally:
                connection.close()

        rivals = [Thread(target=keep, args=(told,)), Thread(target=keep, args=(told[::-1],))]
        for rival in rivals:
            rival.start()
        for rival in rivals:
            rival.join()
        assert not failed
        assert BalanceTransaction.objects.count() == 50


class TestWhatAFileSaid:
    """A file can be wrong about a movement that exists: once Stripe itself tells of it, that is what counts."""

    @staticmethod
    def told_by_file(about: dict[str, Any], **overlay: Any) -> Movement:
        return replace(movement(about), is_from_file=True, **overlay)

    def test_gives_way_to_stripes_own_word_with_its_fee_and_says_so(self, topup: TopUp) -> None:
        told = stripe_objects.balance_transaction(id="txn_true", source=topup.charge, amount=500, fee=45, net=455)
        settlements.keep([self.told_by_file(told, fee_minor=300, net_minor=200, payout="po_wrong")], now=NOW)
        assert PlatformFee.objects.get().amount_minor == 300
        assert settlements.keep([movement(told)], now=NOW + timedelta(days=1)) == settlements.Kept(0, 1)
        row = BalanceTransaction.objects.get()
        assert (row.fee_minor, row.net_minor, row.is_from_file, row.payout_id_at_stripe) == (45, 455, False, "")
        assert row.told_otherwise == "A file said fee 3.00 USD; Stripe itself says fee 0.45 USD."
        assert row.off_by_minor == 255
        assert PlatformFee.objects.get().amount_minor == 45
        assert settlements.keep([movement(told)], now=NOW + timedelta(days=1)) == settlements.Kept(0, 0)
        assert is_clean()

    def test_of_another_payment_leaves_it(self, topup: TopUp, wallet: Wallet) -> None:
        other = a_paid_topup(wallet)
        told = stripe_objects.balance_transaction(source=topup.charge, amount=500, fee=45, net=455)
        settlements.keep([self.told_by_file(told, source=other.charge, payment_intent=other.payment_intent)], now=NOW)
        assert PlatformFee.objects.get().payment == other.payment
        settlements.keep([movement(told)], now=NOW)
        assert PlatformFee.objects.get().payment == topup.payment
        assert BalanceTransaction.objects.get().payment_intent == ""
        assert is_clean()

    def test_of_the_other_mode_is_put_right(self) -> None:
        told = stripe_objects.balance_transaction()
        settlements.keep_payout(paid_out(stripe_objects.payout(id="po_1", livemode=True)), now=NOW)
        settlements.keep([self.told_by_file(told, is_live=True, payout="po_1")], now=NOW)
        settlements.keep([movement(told)], now=NOW)
        row = BalanceTransaction.objects.get()
        assert (row.is_live, row.payout) == (False, None)
        assert "real money" in row.told_otherwise

    def test_is_not_what_a_payout_adds_up_to_for_good(self) -> None:
        settlements.keep_payout(paid_out(stripe_objects.payout(id="po_1", amount=200)), now=NOW)
        told = stripe_objects.balance_transaction(amount=500, fee=45, net=455)
        settlements.keep([self.told_by_file(told, amount_minor=200, fee_minor=0, net_minor=200, payout="po_1")], now=NOW)
        assert Payout.objects.get().is_reconciled
        with pytest.raises(DatabaseError, match="stays reconciled"), transaction.atomic():
            Payout.objects.update(is_reconciled=False)
        settlements.keep([movement(told)], now=NOW)
        assert not Payout.objects.get().is_reconciled
        assert is_clean()

    def test_that_agrees_is_kept_with_what_only_it_knows(self) -> None:
        told = stripe_objects.balance_transaction(source="ch_a")
        settlements.keep([self.told_by_file(told, payment_intent="pi_a", payout="po_1")], now=NOW)
        settlements.keep([movement(told)], now=NOW)
        row = BalanceTransaction.objects.get()
        assert (row.payment_intent, row.payout_id_at_stripe, row.told_otherwise) == ("pi_a", "po_1", "")

    def test_does_not_replace_what_stripe_told(self, topup: TopUp) -> None:
        told = stripe_objects.balance_transaction(source=topup.charge, amount=500, fee=45, net=455)
        settlements.keep([movement(told)], now=NOW)
        with pytest.raises(SettlementContradiction):
            settlements.keep([self.told_by_file(told, fee_minor=300, net_minor=200)], now=NOW)
        with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
            BalanceTransaction.objects.update(fee_minor=300, net_minor=200)
        with pytest.raises(DatabaseError, match="Cannot delete a fee"), transaction.atomic():
            PlatformFee.objects.all().delete()


class TestPayout:
    def test_is_reconciled_only_when_it_adds_up(self) -> None:
        payout = settlements.keep_payout(paid_out(stripe_objects.payout(id="po_1", amount=1912)), now=NOW)
        settlements.keep([movement(stripe_objects.balance_transaction(), payout="po_1")], now=NOW)
        payout.refresh_from_db()
        assert not payout.is_reconciled
        with pytest.raises(DatabaseError, match="add up to it"), transaction.atomic():
            Payout.objects.update(is_reconciled=True)

    def test_state_never_goes_backwards(self) -> None:
        told = stripe_objects.payout(status="paid")
        settlements.keep_payout(paid_out(told), now=NOW)
        assert settlements.keep_payout(paid_out(told | {"status": "in_transit"}), now=NOW).status == "paid"
        failed = told | {"status": "failed", "failure_message": "The bank account has been closed."}
        settlements.keep_payout(paid_out(failed), now=NOW)
        payout = settlements.keep_payout(paid_out(told), now=NOW)
        assert (payout.status, payout.failure) == ("failed", "The bank account has been closed.")

    def test_of_another_amount_is_refused(self) -> None:
        told = stripe_objects.payout()
        settlements.keep_payout(paid_out(told), now=NOW)
        with pytest.raises(SettlementContradiction):
            settlements.keep_payout(paid_out(told | {"amount": 1}), now=NOW)


class TestAgainstStripe:
    """With the simulation of Stripe: what it books is asked for and adds up."""

    @pytest.fixture
    def paid(self, stripe_desk: StripeDesk, wallet: Wallet) -> TopUp:
        """A top-up that was paid at the simulation, and credited here."""
        session = gateway().create_checkout_session(
            {
                "mode": "payment",
                "line_items": [{"quantity": 1, "price_data": {"currency": "usd", "unit_amount": 500, "product_data": {"name": "Credits"}}}],
                "success_url": "https://app.example/paid",
            },
            key="topup-1",
        )
        intent = stripe_desk.pay(session["id"])["payment_intent"]
        topup = an_order(wallet)
        topups.settle(topup_id=topup.pk, paid=topups.Paid(500, "USD", is_live=False, facts=topups.Facts(payment_intent=intent)), now=NOW)
        topup.refresh_from_db()
        return topup

    def test_a_sweep_finds_fees_and_payouts_that_no_event_told_of(self, stripe_desk: StripeDesk, paid: TopUp) -> None:
        stripe_desk.make_payout()
        now = datetime.now(UTC) + timedelta(seconds=5)
        assert settlements.sweep(now=now) > 0
        fee = PlatformFee.objects.get()
        assert (fee.payment, fee.amount_minor) == (paid.payment, 45)
        assert Payout.objects.get().is_reconciled
        assert settlements.sweep(now=now) == 0

    def test_a_sweep_goes_on_past_what_is_told_in_two_ways(self, stripe_desk: StripeDesk, paid: TopUp) -> None:
        """What a file said of the charge gives way; what Stripe told of another movement, and tells otherwise now, is noted."""
        stripe_desk.make_payout()
        now = datetime.now(UTC) + timedelta(seconds=5)
        charge, out = (movement(one) for one in sorted(gateway().list_balance_transactions(since=NOW), key=lambda one: one["type"]))
        [payout] = gateway().list_payouts(since=NOW)
        settlements.keep([replace(charge, amount_minor=9999, net_minor=9954, is_from_file=True)], now=now)
        settlements.keep([replace(out, amount_minor=-1, net_minor=-1)], now=now)
        settlements.keep_payout(paid_out(payout | {"amount": 7}), now=now)
        for _ in range(2):
            settlements.sweep(now=now)
            assert SettlementSweep.objects.get().reached_at == now
            assert PlatformFee.objects.get().payment == paid.payment
            rows = {row.type: (row.amount_minor, row.off_by_minor) for row in BalanceTransaction.objects.all()}
            assert rows == {"charge": (500, 455 - 9954), "payout": (-1, -454)}
        words = BalanceTransaction.objects.get(type="payout").told_otherwise
        assert words == "Stripe told amount -0.01 USD first, which stays, and amount -4.55 USD later."
        kinds = {
            (one.kind.value, one.subject) for one in reconciliation.matched(since=NOW - timedelta(days=900), until=now, now=now).breaks
        }
        assert {("amount", charge.stripe_id), ("amount", out.stripe_id)} <= kinds

    def test_events_in_any_order_come_to_the_same(self, stripe_desk: StripeDesk, paid: TopUp) -> None:
        stripe_desk.make_payout()
        told = [one for one in stripe_desk.events() if one["type"] in settlements.HANDLERS]
        assert len(told) >= 3
        for one in [*reversed(told), *told]:
            handle(one["type"], one["data"]["object"])
        assert PlatformFee.objects.get().payment == paid.payment
        assert Payout.objects.get().is_reconciled

    def test_a_payout_that_the_bank_returns_is_failed(self, stripe_desk: StripeDesk, paid: TopUp) -> None:
        stripe_desk.make_payout(fails=True)
        settlements.sweep(now=datetime.now(UTC) + timedelta(seconds=5))
        assert Payout.objects.get().status == "failed"
        assert BalanceTransaction.objects.filter(type="payout_failure").count() == 1
