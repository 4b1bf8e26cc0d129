"""Auto top-up in the admin: set up, changed, stopped and started again by those who may, with words for what is refused."""

from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from billing.models import AutoTopUp, AutoTopUpState, StripeCustomer, Wallet
from billing.queries import badges
from config.roles import Role
from tests.billing import saving
from tests.billing.admin.dialogs import HTMX, address, opened, send, went_through
from tests.billing.factories import NOW, a_caller, a_wallet
from tests.billing.selling import a_pack
from tests.people import signed_in
from tests.stripe_desk import StripeDesk

pytestmark = pytest.mark.django_db
TERMS = {"threshold": "100", "pack": "", "amount": "10", "day_cap": "30", "month_cap": "100", "reason": "Asked for it"}
ACTIONS: dict[str, dict[str, str]] = {
    "set_up_auto_topup": TERMS,
    "change_auto_topup": TERMS,
    "stop_auto_topup": {"reason": "Enough"},
    "start_auto_topup": {"reason": "A new card"},
    "card_link": {},
}


@pytest.fixture
def wallet() -> Wallet:
    return a_wallet(a_caller(), credits="1000")


@pytest.fixture
def finance(db: None) -> Client:
    return signed_in(Role.FINANCE)


def page(browser: Client, wallet: Wallet) -> str:
    return browser.get(reverse("admin:billing_customer_change", args=[wallet.customer_id])).content.decode()


def test_is_set_up_changed_stopped_and_started_again(wallet: Wallet, finance: Client) -> None:
    a_pack()
    assert "stop_auto_topup" not in page(finance, wallet)
    assert went_through(send(finance, "billing_customer_set_up_auto_topup", wallet.customer, **TERMS))
    auto = AutoTopUp.objects.get()
    assert (auto.state, auto.threshold, auto.amount_minor, auto.day_cap_minor) == (AutoTopUpState.WAITING, 100, 1000, 3000)
    assert (auto.set_up_by, auto.history.get().history_change_reason) == ("user:finance", "Asked for it")
    shown = page(finance, wallet)
    for words in ("Waits for a card", "0.00 of 30.00 USD", "None yet: make a link to save one", "change_auto_topup", "stop_auto_topup"):
        assert words in shown
    assert "set_up_auto_topup" not in shown
    change = "billing_customer_change_auto_topup"
    assert 'value="30"' in opened(finance, change, wallet.customer)
    assert went_through(send(finance, change, wallet.customer, **TERMS | {"pack": "starter-1000/USD", "amount": "", "threshold": "50"}))
    auto.refresh_from_db()
    assert (str(auto.pack), auto.amount_minor, auto.threshold) == ("1000 credits", None, 50)
    assert went_through(send(finance, "billing_customer_stop_auto_topup", wallet.customer, reason="Enough"))
    assert "Switched off" in page(finance, wallet)
    assert went_through(send(finance, "billing_customer_start_auto_topup", wallet.customer, reason="Wanted again"))
    assert saving.again(wallet).state == AutoTopUpState.WAITING


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"amount": ""}, "Choose a pack"),
        ({"day_cap": "9.99"}, "It must be at least 10 USD"),
        ({"month_cap": "20"}, "must be at least the cap of a day"),
        ({"amount": "0.001"}, "more places"),
        ({"day_cap": "NaN"}, "Enter a number"),
        ({"pack": "gone/USD", "amount": ""}, "Select a valid choice"),
        ({"reason": ""}, "required"),
    ],
)
def test_what_makes_no_sense_is_refused_with_words(wallet: Wallet, finance: Client, wrong: dict[str, str], words: str) -> None:
    answer: Any = send(finance, "billing_customer_set_up_auto_topup", wallet.customer, **TERMS | wrong)
    assert (answer.status_code, words in answer.content.decode()) == (200, True)
    assert not AutoTopUp.objects.exists()


def test_without_one_there_is_nothing_to_stop(wallet: Wallet, finance: Client) -> None:
    answer = send(finance, "billing_customer_stop_auto_topup", wallet.customer, reason="x")
    assert "set it up first" in answer.content.decode()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("role", [Role.SUPPORT, Role.PRODUCT_MANAGER, Role.ENGINEER])
def test_asks_for_the_permission_on_the_server(wallet: Wallet, action: str, role: Role) -> None:
    browser = signed_in(role)
    where = address(f"billing_customer_{action}", wallet.customer)
    assert {browser.post(where, ACTIONS[action]).status_code, browser.get(where, headers=HTMX).status_code} == {403}
    assert not AutoTopUp.objects.exists()


def test_a_link_to_save_a_card_is_shown_once(wallet: Wallet, finance: Client, stripe_desk: StripeDesk) -> None:
    answer = send(finance, "billing_customer_card_link", wallet.customer)
    assert f"{stripe_desk.base}/pay/cs_test_" in answer.content.decode()
    assert "Test mode" in answer.content.decode()
    assert StripeCustomer.objects.get().customer == wallet.customer


def test_without_stripe_a_link_is_refused_with_words(wallet: Wallet, finance: Client, settings: Any) -> None:
    settings.STRIPE_API_KEY = ""
    assert "set STRIPE_API_KEY" in send(finance, "billing_customer_card_link", wallet.customer).content.decode()


def test_the_list_finds_what_stopped_and_leads_to_the_customer(wallet: Wallet, finance: Client) -> None:
    other = a_wallet(a_caller(), "user_43")
    saving.an_auto_topup(wallet)
    saving.an_auto_topup(other, amount=Decimal(20))
    AutoTopUp.objects.filter(wallet=other).update(state="stopped", why="4 declines in a row", next_attempt_at=NOW)
    stopped = finance.get(reverse("admin:billing_autotopup_changelist"), {"state__exact": "stopped"}).content.decode()
    assert "4 declines in a row" in stopped
    assert reverse("admin:billing_customer_change", args=[other.customer_id]) in stopped
    assert reverse("admin:billing_customer_change", args=[wallet.customer_id]) not in stopped
    cache.clear()
    assert badges.stopped_auto_topups() == "1"


def test_whoever_saved_a_card_is_thanked(client: Client) -> None:
    assert "Your card is saved" in client.get("/saved").content.decode()
