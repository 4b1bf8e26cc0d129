"""What becomes of orders: one deposit, whatever Stripe tells first, twice or late."""

from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from billing import checks
from billing.errors import InvalidRequest, PackNotOnSale, UnknownPack
from billing.models import EntryKind, LedgerEntry, Lot, Payment, TopUp, TopUpChannel, TopUpStatus, Wallet
from billing.services import customers, ledger, packs, topups
from billing.services.stripe_handling import AsksStripe, NotOurs
from billing.services.topups import Facts, Paid
from pricing.models import Workspace
from tests import stripe_objects
from tests.billing.factories import NOW, a_caller, a_wallet
from tests.billing.selling import a_pack, a_session, an_intent, an_order, told
from tests.billing.services.rivals import at_once

pytestmark = pytest.mark.django_db


@pytest.fixture
def wallet() -> Wallet:
    return a_wallet(a_caller())


def state(topup: TopUp) -> str:
    topup.refresh_from_db()
    return topup.status


def deposits(topup: TopUp) -> int:
    return LedgerEntry.objects.filter(wallet=topup.wallet_id, kind=EntryKind.DEPOSIT).count()


def paid(topup: TopUp, **overlay: Any) -> Paid:
    facts = Facts(payment_intent=f"pi_of_{topup.pk}", charge=f"ch_of_{topup.pk}")
    terms: dict[str, Any] = {"amount_minor": topup.amount_minor, "currency": topup.currency, "is_live": topup.is_live, "facts": facts}
    return Paid(**(terms | overlay))


def the_books_hold() -> None:
    report = checks.run()
    assert not report.breaks, report.breaks


class TestPayment:
    def test_deposits_what_was_ordered(self, wallet: Wallet) -> None:
        topup = an_order(wallet, bonus_credits=Decimal(100), expires_after_days=365, bonus_expires_after_days=30, request_id="req_1")
        told("checkout.session.completed", a_session(topup))
        assert state(topup) == TopUpStatus.PAID
        assert (topup.payment_intent, topup.paid_at) == (f"pi_of_{topup.pk}", NOW)
        payment = Payment.objects.get()
        assert (payment.pk, payment.source, payment.amount, payment.currency) == (topup.payment_id, "stripe", Decimal("9.99"), "USD")
        lots = [(lot.kind, lot.granted, lot.value, lot.expires_at) for lot in Lot.objects.order_by("pk")]
        assert lots == [
            ("paid", 1000, Decimal("9.99"), NOW + timedelta(days=365)),
            ("promotional", 100, 0, NOW + timedelta(days=30)),
        ]
        assert {entry.request_id for entry in LedgerEntry.objects.all()} == {"req_1"}
        the_books_hold()

    @pytest.mark.parametrize("status", [TopUpStatus.FAILED, TopUpStatus.EXPIRED, TopUpStatus.PROCESSING, TopUpStatus.NEW])
    def test_is_deposited_however_late_it_arrives(self, wallet: Wallet, status: TopUpStatus) -> None:
        later = NOW + timedelta(days=40)
        topup = an_order(wallet, status=status, expires_after_days=30, failure="It took too long")
        told("payment_intent.succeeded", an_intent(topup), now=later)
        assert (state(topup), topup.failure) == (TopUpStatus.PAID, "")
        assert Lot.objects.get().expires_at == later + timedelta(days=30)

    def test_of_another_amount_or_currency_waits_for_a_person(self, wallet: Wallet) -> None:
        for overlay, words in (
            ({"amount_total": 998}, "9.98 USD came in and 9.99 USD was ordered."),
            ({"currency": "eur"}, "9.99 EUR came in"),
        ):
            topup = an_order(wallet)
            told("checkout.session.completed", a_session(topup, **overlay))
            assert (state(topup), deposits(topup)) == (TopUpStatus.MISMATCH, 0)
            assert words in topup.failure
            assert "paid otherwise already" in told("payment_intent.succeeded", an_intent(topup))
            assert deposits(topup) == 0

    def test_without_a_payment_waits_for_a_person(self, wallet: Wallet) -> None:
        topup = an_order(wallet)
        told("checkout.session.completed", a_session(topup, payment_intent=None, payment_status="no_payment_required"))
        assert (state(topup), deposits(topup)) == (TopUpStatus.MISMATCH, 0)

    def test_of_the_test_mode_pays_no_real_order(self, wallet: Wallet) -> None:
        topup = an_order(wallet, is_live=True)
        with pytest.raises(NotOurs, match="real money"):
            told("checkout.session.completed", a_session(topup, livemode=False))
        assert (state(topup), deposits(topup)) == (TopUpStatus.OPEN, 0)

    def test_a_second_one_is_shown_and_not_deposited(self, wallet: Wallet) -> None:
        topup = an_order(wallet)
        topups.settle(topup_id=topup.pk, paid=paid(topup), now=NOW)
        again = paid(topup, facts=Facts(payment_intent="pi_other"))
        assert "a second time, by pi_other" in topups.settle(topup_id=topup.pk, paid=again, now=NOW)
        assert (state(topup), deposits(topup)) == (TopUpStatus.PAID, 1)

    def test_settles_what_the_wallet_owes(self, wallet: Wallet) -> None:
        customers.set_overdraft_limit(wallet_id=wallet.pk, limit=Decimal(50), reason="test", now=NOW)
        told("checkout.session.completed", a_session(an_order(wallet)))
        ledger.adjust(wallet_id=wallet.pk, credits=Decimal(-1000), reason="spent", actor="system:tests", now=NOW)
        told("checkout.session.completed", a_session(an_order(wallet)))
        wallet.refresh_from_db()
        assert wallet.balance == 1000
        the_books_hold()


class TestTheOrderOfEvents:
    def test_a_bank_that_takes_its_time_pays_in_the_end(self, wallet: Wallet) -> None:
        topup = an_order(wallet)
        told("checkout.session.completed", a_session(topup, payment_status="unpaid"))
        assert state(topup) == TopUpStatus.PROCESSING
        told("checkout.session.async_payment_succeeded", a_session(topup))
        assert (state(topup), deposits(topup)) == (TopUpStatus.PAID, 1)

    def test_a_bank_that_does_not_pay_ends_the_order(self, wallet: Wallet) -> None:
        topup = an_order(wallet)
        told("checkout.session.completed", a_session(topup, payment_status="unpaid"))
        why = {"message": "The bank account is closed."}
        told("payment_intent.payment_failed", an_intent(topup, status="requires_payment_method", last_payment_error=why))
        told("checkout.session.async_payment_failed", a_session(topup, payment_status="unpaid"))
        assert (state(topup), topup.failure, deposits(topup)) == (TopUpStatus.FAILED, "The bank account is closed.", 0)

    def test_an_old_snapshot_changes_nothing(self, wallet: Wallet) -> None:
        topup = an_order(wallet)
        told("checkout.session.async_payment_failed", a_session(topup, payment_status="unpaid"))
        assert "failed already" in told("checkout.session.completed", a_session(topup, payment_status="unpaid"))
        assert state(topup) == TopUpStatus.FAILED
        told("checkout.session.completed", a_session(topup))
        for kind, about in (
            ("checkout.session.completed", a_session(topup, payment_status="unpaid")),
            ("checkout.session.expired", a_session(topup, status="expired", payment_status="unpaid")),
            ("checkout.session.async_payment_failed", a_session(topup, payment_status="unpaid")),
            ("payment_intent.canceled", an_intent(topup, status="canceled")),
            ("payment_intent.processing", an_intent(topup, status="processing")),
        ):
            assert "paid already" in told(kind, about)
        assert (state(topup), deposits(topup)) == (TopUpStatus.PAID, 1)

    def test_a_declined_card_leaves_the_link_open(self, wallet: Wallet) -> None:
        topup = an_order(wallet)
        declined = an_intent(topup, status="requires_payment_method", last_payment_error={"message": "Your card was declined."})
        told("payment_intent.payment_failed", declined)
        assert (state(topup), topup.failure) == (TopUpStatus.OPEN, "Your card was declined.")
        told("checkout.session.completed", a_session(topup))
        assert (state(topup), topup.failure) == (TopUpStatus.PAID, "")

    @pytest.mark.parametrize("first", ["session", "intent"])
    def test_the_charge_is_the_one_that_paid(self, wallet: Wallet, first: str) -> None:
        topup = an_order(wallet)
        why = {"message": "Your card was declined."}
        declined = an_intent(topup, status="requires_payment_method", last_payment_error=why, latest_charge="ch_declined")
        told("payment_intent.payment_failed", declined)
        news = [("checkout.session.completed", a_session(topup)), ("payment_intent.succeeded", an_intent(topup, latest_charge="ch_paid"))]
        for kind, about in news if first == "session" else reversed(news):
            told(kind, about)
        told("payment_intent.payment_failed", declined)
        assert (state(topup), topup.charge) == (TopUpStatus.PAID, "ch_paid")

    def test_a_declined_automatic_payment_has_failed(self, wallet: Wallet) -> None:
        topup = an_order(wallet, channel=TopUpChannel.AUTO, checkout_session="", url="")
        declined = an_intent(topup, status="requires_payment_method", last_payment_error={"message": "Your card was declined."})
        told("payment_intent.payment_failed", declined)
        assert (state(topup), topup.failure) == (TopUpStatus.FAILED, "Your card was declined.")

    def test_a_payment_heard_of_before_its_session_is_deposited_once(self, wallet: Wallet) -> None:
        topup = an_order(wallet, status=TopUpStatus.NEW, checkout_session="", url="")
        told("payment_intent.succeeded", an_intent(topup))
        session = a_session(topup)
        told("checkout.session.completed", session)
        opened = topups.opened(topup_id=topup.pk, session=session, now=NOW)
        assert (opened.status, opened.checkout_session, opened.charge) == (TopUpStatus.PAID, session["id"], f"ch_of_{topup.pk}")
        assert deposits(topup) == 1

    def test_an_expired_link_ends_the_order(self, wallet: Wallet) -> None:
        topup = an_order(wallet)
        told("checkout.session.expired", a_session(topup, status="expired", payment_status="unpaid", payment_intent=None))
        assert state(topup) == TopUpStatus.EXPIRED


class TestWhoseEventItIs:
    def test_is_told_by_the_time_of_the_order_too(self, wallet: Wallet) -> None:
        topup = an_order(wallet)
        elsewhere = {"topup": str(topup.pk), "ordered_at": (NOW - timedelta(days=1)).isoformat()}
        for kind, about in (
            ("checkout.session.completed", a_session(topup, id="cs_elsewhere", metadata=elsewhere)),
            ("payment_intent.succeeded", an_intent(topup, metadata=elsewhere)),
        ):
            with pytest.raises(NotOurs):
                told(kind, about)
        assert (state(topup), deposits(topup)) == (TopUpStatus.OPEN, 0)

    @pytest.mark.parametrize("number", ["", "0", "x", "-1", "٣", "9" * 30, "999999"])
    def test_is_of_no_order_here(self, wallet: Wallet, number: str) -> None:
        for kind, about in (
            ("checkout.session.completed", stripe_objects.checkout_session(metadata={"topup": number})),
            ("checkout.session.expired", stripe_objects.checkout_session(client_reference_id=number, metadata=None)),
            ("payment_intent.succeeded", stripe_objects.payment_intent(metadata={"topup": number})),
        ):
            with pytest.raises(NotOurs):
                told(kind, about)

    def test_another_session_with_the_orders_number_is_not_the_orders(self, wallet: Wallet) -> None:
        topup = an_order(wallet)
        with pytest.raises(NotOurs):
            told("checkout.session.completed", a_session(topup, id="cs_other"))


class TestAFraudWarning:
    def warning(self, **fields: Any) -> dict[str, Any]:
        return {"id": "issfr_1", "object": "radar.early_fraud_warning", "livemode": False} | fields

    def test_marks_the_order(self, wallet: Wallet) -> None:
        topup = an_order(wallet)
        told("payment_intent.succeeded", an_intent(topup))
        for about in (
            self.warning(payment_intent=f"pi_of_{topup.pk}", charge="ch_x"),
            self.warning(payment_intent=None, charge=f"ch_of_{topup.pk}"),
        ):
            TopUp.objects.update(is_suspicious=False)
            told("radar.early_fraud_warning.created", about)
            assert state(topup) == TopUpStatus.PAID
            assert topup.is_suspicious

    def test_of_something_else_is_not_ours(self, wallet: Wallet) -> None:
        with pytest.raises(NotOurs):
            told("radar.early_fraud_warning.created", self.warning(charge="ch_x"))

    def test_of_a_payment_not_heard_of_waits_until_stripe_can_be_asked(self, wallet: Wallet) -> None:
        with pytest.raises(AsksStripe):
            told("radar.early_fraud_warning.created", self.warning(charge="ch_x", payment_intent="pi_x"))


class TestAPurchase:
    def test_of_a_pack_is_what_the_pack_says(self) -> None:
        pack = a_pack(bonus="100", prices={"USD": ("9.99", "9.99"), "JPY": ("1500", "9.8"), "KWD": ("3.070", "10.01")})
        usd, yen, dinar = (packs.of_pack(key=pack.key, currency=currency, now=NOW) for currency in ("", "JPY", "KWD"))
        assert (usd.amount_minor, usd.currency, usd.book_value) == (999, "USD", Decimal("9.99"))
        assert (yen.amount_minor, yen.book_value) == (1500, Decimal("9.8"))
        assert (dinar.amount_minor, dinar.book_value) == (3070, Decimal("10.01"))
        assert (usd.credits, usd.bonus_credits, usd.title) == (1000, 100, "1000 credits")

    def test_of_a_pack_with_one_price_needs_no_currency(self) -> None:
        a_pack(prices={"EUR": ("9.49", "10")})
        assert packs.of_pack(key="starter-1000", currency="", now=NOW).currency == "EUR"

    def test_of_a_pack_that_is_not_sold_is_refused(self) -> None:
        a_pack("past", active_until=NOW)
        a_pack("later", active_from=NOW + timedelta(seconds=1))
        a_pack("unpriced", prices={})
        a_pack("abroad", prices={"EUR": ("1", "1"), "GBP": ("1", "1")})
        for key, currency, error in (
            ("nothing", "", UnknownPack),
            ("past", "", PackNotOnSale),
            ("later", "", PackNotOnSale),
            ("unpriced", "", PackNotOnSale),
            ("abroad", "", InvalidRequest),
            ("abroad", "USD", InvalidRequest),
        ):
            with pytest.raises(error) as refused:
                packs.of_pack(key=key, currency=currency, now=NOW)
        assert "EUR, GBP" in refused.value.detail

    def test_of_an_amount_buys_credits_at_their_value(self) -> None:
        bought = packs.of_amount(amount=Decimal("12.34"), currency="USD")
        assert (bought.credits, bought.amount_minor, bought.book_value, bought.title) == (1234, 1234, Decimal("12.34"), "1,234 credits")

    def test_of_an_amount_that_comes_out_at_no_number_names_its_neighbours(self) -> None:
        Workspace.objects.update(credit_value=Decimal("0.03"))
        with pytest.raises(InvalidRequest) as refused:
            packs.of_amount(amount=Decimal("1.00"), currency="USD")
        assert "send 0.99 USD or 1.02 USD" in refused.value.detail
        assert packs.of_amount(amount=Decimal("1.02"), currency="USD").credits == 34

    @pytest.mark.parametrize(
        ("amount", "currency", "field"),
        [("1", "EUR", "currency"), ("0.001", "USD", "amount"), ("1000000", "USD", "amount"), ("0", "USD", "amount")],
    )
    def test_of_an_amount_that_cannot_be_charged_is_refused(self, amount: str, currency: str, field: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            packs.of_amount(amount=Decimal(amount), currency=currency)
        assert refused.value.figures["errors"][0]["field"] == field


@pytest.mark.django_db(transaction=True)
class TestRivals:
    def test_make_one_deposit(self) -> None:
        """8 workers settle one order 100 times each, some by its session, some by its payment."""
        topup = an_order(a_wallet(a_caller()))
        session, intent = a_session(topup), an_intent(topup)

        def settle_often(number: int) -> None:
            for turn in range(100):
                if (number + turn) % 2:
                    told("checkout.session.completed", session)
                else:
                    told("payment_intent.succeeded", intent)

        results = at_once([partial(settle_often, number) for number in range(8)])
        assert [result for result in results if isinstance(result, Exception)] == []
        assert (state(topup), deposits(topup), Payment.objects.count(), Lot.objects.count()) == (TopUpStatus.PAID, 1, 1, 1)
        the_books_hold()
