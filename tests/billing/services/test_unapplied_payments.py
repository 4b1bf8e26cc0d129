"""Money that came in for an order and was not what was ordered: sent back or credited, by people, once."""

from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, transaction

from billing import checks
from billing.errors import DecisionRefused, RefundExceedsPayment, StripeUnavailable
from billing.models import (
    DisputeState,
    EntryKind,
    LedgerEntry,
    Lot,
    Payment,
    RefundState,
    TopUp,
    TopUpRefund,
    TopUpStatus,
    UnappliedKind,
    UnappliedPayment,
    UnappliedState,
    Wallet,
)
from billing.services import disputes, stripe_gateway, topup_credits, topup_events, topup_refunds
from config.roles import Role
from pricing.models import Workspace
from tests import stripe_objects
from tests.billing.factories import NOW, a_caller, a_wallet
from tests.billing.selling import a_session, an_intent, an_order, told
from tests.billing.services.rivals import at_once
from tests.people import a_person
from tests.stripe_desk import StripeDesk

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def wallet() -> Wallet:
    return a_wallet(a_caller())


@pytest.fixture
def fiona() -> User:
    return a_person(Role.FINANCE, name="fiona")


def page(amount: int, currency: str = "usd", **fields: Any) -> dict[str, Any]:
    item = {"price_data": {"currency": currency, "unit_amount": amount, "product_data": {"name": "credits"}}, "quantity": 1}
    return {"mode": "payment", "success_url": "https://app.test/paid", "line_items": [item], **fields}


def paid_at_stripe(stripe_desk: StripeDesk, amount: int, currency: str = "usd", **fields: Any) -> Any:
    """A session of so much that a buyer has paid, as Stripe has it."""
    made = stripe_gateway.gateway().create_checkout_session(page(amount, currency, **fields), key=f"session {stripe_objects.number()}")
    return stripe_desk.pay(made["id"])


def paid_otherwise(wallet: Wallet, stripe_desk: StripeDesk, amount: int = 1998, currency: str = "usd", **order: Any) -> TopUp:
    """An order of 1,000 credits for 9.99 USD that was paid with something else."""
    session = paid_at_stripe(stripe_desk, amount, currency)
    topup = an_order(wallet, checkout_session=session["id"], **order)
    topup_events.look_at_session(topup, session, NOW)
    topup.refresh_from_db()
    assert topup.status == TopUpStatus.MISMATCH
    return topup


def paid_again(wallet: Wallet, stripe_desk: StripeDesk, amount: int = 999) -> TopUp:
    """An order that was paid, and then once more by another payment."""
    first = paid_at_stripe(stripe_desk, 999)
    topup = an_order(wallet, checkout_session=first["id"])
    topup_events.look_at_session(topup, first, NOW)
    second = paid_at_stripe(stripe_desk, amount)
    intent = stripe_gateway.gateway().retrieve_payment_intent(second["payment_intent"])
    assert "a second time" in topup_events.look_at_intent(topup, intent, NOW)
    topup.refresh_from_db()
    return topup


def the_payment(topup: TopUp) -> UnappliedPayment:
    return UnappliedPayment.objects.get(topup=topup)


def state(topup: TopUp) -> tuple[str, str]:
    topup.refresh_from_db()
    return topup.status, the_payment(topup).state


def send_back(topup: TopUp, by: User) -> TopUpRefund:
    refund = topup_refunds.send_back(payment_id=the_payment(topup).pk, reason="Wrong amount", requested_by=by, now=NOW)
    return topup_refunds.send(refund_id=refund.pk, gateway=stripe_gateway.gateway(), now=NOW)


def credit(topup: TopUp, by: User) -> UnappliedPayment:
    return topup_credits.credit(payment_id=the_payment(topup).pk, reason="They agreed", requested_by=by, now=NOW)


def refunds_at_stripe(topup: TopUp) -> int:
    return len(list(stripe_gateway.gateway().list_refunds(payment_intent=the_payment(topup).payment_intent)))


def balance(wallet: Wallet) -> Decimal:
    wallet.refresh_from_db()
    found: Decimal = wallet.balance
    return found


def the_books_hold() -> None:
    report = checks.run()
    assert not report.breaks, report.breaks


class TestTheFact:
    def test_is_kept_once_whoever_tells_of_it(self, wallet: Wallet) -> None:
        topup = an_order(wallet)
        for _ in range(2):
            told("checkout.session.completed", a_session(topup, amount_total=1998))
            told("payment_intent.succeeded", an_intent(topup, amount_received=1998))
        row = the_payment(topup)
        assert (row.kind, row.payment_intent, row.charge) == (UnappliedKind.OTHERWISE, f"pi_of_{topup.pk}", f"ch_of_{topup.pk}")
        assert (row.amount_minor, row.currency, row.arrived_at, row.ordered_minor) == (1998, "USD", NOW, 999)

    def test_of_a_second_payment_leaves_the_first_as_it_was(self, wallet: Wallet) -> None:
        topup = an_order(wallet)
        told("payment_intent.succeeded", an_intent(topup))
        for _ in range(2):
            told("payment_intent.succeeded", an_intent(topup, id="pi_again", latest_charge="ch_again"), now=NOW + timedelta(hours=1))
        row = the_payment(topup)
        assert (row.kind, row.payment_intent, row.charge, row.amount_minor) == (UnappliedKind.AGAIN, "pi_again", "ch_again", 999)
        topup.refresh_from_db()
        assert (topup.status, topup.charge, topup.failure, balance(wallet)) == (TopUpStatus.PAID, f"ch_of_{topup.pk}", "", 1000)

    def test_never_changes(self, wallet: Wallet) -> None:
        topup = an_order(wallet)
        told("checkout.session.completed", a_session(topup, amount_total=1998))
        for change in ({"amount_minor": 1}, {"payment_intent": "pi_x"}, {"ordered_credits": 1}):
            with pytest.raises(DatabaseError, match="What came in never changes"), transaction.atomic():
                UnappliedPayment.objects.update(**change)
        with pytest.raises(DatabaseError), transaction.atomic():
            UnappliedPayment.objects.all().delete()
        with pytest.raises(DatabaseError, match="becomes what was paid"), transaction.atomic():
            TopUp.objects.filter(pk=topup.pk).update(status=TopUpStatus.PAID, amount_minor=1998)

    def test_without_a_payment_is_closed_with_a_reason(self, wallet: Wallet, fiona: User) -> None:
        topup = an_order(wallet)
        told("checkout.session.completed", a_session(topup, payment_intent=None, amount_total=0, payment_status="no_payment_required"))
        with pytest.raises(RefundExceedsPayment):
            topup_refunds.send_back(payment_id=the_payment(topup).pk, reason="x", requested_by=fiona, now=NOW)
        with pytest.raises(DecisionRefused, match="names no payment"):
            credit(topup, fiona)
        topup_credits.close(payment_id=the_payment(topup).pk, reason="A coupon", by=fiona, now=NOW)
        assert state(topup) == (TopUpStatus.RETURNED, UnappliedState.CLOSED)
        with pytest.raises(DecisionRefused):
            topup_credits.close(payment_id=the_payment(topup).pk, reason="A coupon", by=fiona, now=NOW)


class TestSendingItBack:
    def test_goes_the_way_of_all_refunds(self, wallet: Wallet, fiona: User, stripe_desk: StripeDesk) -> None:
        topup = paid_otherwise(wallet, stripe_desk)
        refund = send_back(topup, fiona)
        assert (refund.state, refund.amount_minor, refund.credits, refund.withdrawal) == (RefundState.SUCCEEDED, 1998, 0, None)
        assert (refund.reason, refund.requested_by, refund.created_at) == ("Wrong amount", fiona, NOW)
        assert state(topup) == (TopUpStatus.RETURNED, UnappliedState.RETURNED)
        with pytest.raises(RefundExceedsPayment, match="Nothing of this payment is left"):
            send_back(topup, fiona)
        with pytest.raises(DecisionRefused, match="goes back"):
            credit(topup, fiona)
        assert refunds_at_stripe(topup) == 1
        the_books_hold()

    def test_in_another_currency_needs_a_second_person(self, wallet: Wallet, fiona: User, stripe_desk: StripeDesk) -> None:
        topup = paid_otherwise(wallet, stripe_desk, 999, "eur")
        refund = send_back(topup, fiona)
        assert (refund.state, refund.currency, state(topup)[1]) == (RefundState.REQUESTED, "EUR", UnappliedState.OPEN)
        ben = a_person(Role.FINANCE, name="ben")
        approved = topup_refunds.decide(refund_id=refund.pk, is_approved=True, reason="Yes", decided_by=ben, now=NOW)
        topup_refunds.send(refund_id=approved.pk, gateway=stripe_gateway.gateway(), now=NOW)
        assert state(topup) == (TopUpStatus.RETURNED, UnappliedState.RETURNED)

    def test_above_the_limit_needs_a_second_person(self, wallet: Wallet, fiona: User, stripe_desk: StripeDesk) -> None:
        Workspace.objects.update_or_create(pk=1, defaults={"refund_limit": Decimal(15)})
        topup = paid_otherwise(wallet, stripe_desk)
        assert send_back(topup, fiona).state == RefundState.REQUESTED
        assert (refunds_at_stripe(topup), state(topup)) == (0, (TopUpStatus.MISMATCH, UnappliedState.OPEN))

    def test_while_stripe_is_away_is_sent_later_and_once(self, wallet: Wallet, fiona: User, stripe_desk: StripeDesk) -> None:
        topup = paid_otherwise(wallet, stripe_desk)
        stripe_desk.fail_next("lost", times=4)
        with pytest.raises(StripeUnavailable):
            send_back(topup, fiona)
        assert state(topup)[0] == TopUpStatus.MISMATCH
        with pytest.raises(RefundExceedsPayment):
            send_back(topup, fiona)
        stripe_desk.fail_next("429", times=0)
        for _ in range(3):
            topup_refunds.send_approved(gateway=stripe_gateway.gateway(), now=NOW)
        assert (refunds_at_stripe(topup), state(topup)) == (1, (TopUpStatus.RETURNED, UnappliedState.RETURNED))

    def test_that_fails_waits_for_a_decision_again(self, wallet: Wallet, fiona: User, stripe_desk: StripeDesk) -> None:
        topup = paid_otherwise(wallet, stripe_desk)
        refund = send_back(topup, fiona)
        topup_refunds.apply(stripe_desk.settle_refund(refund.stripe_id, succeeds=False), NOW)
        assert state(topup) == (TopUpStatus.MISMATCH, UnappliedState.OPEN)
        assert credit(topup, fiona).state == UnappliedState.CREDITED

    def test_in_stripes_own_dashboard_counts_as_well(self, wallet: Wallet, fiona: User, stripe_desk: StripeDesk) -> None:
        topup = paid_otherwise(wallet, stripe_desk)
        intent = the_payment(topup).payment_intent
        topup_refunds.apply(stripe_desk.refund(intent, amount=998), NOW)
        assert state(topup) == (TopUpStatus.MISMATCH, UnappliedState.OPEN)
        assert send_back(topup, fiona).amount_minor == 1000
        assert state(topup) == (TopUpStatus.RETURNED, UnappliedState.RETURNED)

    def test_of_a_second_payment_leaves_the_credits_of_the_first(self, wallet: Wallet, fiona: User, stripe_desk: StripeDesk) -> None:
        topup = paid_again(wallet, stripe_desk)
        refund = send_back(topup, fiona)
        assert (refund.state, refund.payment_intent) == (RefundState.SUCCEEDED, the_payment(topup).payment_intent)
        assert (state(topup), balance(wallet)) == ((TopUpStatus.PAID, UnappliedState.RETURNED), 1000)
        assert topup_refunds.refundable(topup) == 999
        with pytest.raises(DecisionRefused, match="paid beside it"):
            credit(topup, fiona)
        the_books_hold()

    def test_tells_the_refund_of_the_order_from_that_of_the_second_payment(
        self, wallet: Wallet, fiona: User, stripe_desk: StripeDesk
    ) -> None:
        topup = paid_again(wallet, stripe_desk)
        send_back(topup, fiona)
        own = topup_refunds.request(topup_id=topup.pk, amount_minor=333, reason="A third", requested_by=fiona, now=NOW)
        topup_refunds.send(refund_id=own.pk, gateway=stripe_gateway.gateway(), now=NOW)
        own.refresh_from_db()
        third = Decimal("333.333333")
        assert (own.state, own.credits, balance(wallet)) == (RefundState.SUCCEEDED, third, 1000 - third)
        for event in stripe_desk.events():
            if handler := topup_refunds.HANDLERS.get(event["type"]):
                handler(stripe_objects.stored(event), NOW)
        assert (TopUpRefund.objects.count(), balance(wallet)) == (2, 1000 - third)
        the_books_hold()


class TestCreditingIt:
    def test_gives_credits_in_proportion_and_makes_the_order_what_was_paid(
        self, wallet: Wallet, fiona: User, stripe_desk: StripeDesk
    ) -> None:
        topup = paid_otherwise(wallet, stripe_desk, 500, bonus_credits=Decimal(100))
        assert credit(topup, fiona).state == UnappliedState.CREDITED
        topup.refresh_from_db()
        assert (topup.status, topup.amount_minor, topup.book_value, topup.paid_at) == (TopUpStatus.PAID, 500, Decimal(5), NOW)
        assert (topup.credits, topup.bonus_credits) == (Decimal("500.500501"), Decimal("50.050050"))
        assert balance(wallet) == Decimal("550.550551")
        entry = LedgerEntry.objects.get(kind=EntryKind.DEPOSIT)
        assert (entry.actor, entry.reason, entry.value) == ("user:fiona", "They agreed", 5)
        payment = Payment.objects.get()
        assert (payment.external_id, payment.amount) == (topup.payment_intent, 5)
        row = the_payment(topup)
        assert (row.ordered_credits, row.ordered_minor, row.requested_by, row.requested_at) == (1000, 999, fiona, NOW)
        for again in (partial(credit, topup, fiona), partial(send_back, topup, fiona)):
            with pytest.raises((DecisionRefused, RefundExceedsPayment)):
                again()
        the_books_hold()

    def test_is_refunded_and_disputed_like_any_top_up(self, wallet: Wallet, fiona: User, stripe_desk: StripeDesk) -> None:
        topup = paid_otherwise(wallet, stripe_desk, 500)
        credit(topup, fiona)
        topup.refresh_from_db()
        own = topup_refunds.request(topup_id=topup.pk, amount_minor=250, reason="Half", requested_by=fiona, now=NOW)
        topup_refunds.send(refund_id=own.pk, gateway=stripe_gateway.gateway(), now=NOW)
        assert balance(wallet) == Decimal("250.250251")
        disputes.apply(stripe_desk.open_dispute(topup.payment_intent, amount=250), NOW)
        assert balance(wallet) == 0
        the_books_hold()

    def test_above_the_limit_waits_for_a_second_person(self, wallet: Wallet, fiona: User, stripe_desk: StripeDesk) -> None:
        Workspace.objects.update_or_create(pk=1, defaults={"refund_limit": Decimal(15)})
        ben = a_person(Role.FINANCE, name="ben")
        topup = paid_otherwise(wallet, stripe_desk)
        asked = credit(topup, fiona)
        assert (asked.state, balance(wallet)) == (UnappliedState.ASKED, 0)
        decide: dict[str, Any] = {"payment_id": asked.pk, "reason": "Agreed", "now": NOW}
        for refused in (
            partial(topup_credits.approve, decided_by=fiona, **decide),
            partial(topup_credits.reject, decided_by=fiona, **decide),
            partial(topup_credits.withdraw, by=ben, **decide),
            partial(credit, topup, ben),
            partial(send_back, topup, ben),
        ):
            with pytest.raises(DecisionRefused):
                refused()
        topup_credits.reject(decided_by=ben, **decide)
        assert state(topup) == (TopUpStatus.MISMATCH, UnappliedState.OPEN)
        credit(topup, fiona)
        topup_credits.withdraw(by=fiona, **decide)
        credit(topup, fiona)
        done = topup_credits.approve(decided_by=ben, **decide)
        assert (done.state, done.decided_by, done.decision_reason) == (UnappliedState.CREDITED, ben, "Agreed")
        assert (state(topup)[0], balance(wallet)) == (TopUpStatus.PAID, 2000)
        with pytest.raises(DecisionRefused):
            topup_credits.approve(decided_by=ben, **decide)
        assert [row.history_change_reason for row in done.history.order_by("history_id")][1:3] == ["They agreed", "Agreed"]
        the_books_hold()

    def test_takes_two_people_in_the_database_too(self, wallet: Wallet, fiona: User) -> None:
        topup = an_order(wallet)
        told("checkout.session.completed", a_session(topup, amount_total=1998))
        figures: dict[str, Any] = {
            "credits": 2000,
            "bonus_credits": 0,
            "book_value": 20,
            "reason": "x",
            "requested_by": fiona,
            "requested_at": NOW,
        }
        more: dict[str, Any]
        for more in ({}, {"decided_by": fiona, "decided_at": NOW}):
            with pytest.raises(DatabaseError), transaction.atomic():
                UnappliedPayment.objects.update(state=UnappliedState.CREDITED, needs_approval=True, **figures, **more)

    def test_whoever_may_not_ask_any_more_is_not_approved(self, wallet: Wallet, fiona: User, stripe_desk: StripeDesk) -> None:
        Workspace.objects.update_or_create(pk=1, defaults={"refund_limit": Decimal(1)})
        topup = paid_otherwise(wallet, stripe_desk)
        asked = credit(topup, fiona)
        fiona.groups.clear()
        with pytest.raises(DecisionRefused, match="may not do it any more"):
            topup_credits.approve(payment_id=asked.pk, reason="x", decided_by=a_person(Role.FINANCE, name="ben"), now=NOW)

    @pytest.mark.parametrize("wrong", ["currency", "dispute"])
    def test_makes_no_sense_in_another_currency_or_under_dispute(
        self, wallet: Wallet, fiona: User, stripe_desk: StripeDesk, wrong: str
    ) -> None:
        topup = paid_otherwise(wallet, stripe_desk, 999 if wrong == "currency" else 500, "eur" if wrong == "currency" else "usd")
        if wrong == "dispute":
            disputes.apply(stripe_desk.open_dispute(topup.payment_intent), NOW)
            assert topup.disputes.get().state == DisputeState.OPEN
        with pytest.raises(DecisionRefused):
            credit(topup, fiona)
        assert (state(topup), Lot.objects.count()) == ((TopUpStatus.MISMATCH, UnappliedState.OPEN), 0)


class TestRivals:
    def test_come_to_one_outcome(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        """Eight people at once, half of whom credit and half of whom send back."""
        topup = paid_otherwise(wallet, stripe_desk)
        people = [a_person(Role.FINANCE, name=f"p{number}") for number in range(8)]
        calls: list[Any] = [partial(credit if number % 2 else send_back, topup, person) for number, person in enumerate(people)]
        results = at_once(calls)
        assert sum(not isinstance(result, Exception) for result in results) == 1
        assert all(isinstance(one, (DecisionRefused, RefundExceedsPayment)) for one in results if isinstance(one, Exception)), results
        status, kept = state(topup)
        assert (status, kept, refunds_at_stripe(topup), balance(wallet)) in {
            (TopUpStatus.PAID, UnappliedState.CREDITED, 0, Decimal(2000)),
            (TopUpStatus.RETURNED, UnappliedState.RETURNED, 1, Decimal(0)),
        }
        the_books_hold()

    def test_of_events_keep_one_fact(self, wallet: Wallet) -> None:
        topup = an_order(wallet)
        told("payment_intent.succeeded", an_intent(topup))
        extra = an_intent(topup, id="pi_again", latest_charge="ch_again")
        results = at_once([partial(told, "payment_intent.succeeded", extra)] * 8)
        assert not [one for one in results if isinstance(one, Exception)]
        assert (UnappliedPayment.objects.count(), balance(wallet)) == (1, 1000)

    def test_of_a_decision_on_a_payment_known_to_the_books(self, wallet: Wallet, fiona: User) -> None:
        """Settling again after the decision changes nothing, whatever is told late."""
        topup = an_order(wallet)
        told("checkout.session.completed", a_session(topup, amount_total=500))
        credit(topup, fiona)
        told("checkout.session.completed", a_session(topup, amount_total=500))
        told("payment_intent.succeeded", an_intent(topup, amount_received=500))
        assert (state(topup), balance(wallet)) == ((TopUpStatus.PAID, UnappliedState.CREDITED), Decimal("500.500501"))
