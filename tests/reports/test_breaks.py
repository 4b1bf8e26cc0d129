"""Breaks are found once, closed when they vanish, and opened again when they come back or change."""

from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction

from billing.balance import movement, paid_out
from billing.models import TopUp
from billing.services import settlements
from config.roles import Role
from reports import breaks
from reports.breaks import BreakChanged, BreakIsGone, ReconciliationNotSigned
from reports.models import BreakState, ReconciliationBreak, ReconciliationSignOff
from reports.queries import reconciliation
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


def signing(actor: User, digest: str | None = None) -> ReconciliationSignOff:
    """Sign what a page shows just now, unless another digest is given."""
    period: Any = {"since": NOW - timedelta(days=1), "until": LATER, "now": LATER}
    return breaks.sign(**period, digest=digest or reconciliation.statement(**period).digest, note="", actor=actor)


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

    def test_keeps_every_note_that_was_written_about_it(self, topup: TopUp) -> None:
        breaks.find(now=LATER)
        person, broken = a_person(Role.FINANCE), ReconciliationBreak.objects.get()
        breaks.assign(broken=broken, owner=person, note="Asked the bank.")
        breaks.assign(broken=broken, owner=None, note="")
        breaks.explain(broken=broken, seen_minor=500, explanation="The bank was late.", actor=person)
        written = [(one.note, one.state) for one in reconciliation.notes_of(broken)]
        assert written == [
            ("The bank was late.", BreakState.EXPLAINED),
            ("Asked the bank.", BreakState.OPEN),
            ("Asked the bank.", BreakState.IN_WORK),
        ]
        broken.refresh_from_db()
        assert (broken.owner, broken.note) == (person, "The bank was late.")

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


class TestSigning:
    def test_refuses_figures_that_moved_since_the_page_showed_them(self, topup: TopUp) -> None:
        book(topup)
        shown = reconciliation.statement(since=NOW - timedelta(days=1), until=LATER, now=LATER).digest
        late = stripe_objects.balance_transaction(source="po_1", amount=-5, fee=0, net=-5, created=int(NOW.timestamp()), type="payout")
        settlements.keep_payout(paid_out(stripe_objects.payout(id="po_1", amount=5, created=int(LATER.timestamp()))), now=LATER)
        settlements.keep([movement(late | {"reporting_category": "payout"})], now=LATER)
        with pytest.raises(ReconciliationNotSigned, match="have changed since the page showed them"):
            signing(a_person(), shown)
        with pytest.raises(ReconciliationNotSigned, match="have changed since the page showed them"):
            signing(a_person(name="other"), "?")
        assert signing(a_person(name="third")).line_count == 2

    def test_by_two_at_once_gives_one_signature(self, topup: TopUp) -> None:
        book(topup)
        people = [a_person(name="one"), a_person(name="other")]
        heard: list[str] = []

        def sign(person: User) -> None:
            try:
                signing(person)
            except ReconciliationNotSigned as refusal:
                heard.append(refusal.detail)
            finally:
                connection.close()

        rivals = [Thread(target=sign, args=(person,)) for person in people]
        for rival in rivals:
            rival.start()
        for rival in rivals:
            rival.join()
        signed = ReconciliationSignOff.objects.get()
        assert heard == [f"{signed.signed_by} signed these figures already, on 2026-05-08 at 10:00. There is nothing left to sign."]

    def test_keeps_what_it_found_on_the_way(self, topup: TopUp) -> None:
        with pytest.raises(ReconciliationNotSigned, match="1 break of this period is"):
            signing(a_person())
        assert ReconciliationBreak.objects.get().state == BreakState.OPEN


class TestModes:
    def test_have_breaks_figures_and_signatures_of_their_own(self, topup: TopUp) -> None:
        live = stripe_objects.balance_transaction(source="ch_live", amount=700, fee=0, net=700, created=int(NOW.timestamp()))
        settlements.keep([movement(live, is_live=True)], now=LATER)
        book(topup)
        assert breaks.find(now=LATER, is_live=False).there == 0
        assert breaks.find(now=LATER) == breaks.Found(1, 1, 0)
        assert ReconciliationBreak.objects.get().is_live
        period: Any = {"since": NOW - timedelta(days=1), "until": LATER}
        sums = {
            is_live: [figure.stripe_minor for figure in reconciliation.statement(**period, now=LATER, is_live=is_live).figures]
            for is_live in (True, False)
        }
        assert sums == {True: [700], False: [500]}
        digest = reconciliation.statement(**period, now=LATER, is_live=False).digest
        signed = breaks.sign(**period, digest=digest, note="", actor=a_person(), now=LATER, is_live=False)
        assert reconciliation.last_sign_off(**period, is_live=False) == signed
        assert reconciliation.last_sign_off(**period, is_live=True) is None
        with pytest.raises(ReconciliationNotSigned, match="1 break"):
            breaks.sign(**period, digest=digest, note="", actor=a_person(name="other"), now=LATER, is_live=True)


class TestTheTables:
    def test_keep_breaks_and_signatures(self, topup: TopUp) -> None:
        breaks.find(now=LATER)
        with pytest.raises(DatabaseError), transaction.atomic():
            ReconciliationBreak.objects.all().delete()
        with pytest.raises(DatabaseError), transaction.atomic():
            ReconciliationBreak.objects.update(state=BreakState.EXPLAINED)
        broken = ReconciliationBreak.objects.get()
        breaks.explain(broken=broken, seen_minor=broken.amount_minor, explanation="Known", actor=a_person(Role.FINANCE))
        signing(a_person())
        with pytest.raises(DatabaseError), transaction.atomic():
            ReconciliationSignOff.objects.update(note="Another")
