"""Stripe's events about one order, in any order and any number: one deposit, and it is there whenever it was paid."""

from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import EntryKind, LedgerEntry, TopUp, TopUpStatus, Wallet
from tests.billing.factories import a_caller, a_wallet
from tests.billing.selling import a_session, an_intent, an_order, told

pytestmark = pytest.mark.django_db

UNPAID = {"payment_status": "unpaid"}
PAYING = ("completed", "succeeded", "async_succeeded")
OTHERS = ("unpaid", "async_failed", "expired", "declined", "canceled", "processing", "wrong")


def tell(topup: TopUp, what: str) -> None:
    failed = {"status": "requires_payment_method", "last_payment_error": {"message": "Declined."}}
    kind, about = {
        "completed": ("checkout.session.completed", a_session(topup)),
        "unpaid": ("checkout.session.completed", a_session(topup, **UNPAID)),
        "async_succeeded": ("checkout.session.async_payment_succeeded", a_session(topup)),
        "async_failed": ("checkout.session.async_payment_failed", a_session(topup, **UNPAID)),
        "expired": ("checkout.session.expired", a_session(topup, status="expired", **UNPAID)),
        "succeeded": ("payment_intent.succeeded", an_intent(topup)),
        "declined": ("payment_intent.payment_failed", an_intent(topup, **failed)),
        "canceled": ("payment_intent.canceled", an_intent(topup, status="canceled")),
        "processing": ("payment_intent.processing", an_intent(topup, status="processing")),
        "wrong": ("payment_intent.succeeded", an_intent(topup, amount_received=topup.amount_minor - 1)),
    }[what]
    told(kind, about)


@pytest.fixture
def wallet(db: None) -> Wallet:
    return a_wallet(a_caller())


class TestOneOrder:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from(PAYING + OTHERS), max_size=8), st.sampled_from(["new", "open"]))
    def test_is_deposited_once_if_it_was_paid(self, wallet: Wallet, events: list[str], first: str) -> None:
        with transaction.atomic():
            number = LedgerEntry.objects.count()
            topup = an_order(wallet, status=first, bonus_credits=Decimal(10))
            reached: list[str] = []
            for event in events:
                tell(topup, event)
                topup.refresh_from_db()
                reached.append(topup.status)
            is_wrong_first = "wrong" in events and not set(events[: events.index("wrong")]) & set(PAYING)
            is_paid = bool(set(events) & set(PAYING)) and not is_wrong_first
            kinds = [entry.kind for entry in LedgerEntry.objects.filter(wallet=wallet).order_by("pk")][number:]
            assert kinds == ([EntryKind.DEPOSIT, EntryKind.GRANT] if is_paid else [])
            assert (topup.status == TopUpStatus.PAID) == is_paid
            assert (topup.status == TopUpStatus.MISMATCH) == is_wrong_first
            if TopUpStatus.PAID in reached:
                assert set(reached[reached.index(TopUpStatus.PAID) :]) == {TopUpStatus.PAID}
            transaction.set_rollback(True)
