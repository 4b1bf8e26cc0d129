"""Top-ups in the admin: the list, what came of an order, and the link that a person makes."""

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import Customer, Dispute, PlatformFee, TopUp, TopUpChannel, TopUpRefund, TopUpStatus, Wallet
from config.roles import Role
from tests.billing.admin.dialogs import HTMX, address, opened, send
from tests.billing.factories import NOW, a_caller, a_wallet
from tests.billing.selling import a_pack, a_session, an_intent, an_order, told
from tests.people import signed_in
from tests.stripe_desk import StripeDesk

pytestmark = pytest.mark.django_db
LIST = "/admin/billing/topup/"


@pytest.fixture
def wallet() -> Wallet:
    return a_wallet(a_caller())


@pytest.fixture
def finance(db: None) -> Client:
    return signed_in(Role.FINANCE)


def listed(browser: Client, query: str) -> list[int]:
    """Return the ids of the rows that the list shows."""
    response = browser.get(f"{LIST}?{query}")
    assert response.status_code == 200
    return [row.pk for row in response.context["cl"].result_list]


class TestTheList:
    def test_shows_each_amount_in_its_currency(self, wallet: Wallet, finance: Client) -> None:
        an_order(wallet)
        an_order(wallet, currency="JPY", amount_minor=1500)
        an_order(wallet, currency="KWD", amount_minor=3070, is_live=True)
        page = finance.get(LIST).content.decode()
        for words in ("9.99 USD", "1,500 JPY", "3.070 KWD", "Test mode", "Live", "Waits for payment"):
            assert words in page

    def test_finds_by_ids_exactly(self, wallet: Wallet, finance: Client) -> None:
        found = an_order(wallet, payment_intent="pi_1", charge="ch_1", checkout_session="cs_test_1")
        an_order(wallet)
        TopUpRefund.objects.create(topup=found, stripe_id="re_1", amount_minor=1, state="pending", created_at=NOW, changed_at=NOW)
        for text in (str(found.pk), f"topup_{found.pk}", "pi_1", "ch_1", "cs_test_1", "re_1", " pi_1 "):
            assert listed(finance, f"q={text}") == [found.pk], text
        for text in ("pi_", "pi_2", "user_42", "topup_", "9" * 30, "re_2", "dp_1", "٣"):
            assert listed(finance, f"q={text}") == [], text

    def test_filters(self, wallet: Wallet, finance: Client) -> None:
        plain = an_order(wallet)
        other = an_order(
            a_wallet(a_caller(), "other"),
            now=NOW - timedelta(days=9),
            status=TopUpStatus.FAILED,
            channel=TopUpChannel.ADMIN,
            currency="EUR",
            is_live=True,
            is_suspicious=True,
        )
        a_pack(prices={"EUR": ("1", "1")})
        for query in (
            "status__exact=failed",
            "channel__exact=admin",
            "currency=EUR",
            "is_live__exact=1",
            "is_suspicious__exact=1",
            f"wallet__customer__id__exact={other.wallet.customer_id}",
            "created_at_to=2026-11-15",
        ):
            assert listed(finance, query) == [other.pk], query
        assert listed(finance, "created_at_from=2026-11-19") == [plain.pk]

    def test_is_a_file_too(self, wallet: Wallet, finance: Client) -> None:
        topup = an_order(wallet, currency="JPY", amount_minor=1500, reason="=1+1")
        response = finance.get(f"{LIST}export/?status__exact=open")
        text = b"".join(response).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text)))
        heading = next(row for row in rows if "Top-up" in row)
        row = dict(zip(heading, rows[-1], strict=True))
        told_there = [row[name] for name in ("Top-up", "Amount", "Currency", "Worth in the books", "Mode", "Reason")]
        assert told_there == [f"topup_{topup.pk}", "1500", "JPY", "9.99", "Test mode", "'=1+1"]

    def test_is_not_for_engineers(self, wallet: Wallet) -> None:
        engineer = signed_in(Role.ENGINEER)
        assert [engineer.get(where).status_code for where in (LIST, f"{LIST}export/")] == [403, 403]


class TestAnOrder:
    def test_shows_the_way_from_the_order_to_the_books(self, wallet: Wallet, finance: Client) -> None:
        topup = an_order(wallet, bonus_credits=Decimal(100), expires_after_days=30)
        told("payment_intent.succeeded", an_intent(topup))
        told("checkout.session.completed", a_session(topup))
        topup.refresh_from_db()
        TopUpRefund.objects.create(topup=topup, stripe_id="re_1", amount_minor=99, state="succeeded", created_at=NOW, changed_at=NOW)
        Dispute.objects.create(
            topup=topup,
            stripe_id="dp_1",
            amount_minor=900,
            currency="USD",
            stripe_status="needs_response",
            state="open",
            opened_at=NOW,
            changed_at=NOW,
            told_at=NOW,
        )
        assert topup.payment
        PlatformFee.objects.create(
            payment=topup.payment,
            balance_transaction="txn_1",
            amount_minor=59,
            currency="USD",
            kind="payment",
            happened_at=NOW,
            recorded_at=NOW,
        )
        page = finance.get(f"{LIST}{topup.pk}/change/").content.decode()
        for words in (
            f"topup_{topup.pk}",
            topup.checkout_session,
            f"ch_of_{topup.pk}",
            "Payment</a>",
            "re_1",
            "-0.99 USD",
            "dp_1",
            "-9.00 USD",
        ):
            assert words in page, words
        assert "txn_1" in page
        assert "0.59 USD" in page
        assert f"https://dashboard.stripe.com/test/payments/pi_of_{topup.pk}" in page
        steps = re.findall(r'<td data-label="Step"[^>]*><span>([^<]+)</span>', page)
        assert steps == ["Order", "Checkout session", "Payment intent", "Charge", "Payment", "Lot", "Lot", "Refund", "Dispute", "Fee"]

    def test_names_what_a_role_may_not_see_of_it(self, wallet: Wallet) -> None:
        topup = an_order(wallet, bonus_credits=Decimal(100))
        told("payment_intent.succeeded", an_intent(topup))
        topup.refresh_from_db()
        assert topup.payment
        facts = {"amount_minor": 99, "created_at": NOW, "changed_at": NOW}
        TopUpRefund.objects.create(topup=topup, stripe_id="re_1", state="succeeded", **facts)
        PlatformFee.objects.create(
            payment=topup.payment, balance_transaction="txn_1", amount_minor=59, currency="USD", kind="payment",
            happened_at=NOW, recorded_at=NOW,
        )  # fmt: skip
        seen = {
            role: signed_in(role).get(f"{LIST}{topup.pk}/change/").content.decode()
            for role in (Role.FINANCE, Role.SUPPORT, Role.PRODUCT_MANAGER)
        }
        shown = {role: {words for words in ("re_1", "txn_1", ">Payment</a>", "Lot ") if words in page} for role, page in seen.items()}
        assert shown == {
            Role.FINANCE: {"re_1", "txn_1", ">Payment</a>", "Lot "},
            Role.SUPPORT: {"re_1", ">Payment</a>", "Lot "},
            Role.PRODUCT_MANAGER: {"Lot "},
        }
        TopUpRefund.objects.create(topup=topup, state="requested", **facts)
        of_customer = reverse("admin:billing_customer_change", args=(wallet.customer.pk,))
        told_there = {
            role: "Disputes and refunds under way" in signed_in(role, name=f"{role} again").get(of_customer).content.decode()
            for role in seen
        }
        assert told_there == {Role.FINANCE: True, Role.SUPPORT: True, Role.PRODUCT_MANAGER: False}
        assert "Not shown" not in seen[Role.FINANCE]
        assert "your role does not view them: movements of our balance at Stripe, fees." in seen[Role.SUPPORT]
        assert "them: its payment, refunds, disputes, movements of our balance at Stripe, fees." in seen[Role.PRODUCT_MANAGER]

    def test_says_what_to_do_about_another_amount(self, wallet: Wallet, finance: Client) -> None:
        topup = an_order(wallet)
        told("checkout.session.completed", a_session(topup, amount_total=5))
        page = finance.get(f"{LIST}{topup.pk}/change/").content.decode()
        assert "0.05 USD came in and 9.99 USD was ordered" in page
        assert "decide whether the money goes back, or credits are given" in page

    def test_cannot_be_edited(self, wallet: Wallet, admin_client: Client) -> None:
        topup = an_order(wallet)
        assert admin_client.post(f"{LIST}{topup.pk}/change/", {"status": "paid"}).status_code == 403


class TestTheLink:
    ACTION = "billing_customer_topup_link"

    @pytest.fixture
    def customer(self, wallet: Wallet) -> Customer:
        a_pack(bonus="100", prices={"USD": ("9.99", "9.99"), "JPY": ("1500", "9.8")})
        a_pack("ended", active_until=NOW)
        return wallet.customer

    def test_offers_what_is_on_sale(self, customer: Customer, finance: Client) -> None:
        page = opened(finance, self.ACTION, customer)
        assert "1000 credits and 100 bonus credits, 9.99 USD" in page
        assert "1000 credits and 100 bonus credits, 1,500 JPY" in page
        assert "ended" not in page
        assert TopUp.objects.count() == 0

    def test_is_shown_once_and_can_be_paid(self, customer: Customer, finance: Client, stripe_desk: StripeDesk) -> None:
        response = send(finance, self.ACTION, customer, pack="starter-1000/JPY", amount="", reason="Asked by phone")
        topup = TopUp.objects.get()
        page = response.content.decode()
        assert f'value="{topup.url}"' in page
        assert "1,000 credits and 100 bonus credits" in page
        assert "1,500 JPY" in page
        assert "Test mode" in page
        assert (topup.channel, topup.actor, topup.reason) == (TopUpChannel.ADMIN, "user:finance", "Asked by phone")
        assert topup.success_url == "http://testserver/thanks"
        assert topup.url not in finance.get(reverse("admin:billing_customer_change", args=(customer.pk,))).content.decode()
        assert topup.url not in finance.get(f"{LIST}{topup.pk}/change/").content.decode()
        stripe_desk.pay(topup.checkout_session)

    def test_is_shown_without_htmx_as_well(self, customer: Customer, finance: Client, stripe_desk: StripeDesk) -> None:
        fields = {"pack": "", "amount": "12.34", "reason": "Asked"}
        page = finance.post(address(self.ACTION, customer), fields).content.decode()
        topup = TopUp.objects.get()
        assert (topup.credits, topup.pack) == (1234, None)
        assert f'value="{topup.url}"' in page
        assert "<html" in page

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"pack": "", "amount": "", "reason": "x"}, "Choose a pack"),
            ({"pack": "starter-1000/USD", "amount": "5", "reason": "x"}, "Choose a pack"),
            ({"pack": "ended/USD", "amount": "", "reason": "x"}, "Select a valid choice"),
            ({"pack": "", "amount": "5.001", "reason": "x"}, "more places than USD has"),
            ({"pack": "", "amount": "-5", "reason": "x"}, "greater than or equal"),
            ({"pack": "starter-1000/USD", "amount": "", "reason": ""}, "required"),
        ],
    )
    def test_is_refused_with_words(
        self, customer: Customer, finance: Client, stripe_desk: StripeDesk, fields: dict[str, Any], words: str
    ) -> None:
        assert words in send(finance, self.ACTION, customer, **fields).content.decode()
        assert TopUp.objects.count() == 0

    def test_says_that_stripe_is_not_set_up_or_away(
        self, customer: Customer, finance: Client, stripe_desk: StripeDesk, settings: Any
    ) -> None:
        fields = {"pack": "starter-1000/USD", "amount": "", "reason": "x"}
        stripe_desk.fail_next("500", times=2)
        assert "Stripe did not answer" in send(finance, self.ACTION, customer, **fields).content.decode()
        settings.STRIPE_API_KEY = ""
        assert "STRIPE_API_KEY" in send(finance, self.ACTION, customer, **fields).content.decode()

    @pytest.mark.parametrize("role", [Role.SUPPORT, Role.PRODUCT_MANAGER, Role.ENGINEER, None])
    def test_needs_its_permission(self, customer: Customer, role: Role | None) -> None:
        browser = signed_in(role)
        where = address(self.ACTION, customer)
        assert browser.post(where, {"pack": "starter-1000/USD", "reason": "x"}, headers=HTMX).status_code == 403
        assert browser.get(where).status_code == 403

    def test_leads_buyers_to_a_page_of_thanks(self, client: Client) -> None:
        page = client.get("/thanks")
        assert page.status_code == 200
        assert "Thank you for your payment" in page.content.decode()
        assert "admin" not in page.content.decode()
