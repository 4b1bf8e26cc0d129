"""Requests in the admin: asked for by the buttons of a customer, seen by whoever sees wallets, decided by another person."""

import re
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from billing.models import LedgerEntry, MovementRequest, RequestState, UsageRecord, Wallet
from billing.queries import badges
from billing.services import charging, ledger
from config.roles import Role
from pricing.models import Workspace
from tests.billing.admin.dialogs import address, opened, send, went_through
from tests.billing.factories import NOW, a_caller, a_price, a_wallet, an_event
from tests.people import signed_in

pytestmark = pytest.mark.django_db
LIST = "admin:billing_movementrequest_changelist"
PAGE = "admin:billing_movementrequest_change"


@pytest.fixture
def wallet() -> Wallet:
    Workspace.objects.update_or_create(pk=1, defaults={"approval_limit_credits": Decimal(100)})
    caller = a_caller()
    a_price("150")
    a_wallet(caller, "user_43")
    wallet = a_wallet(caller, credits="1000")
    charging.charge([an_event(caller)], now=NOW)
    return wallet


@pytest.fixture
def fiona(db: None) -> Client:
    return signed_in(Role.FINANCE, name="fiona")


@pytest.fixture
def ada(db: None) -> Client:
    return signed_in(Role.ADMINISTRATOR, name="ada")


def balance() -> Decimal:
    return Decimal(Wallet.objects.get(customer__external_id="user_42").balance)


def asked(browser: Client, wallet: Wallet, credits: str = "500") -> MovementRequest:
    assert went_through(send(browser, "billing_customer_grant_credits", wallet.customer, credits=credits, reason="Renewal"))
    return MovementRequest.objects.latest("pk")


def seen(browser: Client, name: str, *args: Any, **query: str) -> str:
    response = browser.get(reverse(name, args=args), query)
    assert response.status_code == 200
    return re.sub(r"\s+", " ", response.content.decode())


class TestAsking:
    @pytest.mark.parametrize(
        ("action", "fields"),
        [
            ("grant_credits", {"credits": "101"}),
            ("adjust_wallet", {"credits": "-101"}),
            ("transfer_credits", {"credits": "101", "to": "user_43"}),
        ],
    )
    def test_what_is_above_the_limit_waits_and_says_so(self, wallet: Wallet, fiona: Client, action: str, fields: dict[str, str]) -> None:
        assert went_through(send(fiona, f"billing_customer_{action}", wallet.customer, reason="Renewal", **fields))
        page = seen(fiona, "admin:billing_customer_change", wallet.customer_id)
        assert "101 credits are above what one person may move. Nothing has moved yet: the request waits for a second person." in page
        assert "Waiting for a second person" in page
        assert ("-101" in page, balance()) == (action != "grant_credits", 850)
        assert not LedgerEntry.objects.filter(actor="user:fiona").exists()

    def test_a_refund_of_a_charge_above_the_limit_waits(self, wallet: Wallet, fiona: Client) -> None:
        record = UsageRecord.objects.get()
        assert went_through(send(fiona, "billing_usagerecord_refund_charge", record, credits="", reason="Cut off"))
        request = MovementRequest.objects.get()
        assert (request.kind, request.credits, request.usage_record_id, balance()) == ("refund", 150, record.pk, 850)

    def test_the_dialog_says_from_how_many_on_before_they_are_typed(self, wallet: Wallet, fiona: Client) -> None:
        where = ("billing_customer_grant_credits", wallet.customer)
        assert "Above 100 credits within 24 hours it waits for a second person." in opened(fiona, *where)
        send(fiona, *where, credits="60", reason="Welcome")
        assert "Above 40 credits it waits for a second person" in opened(fiona, *where)
        send(fiona, *where, credits="40", reason="Welcome")
        assert "You have moved your 100 credits" in opened(fiona, *where)

    def test_what_cannot_be_done_is_refused_and_not_asked_for(self, wallet: Wallet, fiona: Client) -> None:
        response = send(fiona, "billing_customer_adjust_wallet", wallet.customer, credits="-851", reason="x")
        assert "850 are free" in response.content.decode()
        assert not MovementRequest.objects.exists()

    def test_internal_usage_has_nothing_to_refund(self, wallet: Wallet, fiona: Client) -> None:
        internal = an_event(a_caller(), customer=None)
        [result] = charging.charge([internal], now=NOW)
        row = UsageRecord.objects.get(pk=result.record_id)  # type: ignore[union-attr]
        assert "internal usage" in send(fiona, "billing_usagerecord_refund_charge", row, credits="", reason="x").content.decode()


class TestPage:
    def test_says_what_would_happen_to_the_wallet(self, wallet: Wallet, fiona: Client, ada: Client) -> None:
        request = asked(fiona, wallet)
        page = seen(ada, PAGE, request.pk)
        for words in ("850", "500", "1,350", "Renewal", "fiona", "100 credits on a wallet within 24 hours; fiona had moved nothing"):
            assert words in page
        assert reverse("admin:billing_customer_change", args=(wallet.customer_id,)) in page
        assert "It would be refused now" not in page

    def test_says_what_stands_in_the_way(self, wallet: Wallet, fiona: Client, ada: Client) -> None:
        send(fiona, "billing_customer_adjust_wallet", wallet.customer, credits="-800", reason="Booked twice")
        ledger.adjust(wallet_id=wallet.pk, credits=Decimal(-100), reason="Spent", actor="system:tests", now=NOW)
        request = MovementRequest.objects.get()
        assert "It would be refused now: 800 credits were asked for and 750 are free." in seen(ada, PAGE, request.pk)
        answer = send(ada, "billing_movementrequest_approve", request, reason="Fine").content.decode()
        assert "750 are free" in answer
        request.refresh_from_db()
        assert request.state == RequestState.REQUESTED

    def test_offers_a_decision_to_others_and_the_withdrawal_to_its_author(self, wallet: Wallet, fiona: Client, ada: Client) -> None:
        request = asked(fiona, wallet)
        steps = ("approve", "reject", "withdraw")
        offered = {
            name: [step for step in steps if address(f"billing_movementrequest_{step}", request) in seen(browser, PAGE, request.pk)]
            for name, browser in (("author", fiona), ("other", ada), ("support", signed_in(Role.SUPPORT)))
        }
        assert offered == {"author": ["withdraw"], "other": ["approve", "reject"], "support": []}
        send(ada, "billing_movementrequest_approve", request, reason="Fine")
        assert not any(address(f"billing_movementrequest_{step}", request) in seen(ada, PAGE, request.pk) for step in steps)

    def test_shows_what_it_became(self, wallet: Wallet, fiona: Client, ada: Client) -> None:
        request = asked(fiona, wallet)
        assert went_through(send(ada, "billing_movementrequest_approve", request, reason="As agreed"))
        entry = LedgerEntry.objects.get(kind="grant")
        page = seen(fiona, PAGE, request.pk)
        for words in ("As agreed", "ada", "Approved", reverse("admin:billing_ledgerentry_change", args=(entry.pk,)), "1,350"):
            assert words in page
        assert "ada" in seen(fiona, "admin:billing_ledgerentry_change", entry.pk)


class TestDeciding:
    def test_is_refused_to_the_author_on_the_server(self, wallet: Wallet, fiona: Client) -> None:
        request = asked(fiona, wallet)
        answer = fiona.post(address("billing_movementrequest_approve", request), {"reason": "Mine"}).content.decode()
        assert "another person decides" in answer
        assert balance() == 850

    @pytest.mark.parametrize("step", ["approve", "reject"])
    @pytest.mark.parametrize("role", [Role.SUPPORT, Role.PRODUCT_MANAGER, Role.ENGINEER, None])
    def test_is_for_those_who_decide(self, wallet: Wallet, fiona: Client, role: Role | None, step: str) -> None:
        request = asked(fiona, wallet)
        where = address(f"billing_movementrequest_{step}", request)
        browser = signed_in(role)
        assert (browser.post(where, {"reason": "x"}).status_code, browser.get(where).status_code) == (403, 403)
        request.refresh_from_db()
        assert request.state == RequestState.REQUESTED

    def test_rejected_and_withdrawn_move_nothing(self, wallet: Wallet, fiona: Client, ada: Client) -> None:
        first, second = asked(fiona, wallet), asked(fiona, wallet)
        assert went_through(send(ada, "billing_movementrequest_reject", first, reason="Too much"))
        assert went_through(send(fiona, "billing_movementrequest_withdraw", second, reason="Mistake"))
        assert "withdrawn meanwhile" in send(ada, "billing_movementrequest_approve", second, reason="Fine").content.decode()
        assert "Only fiona" in send(ada, "billing_movementrequest_withdraw", asked(fiona, wallet), reason="x").content.decode()
        assert balance() == 850

    def test_asks_why(self, wallet: Wallet, fiona: Client, ada: Client) -> None:
        assert "required" in send(ada, "billing_movementrequest_approve", asked(fiona, wallet), reason="").content.decode()


class TestList:
    def test_shows_what_waits_first_and_filters(self, wallet: Wallet, fiona: Client, ada: Client) -> None:
        waiting, decided = asked(fiona, wallet, "501"), asked(fiona, wallet, "502")
        send(ada, "billing_movementrequest_reject", decided, reason="x")
        page = seen(ada, LIST)
        assert page.index(f"/{waiting.pk}/change/") < page.index(f"/{decided.pk}/change/")
        page = seen(ada, LIST, state__exact="rejected", wallet__customer__id__exact=str(wallet.customer_id))
        assert (f"/{waiting.pk}/change/" in page, f"/{decided.pk}/change/" in page) == (False, True)

    def test_counts_what_waits_in_the_menu(self, wallet: Wallet, fiona: Client) -> None:
        cache.clear()
        assert badges.waiting_movements() == ""
        asked(fiona, wallet)
        cache.clear()
        assert badges.waiting_movements() == "1"
        cache.clear()

    @pytest.mark.parametrize("query", [{"wallet__customer__id__exact": "x"}, {"state__exact": "lost"}, {"requested_at_from": "x"}])
    def test_strange_filters_break_nothing(self, wallet: Wallet, ada: Client, query: dict[str, str]) -> None:
        assert ada.get(reverse(LIST), query, follow=True).status_code == 200

    @pytest.mark.parametrize("number", ["0", "x", "9" * 30])
    def test_strange_requests_are_not_found(self, wallet: Wallet, ada: Client, number: str) -> None:
        for where in (reverse(PAGE, args=(number,)), f"/admin/billing/movementrequest/{number}/approve"):
            assert ada.get(where, follow=True, headers={"HX-Request": "true"}).status_code in {200, 404}


class TestLimits:
    def test_say_who_changed_them_last(self, ada: Client, wallet: Wallet) -> None:
        where = reverse("admin:pricing_workspace_change", args=(1,))
        told = "in the book currency, need a second person. Changed from 100 by ada on"
        assert told not in seen(ada, "admin:pricing_workspace_change", 1)
        form = ada.get(where).context["adminform"].form
        values = {name: form.initial.get(name, "") for name in form.fields} | {"refund_limit": "2500", "change_reason": "Large packs"}
        values = {name: value for name, value in values.items() if value not in {False, None}}
        assert ada.post(where, values).status_code == 302
        assert told in seen(ada, "admin:pricing_workspace_change", 1)
        assert "Large packs" in seen(signed_in(Role.PRODUCT_MANAGER), "admin:pricing_workspace_change", 1)
