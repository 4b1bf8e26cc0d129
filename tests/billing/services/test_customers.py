"""Customers and their wallets: made together, changed with a trace."""

from decimal import Decimal

import pytest

from billing.errors import UnknownCustomer
from billing.models import Environment, Lot, Wallet
from billing.services import customers
from tests.billing.factories import NOW, ProjectFactory, a_caller, a_price, a_wallet
from tests.worked_examples.books import charged

pytestmark = pytest.mark.django_db


class TestUpsert:
    def test_makes_a_customer_with_an_empty_wallet(self) -> None:
        done = customers.upsert(caller=a_caller(), external_id="user_42", changes={"name": "Ann"}, now=NOW)
        assert (done.is_new, done.customer.name, done.customer.wallet.balance) == (True, "Ann", 0)

    def test_changes_only_what_is_given_and_keeps_the_history(self) -> None:
        caller = a_caller()
        customers.upsert(caller=caller, external_id="user_42", changes={"name": "Ann", "plan": "pro"}, now=NOW)
        done = customers.upsert(caller=caller, external_id="user_42", changes={"plan": "free"}, now=NOW)
        assert (done.is_new, done.customer.name, done.customer.plan) == (False, "Ann", "free")
        newest = done.customer.history.first()
        assert newest is not None
        assert newest.history_change_reason == "by system:tests"
        assert done.customer.history.count() == 2

    def test_the_same_again_leaves_no_trace(self) -> None:
        caller = a_caller()
        for _ in range(3):
            done = customers.upsert(caller=caller, external_id="user_42", changes={"name": "Ann"}, now=NOW)
        assert done.customer.history.count() == 1

    def test_environments_are_apart(self) -> None:
        project = ProjectFactory.create()
        for environment in (Environment.PRODUCTION, Environment.STAGING):
            assert customers.upsert(caller=a_caller(project, environment=environment), external_id="user_42", changes={}, now=NOW).is_new
        assert Wallet.objects.count() == 2
        with pytest.raises(UnknownCustomer):
            customers.get(caller=a_caller(project, environment=Environment.EVALUATION), external_id="user_42")


class TestOverdraftLimit:
    def test_a_lower_one_leaves_what_is_owed(self) -> None:
        caller = a_caller()
        a_price("4")
        wallet = a_wallet(caller)
        customers.set_overdraft_limit(wallet_id=wallet.pk, limit=Decimal(10), reason="Known", now=NOW)
        charged(caller)
        customers.set_overdraft_limit(wallet_id=wallet.pk, limit=Decimal(0), reason="Not paying", now=NOW)
        debt = Lot.objects.get(wallet=wallet)
        assert (debt.remaining, debt.credit_limit) == (-4, 4)
