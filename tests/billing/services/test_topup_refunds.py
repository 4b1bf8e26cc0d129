"""Refunds of top-ups: who may, how much, and the same books whatever order Stripe tells them in."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from django.contrib.auth.models import User

from billing.errors import DecisionRefused, RefundExceedsPayment
from billing.models import RefundState, TopUp, TopUpRefund, TopUpStatus, Wallet
from billing.services import checking, disputes, topup_refunds
from billing.services.stripe_handling import NotOurs, NotYet
from pricing.models import Workspace
from tests import stripe_objects
from tests.billing.factories import a_caller, a_wallet
from tests.billing.services.rivals import at_once
from tests.billing.topups import NOW, a_paid_topup, an_order
from tests.people import a_person

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def wallet() -> Wallet:
    return a_wallet(a_caller())


@pytest.fixture
def topup(wallet: Wallet) -> TopUp:
    return a_paid_topup(wallet)


def told(topup: TopUp, **overlay: Any) -> dict[str, Any]:
    return stripe_objects.refund(**({"payment_intent": topup.payment_intent, "charge": topup.charge, "amount": 500} | overlay))


def balance(wallet: Wallet) -> Decimal:
    wallet.refresh_from_db()
    return Decimal(wallet.balance)


def is_clean() -> bool:
    return checking.check(now=NOW, actor="system:tests").is_clean


class TestAsking:
    def test_small_refund_needs_nobody_else(self, topup: TopUp) -> None:
        refund = topup_refunds.request(topup_id=topup.pk, amount_minor=500, reason="Unhappy", requested_by=a_person(), now=NOW)
        assert (refund.state, refund.needs_approval) == (RefundState.APPROVED, False)

    def test_limit_cannot_be_passed_in_parts(self, topup: TopUp) -> None:
        Workspace.objects.update_or_create(pk=1, defaults={"refund_limit": Decimal(3)})
        person = a_person()
        parts = [topup_refunds.request(topup_id=topup.pk, amount_minor=200, reason="Part", requested_by=person, now=NOW) for _ in range(2)]
        assert [part.state for part in parts] == [RefundState.APPROVED, RefundState.REQUESTED]

    def test_never_more_than_is_left(self, topup: TopUp) -> None:
        person = a_person()
        topup_refunds.request(topup_id=topup.pk, amount_minor=400, reason="Part", requested_by=person, now=NOW)
        with pytest.raises(RefundExceedsPayment, match=r"1 USD of this top-up can be refunded"):
            topup_refunds.request(topup_id=topup.pk, amount_minor=101, reason="Rest", requested_by=person, now=NOW)

    def test_second_person_decides_once(self, topup: TopUp) -> None:
        Workspace.objects.update_or_create(pk=1, defaults={"refund_limit": Decimal(1)})
        asking, deciding = a_person(name="asks"), a_person(name="decides")
        refund = topup_refunds.request(topup_id=topup.pk, amount_minor=500, reason="All", requested_by=asking, now=NOW)
        with pytest.raises(DecisionRefused, match="somebody else"):
            topup_refunds.decide(refund_id=refund.pk, is_approved=True, reason="Fine", decided_by=asking, now=NOW)
        approved = topup_refunds.decide(refund_id=refund.pk, is_approved=True, reason="Fine", decided_by=deciding, now=NOW)
        assert approved.state == RefundState.APPROVED
        with pytest.raises(DecisionRefused, match="waits for nobody"):
            topup_refunds.decide(refund_id=refund.pk, is_approved=False, reason="No", decided_by=deciding, now=NOW)

    def test_whoever_asked_may_take_the_wish_back(self, topup: TopUp) -> None:
        Workspace.objects.update_or_create(pk=1, defaults={"refund_limit": Decimal(1)})
        asking = a_person()
        refund = topup_refunds.request(topup_id=topup.pk, amount_minor=500, reason="All", requested_by=asking, now=NOW)
        with pytest.raises(DecisionRefused, match="reject it instead"):
            topup_refunds.withdraw(refund_id=refund.pk, reason="Mistake", by=a_person(name="other"), now=NOW)
        topup_refunds.withdraw(refund_id=refund.pk, reason="Mistake", by=asking, now=NOW)
        assert topup_refunds.refundable(topup) == 500


class TestOvertaken:
    """Money of the top-up went back otherwise while a request waited: whoever decides is told, and the request stays as it is."""

    @pytest.fixture
    def waiting(self, topup: TopUp) -> TopUpRefund:
        Workspace.objects.update_or_create(pk=1, defaults={"refund_limit": Decimal(1)})
        return topup_refunds.request(topup_id=topup.pk, amount_minor=400, reason="Unhappy", requested_by=a_person(name="asks"), now=NOW)

    def test_by_a_refund_at_stripe_cannot_be_approved_and_says_what_is_left(self, topup: TopUp, waiting: TopUpRefund) -> None:
        topup_refunds.apply(told(topup, id="re_there", amount=300), NOW)
        told_why = r"3 USD are refunded already \(re_there\). 2 USD can be refunded now"
        with pytest.raises(RefundExceedsPayment, match=told_why) as refused:
            approve(waiting)
        assert refused.value.figures == {"refundable_minor": 200}
        waiting.refresh_from_db()
        assert (waiting.state, waiting.reason, waiting.decided_by) == (RefundState.REQUESTED, "Unhappy", None)
        topup_refunds.decide(
            refund_id=waiting.pk, is_approved=False, reason="Too late", decided_by=User.objects.get(username="decides"), now=NOW
        )

    def test_by_a_dispute_can_be_approved_again_once_that_is_won(self, topup: TopUp, waiting: TopUpRefund) -> None:
        dispute = stripe_objects.dispute(payment_intent=topup.payment_intent, amount=500)
        disputes.apply(dispute, NOW)
        with pytest.raises(RefundExceedsPayment, match=r"5 USD were disputed .* Nothing is left to refund"):
            approve(waiting)
        disputes.apply(dispute | {"status": "won"}, NOW)
        assert approve(waiting).state == RefundState.APPROVED

    def test_one_that_failed_since_has_not_overtaken_it(self, topup: TopUp, waiting: TopUpRefund) -> None:
        there = told(topup, amount=300)
        for status in ("pending", "failed"):
            topup_refunds.apply(there | {"status": status}, NOW)
        assert approve(waiting).state == RefundState.APPROVED

    def test_of_two_requests_the_first_approved_goes_out(self, topup: TopUp) -> None:
        Workspace.objects.update_or_create(pk=1, defaults={"refund_limit": Decimal(1)})
        asking = a_person(name="asks")
        first, second = (
            topup_refunds.request(topup_id=topup.pk, amount_minor=250, reason="Part", requested_by=asking, now=NOW) for _ in range(2)
        )
        topup_refunds.apply(told(topup, amount=100), NOW)
        assert approve(second).state == RefundState.APPROVED
        with pytest.raises(RefundExceedsPayment, match=f"refund {second.pk}.*1.5 USD can be refunded now"):
            approve(first)

    def test_approvals_and_news_at_once_leave_exact_credits(self, wallet: Wallet, topup: TopUp, waiting: TopUpRefund) -> None:
        people = [a_person(name=f"decides{number}") for number in range(6)]
        calls: list[Callable[[], Any]] = [partial(approve, waiting, by=person) for person in people]
        calls.append(partial(topup_refunds.apply, told(topup, amount=300), NOW))
        calls.append(partial(disputes.apply, stripe_objects.dispute(payment_intent=topup.payment_intent, amount=200), NOW))
        outcomes = at_once(calls)
        approved = [one for one in outcomes[:6] if isinstance(one, TopUpRefund)]
        assert len(approved) <= 1
        assert all(isinstance(one, (TopUpRefund, DecisionRefused, RefundExceedsPayment)) for one in outcomes[:6])
        assert not [one for one in outcomes[6:] if isinstance(one, Exception)]
        waiting.refresh_from_db()
        assert waiting.state == (RefundState.APPROVED if approved else RefundState.REQUESTED)
        assert balance(wallet) == 0
        assert is_clean()


def approve(refund: TopUpRefund, by: User | None = None) -> TopUpRefund:
    decided_by = by or User.objects.filter(username="decides").first() or a_person(name="decides")
    return topup_refunds.decide(refund_id=refund.pk, is_approved=True, reason="Fine", decided_by=decided_by, now=NOW)


class TestFollowing:
    def test_pending_takes_the_credits_and_failed_gives_them_back(self, wallet: Wallet, topup: TopUp) -> None:
        refund = told(topup, status="pending")
        topup_refunds.apply(refund, NOW)
        assert balance(wallet) == 0
        topup_refunds.apply(refund | {"status": "failed", "failure_reason": "lost_or_stolen_card"}, NOW)
        assert balance(wallet) == 500
        assert TopUpRefund.objects.get().failure == "lost_or_stolen_card"
        assert is_clean()

    def test_same_news_twice_is_news_once(self, wallet: Wallet, topup: TopUp) -> None:
        refund = told(topup, amount=200)
        assert topup_refunds.apply(refund, NOW).endswith("200 credits.")
        assert "already" in topup_refunds.apply(refund, NOW)
        assert balance(wallet) == 300

    @pytest.mark.parametrize("order", list(permutations(("pending", "succeeded", "failed"))))
    def test_any_order_ends_in_the_same_books(self, wallet: Wallet, topup: TopUp, order: tuple[str, ...]) -> None:
        refund = told(topup)
        for status in order:
            topup_refunds.apply(refund | {"status": status}, NOW)
        assert balance(wallet) == 500
        assert TopUpRefund.objects.get().state == RefundState.FAILED
        assert is_clean()

    def test_our_own_refund_is_found_by_its_number(self, topup: TopUp) -> None:
        ours = topup_refunds.request(topup_id=topup.pk, amount_minor=500, reason="Unhappy", requested_by=a_person(), now=NOW)
        topup_refunds.apply(told(topup, metadata={"refund": str(ours.pk)}), NOW)
        ours.refresh_from_db()
        assert (TopUpRefund.objects.count(), ours.state, ours.credits) == (1, RefundState.SUCCEEDED, Decimal(500))

    @pytest.mark.parametrize("number", ["", "x", "-1", "٣", "9" * 40])
    def test_strange_numbers_are_somebody_elses_refund(self, topup: TopUp, number: str) -> None:
        topup_refunds.apply(told(topup, metadata={"refund": number}), NOW)
        assert TopUpRefund.objects.get().requested_by is None

    def test_thirds_add_up_even_when_one_fails(self, wallet: Wallet) -> None:
        topup = a_paid_topup(wallet, credits="100", amount_minor=300, book_value="3")
        parts = [told(topup, amount=100) for _ in range(3)]
        topup_refunds.apply(parts[0], NOW)
        topup_refunds.apply(parts[1], NOW)
        topup_refunds.apply(parts[0] | {"status": "failed"}, NOW)
        topup_refunds.apply(parts[2], NOW)
        topup_refunds.apply(told(topup, amount=100), NOW)
        assert balance(wallet) == 0
        assert is_clean()

    def test_waits_for_the_deposit(self, wallet: Wallet) -> None:
        topup = an_order(wallet, payment_intent="pi_early", status=TopUpStatus.OPEN)
        with pytest.raises(NotYet):
            topup_refunds.apply(told(topup), NOW)

    def test_old_sum_of_a_charge_asks_for_no_refund_that_failed_since(self, topup: TopUp) -> None:
        refund = told(topup)
        topup_refunds.apply(refund, NOW)
        topup_refunds.apply(refund | {"status": "failed"}, NOW)
        charge = stripe_objects.charge(id=topup.charge, payment_intent=topup.payment_intent, amount=500, amount_refunded=500)
        happened = stripe_objects.event("charge.refunded", charge)
        assert "add up" in topup_refunds.HANDLERS["charge.refunded"](stripe_objects.stored(happened), NOW)

    def test_refund_that_was_taken_for_refused_is_followed_when_it_turns_up(self, wallet: Wallet, topup: TopUp) -> None:
        ours = topup_refunds.request(topup_id=topup.pk, amount_minor=500, reason="Unhappy", requested_by=a_person(), now=NOW)
        TopUpRefund.objects.filter(pk=ours.pk).update(state=RefundState.FAILED, failure="Already refunded")
        topup_refunds.apply(told(topup, metadata={"refund": str(ours.pk)}), NOW)
        ours.refresh_from_db()
        assert (ours.state, ours.failure, balance(wallet)) == (RefundState.SUCCEEDED, "", 0)

    def test_refund_in_another_currency_waits_for_a_person(self, wallet: Wallet, topup: TopUp) -> None:
        with pytest.raises(NotYet, match="a person must look"):
            topup_refunds.apply(told(topup, currency="eur"), NOW)
        assert balance(wallet) == 500

    def test_mismatch_that_went_back_moves_no_credits(self, wallet: Wallet) -> None:
        topup = an_order(wallet, payment_intent="pi_other", status=TopUpStatus.MISMATCH)
        topup_refunds.apply(told(topup, currency="eur", amount=700), NOW)
        assert TopUpRefund.objects.get().state == RefundState.SUCCEEDED
        assert balance(wallet) == 0
        assert is_clean()

    def test_leaves_payments_alone_that_were_not_made_here(self) -> None:
        with pytest.raises(NotOurs):
            topup_refunds.apply(stripe_objects.refund(), NOW)
