"""What may be done to a wallet in the admin: by whom, once, and what is refused with words instead of an error."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from billing.models import EntryKind, LedgerEntry, Wallet, WalletStatus
from config.roles import Role
from tests.billing.admin.dialogs import HTMX, address, opened, send, went_through
from tests.billing.factories import a_caller, a_wallet
from tests.people import signed_in

pytestmark = pytest.mark.django_db

ACTIONS: dict[str, dict[str, Any]] = {
    "grant_credits": {"credits": "25", "reason": "Welcome"},
    "adjust_wallet": {"credits": "-5", "reason": "Booked twice"},
    "transfer_credits": {"credits": "10", "to": "user_43", "reason": "Same company"},
    "set_overdraft_limit": {"limit": "50", "reason": "Good customer"},
    "set_low_balance": {"threshold": "20", "reason": "Asked for it"},
    "freeze_wallet": {"reason": "Chargeback"},
    "release_wallet": {"reason": "Cleared"},
}


@pytest.fixture
def wallet() -> Wallet:
    caller = a_caller()
    a_wallet(caller, "user_43")
    return a_wallet(caller, credits="100")


@pytest.fixture
def finance(db: None) -> Client:
    return signed_in(Role.FINANCE)


def after(wallet: Wallet) -> Wallet:
    return Wallet.objects.get(pk=wallet.pk)


def told(response: Any) -> str:
    assert response.status_code == 200
    assert "HX-Redirect" not in response.headers
    return str(response.content.decode())


class TestWithoutHtmx:
    def test_the_bare_address_leads_to_the_customer(self, finance: Client, wallet: Wallet) -> None:
        where = address("billing_customer_grant_credits", wallet.customer)
        page = finance.get(where, follow=True)
        assert page.status_code == 200
        assert page.redirect_chain[-1][0] == f"/admin/billing/customer/{wallet.customer_id}/change/"

    def test_success_ends_on_the_customers_page(self, finance: Client, wallet: Wallet) -> None:
        page = finance.post(address("billing_customer_grant_credits", wallet.customer), ACTIONS["grant_credits"], follow=True)
        assert page.redirect_chain[-1][0] == f"/admin/billing/customer/{wallet.customer_id}/change/"
        assert "25 credits were granted" in page.content.decode()
        assert after(wallet).balance == Decimal(125)

    def test_a_refusal_is_shown_on_a_page_of_its_own(self, finance: Client, wallet: Wallet) -> None:
        page = finance.post(address("billing_customer_grant_credits", wallet.customer), {"credits": "25"})
        assert page.status_code == 200
        assert "This field is required" in page.content.decode()
        assert "<title>Grant credits" in " ".join(page.content.decode().split()).replace("<title> ", "<title>")
        assert after(wallet).balance == Decimal(100)


class TestPermission:
    @pytest.mark.parametrize("action", ACTIONS)
    @pytest.mark.parametrize("role", [Role.SUPPORT, Role.PRODUCT_MANAGER, Role.ENGINEER, None])
    def test_is_asked_on_the_server(self, wallet: Wallet, action: str, role: Role | None) -> None:
        entries = LedgerEntry.objects.count()
        browser = signed_in(role)
        where = address(f"billing_customer_{action}", wallet.customer)
        assert browser.post(where, ACTIONS[action]).status_code == 403
        assert browser.get(where).status_code == 403
        assert LedgerEntry.objects.count() == entries
        assert after(wallet).history.count() == 1

    def test_asks_for_a_csrf_token(self, wallet: Wallet, finance: Client) -> None:
        finance.handler.enforce_csrf_checks = True
        assert finance.post(address("billing_customer_grant_credits", wallet.customer), ACTIONS["grant_credits"]).status_code == 403

    @pytest.mark.parametrize("action", ACTIONS)
    def test_opening_a_dialog_changes_nothing(self, wallet: Wallet, finance: Client, action: str) -> None:
        before = after(wallet)
        finance.get(address(f"billing_customer_{action}", wallet.customer), ACTIONS[action])
        assert (after(wallet).balance, after(wallet).status, LedgerEntry.objects.count()) == (before.balance, before.status, 1)


class TestGrant:
    def test_gives_credits_by_name_and_with_a_reason(self, wallet: Wallet, finance: Client) -> None:
        response = send(finance, "billing_customer_grant_credits", wallet.customer, credits="25.5", reason="Welcome")
        assert went_through(response)
        entry = LedgerEntry.objects.get(kind=EntryKind.GRANT)
        assert (entry.credits, entry.actor, entry.reason) == (Decimal("25.5"), "user:finance", "Welcome")
        assert after(wallet).balance == Decimal("125.5")

    def test_takes_an_expiry_in_the_workspaces_time(self, wallet: Wallet, finance: Client) -> None:
        tomorrow = timezone.localtime() + timedelta(days=1)
        given = {"credits": "5", "reason": "Trial", "expires_at": f"{tomorrow:%Y-%m-%dT%H:%M}"}
        assert went_through(send(finance, "billing_customer_grant_credits", wallet.customer, **given))
        assert LedgerEntry.objects.get(kind=EntryKind.GRANT).lot.expires_at == tomorrow.replace(second=0, microsecond=0)

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"credits": "", "reason": "x"}, "required"),
            ({"credits": "0", "reason": "x"}, "greater than or equal"),
            ({"credits": "-1", "reason": "x"}, "greater than or equal"),
            ({"credits": "0.0000001", "reason": "x"}, "decimal places"),
            ({"credits": "9" * 30, "reason": "x"}, "digits"),
            ({"credits": "NaN", "reason": "x"}, "number"),
            ({"credits": "1", "reason": ""}, "required"),
            ({"credits": "1", "reason": "x", "expires_at": "2020-01-01T10:00"}, "past"),
        ],
    )
    def test_refuses_with_words(self, wallet: Wallet, finance: Client, fields: dict[str, str], words: str) -> None:
        assert words in told(send(finance, "billing_customer_grant_credits", wallet.customer, **fields))
        assert after(wallet).balance == 100

    def test_is_done_once_however_often_it_is_sent(self, wallet: Wallet, finance: Client) -> None:
        opened(finance, "billing_customer_grant_credits", wallet.customer)
        fields = {"once": "the-same-dialog", "credits": "25", "reason": "Welcome"}
        where = address("billing_customer_grant_credits", wallet.customer)
        assert went_through(finance.post(where, fields, headers=HTMX))
        assert "sent already" in told(finance.post(where, fields, headers=HTMX))
        assert LedgerEntry.objects.filter(kind=EntryKind.GRANT).count() == 1

    def test_can_be_sent_again_after_it_was_refused(self, wallet: Wallet, finance: Client) -> None:
        fields = {"once": "one", "credits": "-500", "reason": "Too much"}
        where = address("billing_customer_adjust_wallet", wallet.customer)
        page = told(finance.post(where, fields, headers=HTMX))
        assert 'value="one"' not in page
        assert "are free" in page


class TestAdjust:
    def test_takes_and_adds(self, wallet: Wallet, finance: Client) -> None:
        assert went_through(send(finance, "billing_customer_adjust_wallet", wallet.customer, credits="-30", reason="Booked twice"))
        assert went_through(send(finance, "billing_customer_adjust_wallet", wallet.customer, credits="5", reason="Too much taken"))
        assert after(wallet).balance == 75

    def test_refuses_more_than_is_free_and_zero(self, wallet: Wallet, finance: Client) -> None:
        page = told(send(finance, "billing_customer_adjust_wallet", wallet.customer, credits="-100.5", reason="x"))
        assert "100 are free" in page
        assert "changes nothing" in told(send(finance, "billing_customer_adjust_wallet", wallet.customer, credits="0", reason="x"))


class TestTransfer:
    def test_moves_credits_to_another_customer(self, wallet: Wallet, finance: Client) -> None:
        assert went_through(send(finance, "billing_customer_transfer_credits", wallet.customer, **ACTIONS["transfer_credits"]))
        assert after(wallet).balance == 90
        assert Wallet.objects.get(customer__external_id="user_43").balance == 10

    def test_refuses_an_unknown_customer_and_the_customer_itself(self, wallet: Wallet, finance: Client) -> None:
        fields = {"credits": "10", "reason": "x"}
        assert "no such customer" in told(send(finance, "billing_customer_transfer_credits", wallet.customer, to="nobody", **fields))
        assert "another wallet" in told(send(finance, "billing_customer_transfer_credits", wallet.customer, to="user_42", **fields))


class TestLimitsAndStatus:
    def test_keep_who_and_why(self, wallet: Wallet, finance: Client) -> None:
        for action in ("set_overdraft_limit", "set_low_balance", "freeze_wallet"):
            assert went_through(send(finance, f"billing_customer_{action}", wallet.customer, **ACTIONS[action]))
        now = after(wallet)
        assert (now.overdraft_limit, now.low_balance_threshold, now.status) == (50, 20, WalletStatus.FROZEN)
        reasons = [(row.history_change_reason, row.history_user.username) for row in now.history.all()[:3]]
        assert reasons == [("Chargeback", "finance"), ("Asked for it", "finance"), ("Good customer", "finance")]

    def test_release_lets_the_wallet_pay_again(self, wallet: Wallet, finance: Client) -> None:
        send(finance, "billing_customer_freeze_wallet", wallet.customer, reason="Chargeback")
        assert went_through(send(finance, "billing_customer_release_wallet", wallet.customer, reason="Cleared"))
        assert after(wallet).status == WalletStatus.ACTIVE

    def test_an_empty_low_balance_means_never(self, wallet: Wallet, finance: Client) -> None:
        send(finance, "billing_customer_set_low_balance", wallet.customer, threshold="20", reason="x")
        assert went_through(send(finance, "billing_customer_set_low_balance", wallet.customer, threshold="", reason="x"))
        assert after(wallet).low_balance_threshold is None

    def test_the_page_offers_only_what_applies(self, wallet: Wallet, finance: Client) -> None:
        page = finance.get(address("billing_customer_change", wallet.customer)).content.decode()
        assert "Freeze wallet" in page
        assert "Release wallet" not in page
