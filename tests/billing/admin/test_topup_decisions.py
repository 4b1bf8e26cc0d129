"""Deciding about an order on its page: who is offered what, what it says, and what comes of it."""

from decimal import Decimal

import pytest
from django.core.cache import cache
from django.test import Client

from billing.models import TopUp, TopUpRefund, TopUpStatus, UnappliedPayment, UnappliedState, Wallet
from billing.queries import badges
from billing.services import stripe_gateway
from config.roles import Role
from pricing.models import Workspace
from tests.billing.admin.dialogs import HTMX, address, opened, send, went_through
from tests.billing.factories import a_caller, a_wallet
from tests.billing.selling import a_session, an_order, told
from tests.billing.services.test_unapplied_payments import page, paid_again, paid_otherwise
from tests.people import signed_in
from tests.stripe_desk import StripeDesk

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def wallet() -> Wallet:
    return a_wallet(a_caller())


@pytest.fixture
def finance(db: None) -> Client:
    return signed_in(Role.FINANCE)


def page_of(browser: Client, topup: TopUp) -> str:
    response = browser.get(f"/admin/billing/topup/{topup.pk}/change/")
    assert response.status_code == 200
    return response.content.decode()


def badge() -> str:
    cache.clear()
    return badges.unapplied_payments()


def status(topup: TopUp) -> str:
    topup.refresh_from_db()
    return topup.status


class TestAnOrderPaidOtherwise:
    def test_is_sent_back(self, wallet: Wallet, finance: Client, stripe_desk: StripeDesk) -> None:
        topup = paid_otherwise(wallet, stripe_desk, 500)
        shown = page_of(finance, topup)
        for words in ("Send the money back", "Credit what was paid", "Paid otherwise", "5.00 USD", "Waits for a decision"):
            assert words in shown, words
        assert badge() == "1"
        assert f"/topup/{topup.pk}/" in finance.get("/admin/billing/topup/?beside=waits").content.decode()
        assert "5.00 USD, paid otherwise by pi_" in opened(finance, "billing_topup_send_back", topup)
        payment = UnappliedPayment.objects.get()
        response = send(finance, "billing_topup_send_back", topup, payment=payment.pk, reason="Not what was ordered")
        assert went_through(response)
        assert f"/topuprefund/{TopUpRefund.objects.get().pk}/" in response.headers["HX-Redirect"]
        assert (status(topup), badge()) == (TopUpStatus.RETURNED, "")
        shown = page_of(finance, topup)
        assert "Not what was ordered" in shown
        assert "Send the money back" not in shown
        assert "5.00 USD" in finance.get(response.headers["HX-Redirect"]).content.decode()

    def test_is_credited(self, wallet: Wallet, finance: Client, stripe_desk: StripeDesk) -> None:
        topup = paid_otherwise(wallet, stripe_desk, 1998)
        shown = opened(finance, "billing_topup_credit", topup)
        for words in ("2,000", "19.98 USD was paid", "9.99 USD", "deposited at once"):
            assert words in shown, words
        assert went_through(send(finance, "billing_topup_credit", topup, reason="They wanted two"))
        wallet.refresh_from_db()
        assert (status(topup), wallet.balance, badge()) == (TopUpStatus.PAID, 2000, "")
        shown = page_of(finance, topup)
        for words in ("They wanted two", "Credited", "finance", "From the order to the books"):
            assert words in shown, words
        assert "has been credited" in send(finance, "billing_topup_credit", topup, reason="Again").content.decode()

    def test_above_the_limit_is_credited_by_two(self, wallet: Wallet, finance: Client, stripe_desk: StripeDesk) -> None:
        Workspace.objects.update_or_create(pk=1, defaults={"refund_limit": Decimal(1)})
        topup = paid_otherwise(wallet, stripe_desk, 1998)
        other = signed_in(Role.FINANCE, name="ben")
        assert "a second person must approve" in opened(finance, "billing_topup_credit", topup)
        assert went_through(send(finance, "billing_topup_credit", topup, reason="They wanted two"))
        assert (status(topup), badge()) == (TopUpStatus.MISMATCH, "1")
        mine, theirs = page_of(finance, topup), page_of(other, topup)
        assert "Withdraw the request" in mine
        assert "Approve the credit" not in mine
        assert "Approve the credit" in theirs
        assert "Send the money back" not in theirs
        assert "You asked for this" in send(finance, "billing_topup_approve_credit", topup, reason="Yes").content.decode()
        assert went_through(send(other, "billing_topup_reject_credit", topup, reason="Ask them"))
        assert went_through(send(finance, "billing_topup_credit", topup, reason="They said so"))
        assert went_through(send(finance, "billing_topup_withdraw_credit", topup, reason="Wait"))
        assert went_through(send(finance, "billing_topup_credit", topup, reason="They said so again"))
        assert went_through(send(other, "billing_topup_approve_credit", topup, reason="Fine"))
        assert status(topup) == TopUpStatus.PAID
        for words in ("They wanted two", "Ask them", "Wait", "They said so again", "Fine", "ben"):
            assert words in page_of(finance, topup), words

    def test_is_not_decided_by_who_only_looks(self, wallet: Wallet, stripe_desk: StripeDesk) -> None:
        topup = paid_otherwise(wallet, stripe_desk, 500)
        browser = signed_in(Role.SUPPORT)
        assert "Send the money back" not in page_of(browser, topup)
        for name in ("send_back", "credit", "approve_credit", "reject_credit", "close", "cancel"):
            assert browser.post(address(f"billing_topup_{name}", topup), {"reason": "x"}, headers=HTMX).status_code == 403, name
        assert UnappliedPayment.objects.get().state == UnappliedState.OPEN


def test_a_second_payment_is_shown_and_sent_back(wallet: Wallet, finance: Client, stripe_desk: StripeDesk) -> None:
    topup = paid_again(wallet, stripe_desk)
    shown = page_of(finance, topup)
    assert "Paid again" in shown
    assert "Credit what was paid" not in shown
    assert badge() == "1"
    payment = UnappliedPayment.objects.get()
    assert went_through(send(finance, "billing_topup_send_back", topup, payment=payment.pk, reason="Twice"))
    wallet.refresh_from_db()
    assert (status(topup), wallet.balance, badge()) == (TopUpStatus.PAID, 1000, "")
    found = finance.get(f"/admin/billing/topup/?q={payment.payment_intent}").content.decode()
    assert f"/topup/{topup.pk}/" in found


def test_an_open_order_is_cancelled(wallet: Wallet, finance: Client, stripe_desk: StripeDesk) -> None:
    session = stripe_gateway.gateway().create_checkout_session(page(999), key="open")
    topup = an_order(wallet, checkout_session=session["id"])
    assert "Cancel the order" in page_of(finance, topup)
    assert went_through(send(finance, "billing_topup_cancel", topup, reason="Wrong customer"))
    assert status(topup) == TopUpStatus.EXPIRED
    assert "Cancelled by user:finance: Wrong customer" in page_of(finance, topup)
    assert stripe_desk.calls()[-1]["path"].endswith("/expire")


def test_an_order_without_a_payment_is_closed(wallet: Wallet, finance: Client) -> None:
    topup = an_order(wallet)
    told("checkout.session.completed", a_session(topup, payment_intent=None, amount_total=0, payment_status="no_payment_required"))
    shown = page_of(finance, topup)
    assert "no payment named" in shown
    assert "Send the money back" not in shown
    assert went_through(send(finance, "billing_topup_close", topup, reason="A coupon"))
    assert (status(topup), badge()) == (TopUpStatus.RETURNED, "")
    assert "A coupon" in page_of(finance, topup)
