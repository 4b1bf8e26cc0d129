"""The book currency stays once something is booked in it, whoever asks for another."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connection, transaction

from billing.models import LedgerEntry
from config.roles import Role
from pricing.models import Workspace
from tests.billing.factories import a_caller, a_wallet
from tests.people import signed_in

PAGE = "/admin/pricing/workspace/1/change/"


def change_currency() -> int:
    try:
        return Workspace.objects.update(currency="EUR")
    finally:
        if not connection.in_atomic_block:
            connection.close()


def is_anybody_waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'billing_ledgerentry'::regclass)")
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db
class TestBookCurrency:
    def test_may_change_while_nothing_is_booked(self) -> None:
        a_wallet(a_caller())
        assert change_currency() == 1

    def test_stays_once_something_is(self) -> None:
        a_wallet(a_caller(), credits="10")
        with pytest.raises(IntegrityError, match="The book currency stays USD: the ledger has entries in it"), transaction.atomic():
            change_currency()
        assert Workspace.objects.update(currency="USD", name="Acme") == 1

    def test_is_read_only_on_its_page_which_says_why(self) -> None:
        finance = signed_in(Role.FINANCE)
        page = finance.get(PAGE).content.decode()
        assert ('name="currency"' in page, "It stays: the ledger has entries" in page) == (True, False)
        a_wallet(a_caller(), credits="10")
        page = finance.get(PAGE).content.decode()
        assert ('name="currency"' in page, "It stays: the ledger has entries" in page) == (False, True)


@pytest.mark.django_db(transaction=True)
def test_whoever_writes_the_first_entry_is_waited_for() -> None:
    Workspace.objects.get_or_create()  # an earlier test may have emptied its table
    caller = a_caller()
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            a_wallet(caller, credits="10")
            changed = pool.submit(change_currency)
            while not is_anybody_waiting():
                assert not changed.done()
                time.sleep(0.01)
        with pytest.raises(IntegrityError, match="The book currency stays USD"):
            changed.result()
    assert (LedgerEntry.objects.count(), Workspace.objects.get().currency) == (1, "USD")
