"""Breaks are found once, closed when they vanish, and opened again when they come back or change."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, transaction

from billing.balance import movement
from billing.models import TopUp
from billing.services import settlements
from config.roles import Role
from reports import breaks
from reports.breaks import BreakChanged, BreakIsGone
from reports.models import BreakState, ReconciliationBreak, ReconciliationSignOff
from tests import stripe_objects
from tests.billing.factories import a_caller, a_wallet
from tests.billing.topups import NOW, a_paid_topup
from tests.people import a_person

pytestmark = pytest.mark.django_db(transaction=True)

LATER = NOW + timedelta(days=4)


@pytest.fixture
def topup() -> TopUp:
    """A top-up that Stripe has not booked after four days: one break."""
    return a_paid_topup(a_wallet(a_caller()))


def book(topup: TopUp, amount: int = 500) -> None:
    told = stripe_objects.balance_transaction(source=topup.charge, amount=amount, fee=0, net=amount, created=int(NOW.timestamp()))
    settlements.keep([movement(told)], now=LATER)


class TestFinding:
    def test_opens_a_break_once(self, topup: TopUp) -> None:
        assert breaks.find(now=NOW).there == 0
        assert breaks.find(now=LATER) == breaks.Found(1, 1, 0)
        assert breaks.find(now=LATER) == breaks.Found(1, 0, 0)
        broken = ReconciliationBreak.objects.get()
        assert (broken.kind, broken.subject, broken.amount_minor, broken.topup) == ("unknown_at_stripe", f"top-up {topup.pk}", 500, topup)

    def test_closes_one_that_vanished(self, topup: TopUp) -> None:
        breaks.find(now=LATER)
        book(topup)
        assert breaks.find(now=LATER) == breaks.Found(0, 0, 1)
        broken = ReconciliationBreak.objects.get()
        assert (broken.state, broken.closed_at) == (BreakState.RESOLVED, LATER)
        with pytest.raises(BreakIsGone):
            breaks.explain(broken=broken, seen_minor=500, explanation="Late", actor=a_person())

    def test_opens_the_same_row_again(self, topup: TopUp) -> None:
        breaks.find(now=LATER)
        ReconciliationBreak.objects.update(state=BreakState.RESOLVED, closed_at=NOW)
        assert breaks.find(now=LATER) == breaks.Found(1, 1, 0)
        assert ReconciliationBreak.objects.get().state == BreakState.OPEN

    def test_leaves_an_explained_one_alone_until_its_amount_changes(self, topup: TopUp) -> None:
        book(topup, 400)
        breaks.find(now=LATER)
        person = a_person(Role.FINANCE)
        broken = ReconciliationBreak.objects.get()
        breaks.explain(broken=broken, seen_minor=broken.amount_minor, explanation="The bank kept a euro.", actor=person)
        assert breaks.find(now=LATER) == breaks.Found(1, 0, 0)
        book(topup, -50)
        assert breaks.find(now=LATER).opened == 1
        broken = ReconciliationBreak.objects.get()
        assert (broken.state, broken.amount_minor, broken.owner) == (BreakState.IN_WORK, -150, person)

    def test_is_not_explained_at_an_amount_that_nobody_saw(self, topup: TopUp) -> None:
        book(topup, 400)
        breaks.find(now=LATER)
        broken = ReconciliationBreak.objects.get()
        book(topup, -50)
        breaks.find(now=LATER)
        with pytest.raises(BreakChanged):
            breaks.explain(broken=broken, seen_minor=broken.amount_minor, explanation="A euro", actor=a_person())

    def test_looks_only_at_its_period(self, topup: TopUp) -> None:
        breaks.find(now=LATER)
        found = breaks.find(now=LATER, since=NOW + timedelta(days=1), until=LATER)
        assert found == breaks.Found(0, 0, 0)
        assert ReconciliationBreak.objects.get().state == BreakState.OPEN


class TestTheTables:
    def test_keep_breaks_and_signatures(self, topup: TopUp) -> None:
        breaks.find(now=LATER)
        with pytest.raises(DatabaseError), transaction.atomic():
            ReconciliationBreak.objects.all().delete()
        with pytest.raises(DatabaseError), transaction.atomic():
            ReconciliationBreak.objects.update(state=BreakState.EXPLAINED)
        broken = ReconciliationBreak.objects.get()
        breaks.explain(broken=broken, seen_minor=broken.amount_minor, explanation="Known", actor=a_person(Role.FINANCE))
        breaks.sign(since=NOW - timedelta(days=1), until=LATER, note="", actor=a_person(), now=LATER)
        with pytest.raises(DatabaseError), transaction.atomic():
            ReconciliationSignOff.objects.update(note="Another")
