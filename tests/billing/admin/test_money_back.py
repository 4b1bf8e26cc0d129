"""Refunds and disputes in the admin: asking, deciding, sending; lists, chains, and what the customer's page says."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from billing.models import RefundState, TopUp, TopUpRefund, Wallet
from billing.queries import badges
from billing.services import disputes, ledger, stripe_gateway, topup_refunds
from config.roles import Role
from pricing.models import Workspace
from tests import stripe_objects
from tests.billing.admin.dialogs import HTMX, address, opened, send, went_through
from tests.billing.factories import a_caller, a_wallet
from tests.billing.topups import NOW, a_paid_topup
from tests.people import a_person, signed_in
from tests.stripe_desk import StripeDesk

pytestmark = pytest.mark.django_db
REFUND = "billing_topup_refund"


@pytest.fixture
def wallet() -> Wallet:
    return a_wallet(a_caller())


@pytest.fixture
def topup(wallet: Wallet, stripe_desk: StripeDesk) -> TopUp:
    item = {"price_data": {"currency": "usd", "unit_amount": 500, "product_data": {"name": "500 credits"}}, "quantity": 1}
    page = {"mode": "payment", "success_url": "https://app.test/paid", "line_items": [item]}
    session = stripe_gateway.gateway().create_checkout_session(page, key="session")
    paid = stripe_desk.pay(session["id"])
    return a_paid_topup(wallet, payment_intent=paid["payment_intent"], charge="")


@pytest.fixture
def finance(db: None) -> Client:
    return signed_in(Role.FINANCE)


def only_small_ones() -> None:
    Workspace.objects.update_or_create(pk=1, defaults={"refund_limit": Decimal(1)})


def page_of(browser: Client, name: str, pk: int) -> str:
    response = browser.get(f"/admin/billing/{name}/{pk}/change/")
    assert response.status_code == 200
    return response.content.decode()


class TestAsking:
    def test_tells_first_what_it_would_do(self, wallet: Wallet, topup: TopUp, finance: Client) -> None:
        ledger.adjust(wallet_id=wallet.pk, credits=Decimal(-400), reason="Spent", actor="system:tests", now=NOW)
        shown = opened(finance, REFUND, topup)
        for words in ('value="5.00"', "5.00 USD", "500", "400", "spent already", "will owe them", "sent to Stripe at once"):
            assert words in shown, words

    def test_names_the_second_person(self, topup: TopUp, finance: Client) -> None:
        only_small_ones()
        assert "a second person must approve it" in opened(finance, REFUND, topup)

    def test_another_amount_is_shown_before_it_is_sent(self, topup: TopUp, finance: Client) -> None:
        response = send(finance, REFUND, topup, amount="2.00", seen="500", reason="Unhappy")
        assert "2.00 USD goes back" in response.content.decode()
        assert "press Refund again" in response.content.decode()
        assert "press Refund again" not in opened(finance, REFUND, topup)
        assert not TopUpRefund.objects.exists()
        assert went_through(send(finance, REFUND, topup, amount="2.00", seen="200", reason="Unhappy"))
        refund = TopUpRefund.objects.get()
        assert (refund.state, refund.credits, refund.reason) == (RefundState.SUCCEEDED, 200, "Unhappy")

    @pytest.mark.parametrize("amount", ["5.01", "0", "-1", "1.001", "x", "NaN", "9" * 40, ""])
    def test_refuses_what_cannot_be_refunded(self, topup: TopUp, finance: Client, amount: str) -> None:
        response = send(finance, REFUND, topup, amount=amount, seen="500", reason="Unhappy")
        assert response.status_code == 200
        assert not went_through(response)
        assert not TopUpRefund.objects.exists()

    def test_without_stripe_nothing_is_asked_for(self, topup: TopUp, finance: Client, settings: object) -> None:
        settings.STRIPE_API_KEY = ""  # type: ignore[attr-defined]
        response = send(finance, REFUND, topup, amount="5", seen="500", reason="Unhappy")
        assert "STRIPE_API_KEY" in response.content.decode()
        assert not TopUpRefund.objects.exists()

    def test_stripe_away_keeps_it_and_says_so(self, stripe_desk: StripeDesk, topup: TopUp, finance: Client) -> None:
        stripe_desk.fail_next("500", times=2)
        assert went_through(send(finance, REFUND, topup, amount="5", seen="500", reason="Unhappy"))
        refund = TopUpRefund.objects.get()
        page = page_of(finance, "topuprefund", refund.pk)
        assert topup_refunds.NO_ANSWER in page
        assert "Send again" in page
        assert went_through(send(finance, "billing_topuprefund_send_again", refund))
        refund.refresh_from_db()
        assert refund.state == RefundState.SUCCEEDED

    def test_stripes_refusal_is_shown_in_its_words(self, stripe_desk: StripeDesk, topup: TopUp, finance: Client) -> None:
        stripe_desk.refund(topup.payment_intent, amount=100)
        response = send(finance, REFUND, topup, amount="5", seen="500", reason="Unhappy")
        assert "greater than unrefunded amount" in response.content.decode()
        assert TopUpRefund.objects.get().state == RefundState.FAILED

    def test_the_top_up_says_that_it_was_paid_back(self, topup: TopUp, finance: Client) -> None:
        send(finance, REFUND, topup, amount="2", seen="200", reason="Unhappy")
        assert "2.00 USD was paid back since" in page_of(finance, "topup", topup.pk)
        assert "Paid back in part" in finance.get("/admin/billing/topup/").content.decode()
        send(finance, REFUND, topup, amount="3", seen="300", reason="Unhappy")
        assert "All of it was paid back since" in page_of(finance, "topup", topup.pk)
        assert "Paid back in part" not in finance.get("/admin/billing/topup/").content.decode()

    def test_no_button_when_nothing_is_left(self, topup: TopUp, finance: Client) -> None:
        assert address(REFUND, topup) in page_of(finance, "topup", topup.pk)
        send(finance, REFUND, topup, amount="5", seen="500", reason="Unhappy")
        assert address(REFUND, topup) not in page_of(finance, "topup", topup.pk)

    @pytest.mark.parametrize("role", [Role.SUPPORT, Role.PRODUCT_MANAGER, Role.ENGINEER, None])
    def test_is_for_those_who_answer_for_money(self, topup: TopUp, role: Role | None) -> None:
        response = signed_in(role).post(address(REFUND, topup), {"amount": "5", "seen": "500", "reason": "Mine"}, headers=HTMX)
        assert response.status_code in {302, 403}
        assert not TopUpRefund.objects.exists()


class TestDeciding:
    @pytest.fixture
    def refund(self, topup: TopUp, finance: Client) -> TopUpRefund:
        only_small_ones()
        assert went_through(send(finance, REFUND, topup, amount="5", seen="500", reason="Unhappy"))
        return TopUpRefund.objects.get()

    def test_waits_in_the_list_and_at_the_badge(self, refund: TopUpRefund, finance: Client) -> None:
        cache.clear()
        assert badges.waiting_refunds() == "1"
        assert "Waits for approval" in finance.get("/admin/billing/topuprefund/").content.decode()
        assert "500 credits would be withdrawn" in " ".join(
            page_of(finance, "topuprefund", refund.pk).replace("</span>", "").split()
        ).replace('<span class="md-figure">', "")

    def test_somebody_else_approves_and_it_is_sent(self, refund: TopUpRefund, wallet: Wallet) -> None:
        other = signed_in(Role.ADMINISTRATOR)
        assert went_through(send(other, "billing_topuprefund_approve", refund, reason="Fine"))
        refund.refresh_from_db()
        wallet.refresh_from_db()
        assert (refund.state, wallet.balance) == (RefundState.SUCCEEDED, 0)
        page = page_of(other, "topuprefund", refund.pk)
        assert "Withdrawal" in page
        assert refund.stripe_id in page

    def test_whoever_asked_does_not(self, refund: TopUpRefund, finance: Client) -> None:
        page = page_of(finance, "topuprefund", refund.pk)
        assert address("billing_topuprefund_withdraw", refund) in page
        assert address("billing_topuprefund_approve", refund) not in page
        response = send(finance, "billing_topuprefund_approve", refund, reason="Fine")
        assert "somebody else must decide" in response.content.decode()

    def test_one_that_was_overtaken_says_so_and_can_only_be_rejected(self, refund: TopUpRefund, topup: TopUp) -> None:
        topup_refunds.apply(stripe_objects.refund(payment_intent=topup.payment_intent, amount=300), timezone.now())
        other = signed_in(Role.ADMINISTRATOR)
        page = page_of(other, "topuprefund", refund.pk)
        assert "It cannot be approved." in page
        assert "2 USD can be refunded now" in page
        assert address("billing_topuprefund_approve", refund) not in page
        assert address("billing_topuprefund_reject", refund) in page
        response = send(other, "billing_topuprefund_approve", refund, reason="Fine")
        assert "2 USD can be refunded now" in response.content.decode()
        refund.refresh_from_db()
        assert refund.state == RefundState.REQUESTED

    def test_whoever_asked_takes_it_back(self, refund: TopUpRefund, finance: Client) -> None:
        assert went_through(send(finance, "billing_topuprefund_withdraw", refund, reason="Mistake"))
        refund.refresh_from_db()
        assert refund.state == RefundState.REJECTED

    def test_somebody_else_rejects(self, refund: TopUpRefund, stripe_desk: StripeDesk) -> None:
        assert went_through(send(signed_in(Role.ADMINISTRATOR), "billing_topuprefund_reject", refund, reason="No"))
        refund.refresh_from_db()
        assert (refund.state, refund.decision_reason) == (RefundState.REJECTED, "No")


class TestDisputes:
    def test_list_page_badge_and_customer(self, wallet: Wallet, finance: Client) -> None:
        topup = a_paid_topup(wallet)
        due_by = int((timezone.now() + timedelta(days=3, hours=1)).timestamp())
        told = stripe_objects.dispute(payment_intent=topup.payment_intent, amount=500, evidence_details={"due_by": due_by})
        disputes.apply(told, timezone.now())
        cache.clear()
        assert badges.open_disputes() == "1"
        listed = finance.get("/admin/billing/dispute/").content.decode()
        for words in ("5.00 USD", "Open", "in 3\xa0days", "Frozen by this dispute"):
            assert words in listed, words
        page = page_of(finance, "dispute", topup.disputes.get().pk)
        for words in ("https://dashboard.stripe.com/test/disputes/dp_", "Withdrawal", "Fraudulent"):
            assert words in page, words
        customer = page_of(finance, "customer", wallet.customer_id)
        assert "Disputes and refunds under way" in customer

    def test_won_shows_what_was_given_back(self, wallet: Wallet, finance: Client) -> None:
        topup = a_paid_topup(wallet)
        told = stripe_objects.dispute(payment_intent=topup.payment_intent, amount=500)
        disputes.apply(told, NOW)
        disputes.apply(told | {"status": "won"}, NOW)
        assert "Withdrawal, given back" in page_of(finance, "dispute", topup.disputes.get().pk)
        assert "Disputes and refunds under way" not in page_of(finance, "customer", wallet.customer_id)

    def test_filters_by_customer(self, wallet: Wallet, finance: Client) -> None:
        for one in (wallet, a_wallet(a_caller(), "other")):
            topup = a_paid_topup(one)
            disputes.apply(stripe_objects.dispute(payment_intent=topup.payment_intent, amount=500), NOW)
            person = a_person(name=f"asks{one.pk}")
            TopUpRefund.objects.create(topup=topup, amount_minor=1, state="requested", requested_by=person, created_at=NOW, changed_at=NOW)
        for name in ("dispute", "topuprefund"):
            response = finance.get(f"/admin/billing/{name}/?topup__wallet__customer__id__exact={wallet.customer_id}")
            assert [row.topup.wallet_id for row in response.context["cl"].result_list] == [wallet.pk]
