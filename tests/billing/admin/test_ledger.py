"""The ledger in the admin: what an entry shows, and how one is found."""

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from billing.events import Charged
from billing.models import LedgerEntry, Wallet
from billing.services import charging, refunds
from config.roles import Role
from tests.billing.factories import NOW, a_caller, a_price, a_wallet, an_event
from tests.people import signed_in

pytestmark = pytest.mark.django_db

LIST = "admin:billing_ledgerentry_changelist"


@pytest.fixture
def finance(db: None) -> Client:
    return signed_in(Role.FINANCE)


@pytest.fixture
def charge() -> LedgerEntry:
    """A charge of 4, of which 1 was refunded, beside another customer's."""
    caller = a_caller()
    a_price("4")
    a_wallet(caller, credits="100")
    a_wallet(caller, "other", credits="100")
    [result, _] = charging.charge([an_event(caller, request_id="req_mine"), an_event(caller, customer="other")], now=NOW)
    assert isinstance(result, Charged)
    refunds.refund_event(caller=caller, record_id=result.record_id, credits=1, reason="Cut off", now=NOW)  # type: ignore[arg-type]
    return LedgerEntry.objects.get(transaction_id=result.record_id)


def found(browser: Client, **query: str) -> set[str]:
    page = browser.get(reverse(LIST), query).content.decode()
    return {str(entry.pk) for entry in LedgerEntry.objects.all() if f"/ledgerentry/{entry.pk}/change/" in page}


class TestSearch:
    def test_by_event_or_transaction_finds_the_charge_and_its_refund(self, finance: Client, charge: LedgerEntry) -> None:
        refund = charge.reversals.get()
        expected = {str(charge.pk), str(refund.pk)}
        assert found(finance, q=f"evt_{charge.usage_record_id}") == expected
        assert found(finance, q=str(charge.transaction_id)) == expected

    @pytest.mark.parametrize("text", ["evt_", "evt_999999", "9" * 40, "req_none", "٣"])
    def test_of_what_is_not_there_finds_nothing(self, finance: Client, charge: LedgerEntry, text: str) -> None:
        assert found(finance, q=text) == set()

    def test_by_request_looks_back_a_month_or_as_far_as_the_dates_say(self, finance: Client, charge: LedgerEntry) -> None:
        assert found(finance, q="req_mine", recorded_at_from="2026-11-01") == {str(charge.pk)}
        assert found(finance, q="req_mine", recorded_at_from="2026-11-21") == set()


class TestFilters:
    def test_by_customer_kind_and_model(self, finance: Client, charge: LedgerEntry) -> None:
        customer = str(charge.wallet.customer_id)
        mine = {str(pk) for pk in LedgerEntry.objects.filter(wallet=charge.wallet).values_list("pk", flat=True)}
        assert found(finance, wallet__customer__id__exact=customer) == mine
        assert found(finance, wallet__customer__id__exact=customer, kind__exact="charge") == {str(charge.pk)}
        assert found(finance, wallet__customer__id__exact="x") == set()
        assert found(finance, model="no-such-model") == set()


class TestEntry:
    def test_shows_its_posting_its_transaction_and_what_reverses_it(self, finance: Client, charge: LedgerEntry) -> None:
        page = finance.get(reverse("admin:billing_ledgerentry_change", args=(charge.pk,))).content.decode()
        for words in (
            "Deferred revenue",
            "Revenue",
            "0.04 USD",
            f"{charge.pk} (this one)",
            f"/usagerecord/{charge.usage_record_id}/change/",
        ):
            assert words in page
        assert f"/ledgerentry/{charge.reversals.get().pk}/change/" in page
        assert f"/lot/{charge.lot_id}/change/" in page

    def test_leads_from_a_deposit_to_its_payment(self, finance: Client, charge: LedgerEntry) -> None:
        deposit = LedgerEntry.objects.get(kind="deposit", wallet=charge.wallet)
        page = finance.get(reverse("admin:billing_ledgerentry_change", args=(deposit.pk,))).content.decode()
        assert f"/payment/{deposit.payment_id}/change/" in page


def test_the_list_asks_a_fixed_number_of_questions(admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    caller = a_caller()
    a_price("4")
    a_wallet(caller, credits="1000")
    charging.charge([an_event(caller) for _ in range(5)], now=NOW)
    admin_client.get(reverse(LIST))
    # Session, user, workspace twice (zone, currency), the entries, and the choices of two filters.
    with django_assert_num_queries(7):
        admin_client.get(reverse(LIST))
    charging.charge([an_event(caller) for _ in range(40)], now=NOW)
    with django_assert_num_queries(7):
        admin_client.get(reverse(LIST))
    assert Wallet.objects.get().balance == 1000 - 45 * 4
