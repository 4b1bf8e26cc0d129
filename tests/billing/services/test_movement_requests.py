"""Movements above one person's limit: who decides, once, as things are by then, and what stays open."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

from billing.errors import (
    DecisionRefused,
    InsufficientCredits,
    InvalidRequest,
    NeedsSecondPerson,
    RefundExceedsCharge,
    UnknownRequest,
    WalletFrozen,
)
from billing.events import Caller, Charged
from billing.models import LedgerEntry, MovementKind, MovementRequest, RequestState, Wallet, WalletStatus
from billing.queries import movement_requests as requests
from billing.services import charging, checking, customers, ledger, movement_requests
from config.roles import Role
from pricing.models import Workspace
from tests.billing.factories import NOW, a_caller, a_price, a_wallet, an_event
from tests.billing.services.rivals import at_once
from tests.people import a_person

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _limit(db: None) -> None:
    set_limit(100)


@pytest.fixture
def caller() -> Caller:
    return a_caller()


@pytest.fixture
def wallet(caller: Caller) -> Wallet:
    return a_wallet(caller, credits="1000")


@pytest.fixture
def fiona(db: None) -> User:
    return a_person(Role.FINANCE, name="fiona")


@pytest.fixture
def ada(db: None) -> User:
    return a_person(Role.FINANCE, name="ada")


def set_limit(credits: int) -> None:
    Workspace.objects.update_or_create(pk=1, defaults={"approval_limit_credits": Decimal(credits)})


def move(wallet: Wallet, by: User, credits: str | None = "101", kind: MovementKind = MovementKind.GRANT, **terms: Any) -> Any:
    given: dict[str, Any] = {
        "kind": kind,
        "wallet_id": wallet.pk,
        "credits": Decimal(credits) if credits else None,
        "reason": "Renewal",
        "now": NOW,
    }
    return movement_requests.move(requested_by=by, **(given | terms))


def asked(wallet: Wallet, by: User, credits: str | None = "101", kind: MovementKind = MovementKind.GRANT, **terms: Any) -> MovementRequest:
    made = move(wallet, by, credits, kind, **terms)
    assert isinstance(made, MovementRequest)
    return made


def approve(request: MovementRequest, by: User, **terms: Any) -> MovementRequest:
    given: dict[str, Any] = {"request_id": request.pk, "reason": "Fine", "decided_by": by, "now": NOW}
    return movement_requests.approve(**(given | terms))


def is_open(request: MovementRequest) -> bool:
    request.refresh_from_db()
    return (request.state, request.decided_by, request.transaction_id) == (RequestState.REQUESTED, None, None)


def balance(wallet: Wallet) -> Decimal:
    wallet.refresh_from_db()
    return Decimal(wallet.balance)


class TestLimit:
    def test_what_one_person_may_moves_at_once(self, wallet: Wallet, fiona: User) -> None:
        assert not isinstance(move(wallet, fiona, "100"), MovementRequest)
        assert balance(wallet) == 1100

    def test_one_step_more_waits(self, wallet: Wallet, fiona: User) -> None:
        request = asked(wallet, fiona, "100.000001")
        assert (is_open(request), request.limit_credits, request.moved_credits, balance(wallet)) == (True, 100, 0, 1000)

    def test_is_not_passed_in_parts_or_by_other_kinds(self, wallet: Wallet, fiona: User) -> None:
        move(wallet, fiona, "60")
        request = asked(wallet, fiona, "-41", MovementKind.ADJUSTMENT)
        assert request.moved_credits == 60
        assert not isinstance(move(wallet, fiona, "-40", MovementKind.ADJUSTMENT), MovementRequest)
        assert isinstance(move(wallet, fiona, "0.000001"), MovementRequest)

    def test_is_per_wallet_and_person_and_for_a_day(self, caller: Caller, wallet: Wallet, fiona: User, ada: User) -> None:
        other = a_wallet(caller, "user_43")
        move(wallet, fiona, "100")
        assert isinstance(move(wallet, fiona, "1", now=NOW + DAY - timedelta(seconds=1)), MovementRequest)
        for done in (move(other, fiona, "100"), move(wallet, ada, "100"), move(wallet, fiona, "100", now=NOW + DAY)):
            assert not isinstance(done, MovementRequest)
        assert isinstance(move(wallet, fiona, "1", now=NOW + DAY), MovementRequest)

    def test_counts_what_a_transfer_brings_as_well(self, caller: Caller, wallet: Wallet, fiona: User) -> None:
        other = a_wallet(caller, "user_43")
        move(wallet, fiona, "70", MovementKind.TRANSFER, to_wallet_id=other.pk)
        assert asked(other, fiona, "31").moved_credits == 70

    def test_does_not_count_what_a_second_person_approved(self, wallet: Wallet, fiona: User, ada: User) -> None:
        approve(asked(wallet, fiona, "500"), ada)
        assert not isinstance(move(wallet, fiona, "100"), MovementRequest)

    def test_holds_for_every_way_into_the_ledger(self, wallet: Wallet) -> None:
        with pytest.raises(NeedsSecondPerson, match=r"up to 100 credits on a wallet within 24 hours: 101 more need"):
            ledger.grant(wallet_id=wallet.pk, credits=Decimal(101), reason="x", actor="user:fiona", now=NOW)

    def test_is_for_people_not_for_the_system(self, wallet: Wallet) -> None:
        ledger.grant(wallet_id=wallet.pk, credits=Decimal(5000), reason="Campaign", actor="system:campaigns", now=NOW)
        assert balance(wallet) == 6000

    def test_what_could_not_be_made_anyway_is_refused_and_not_asked_for(self, wallet: Wallet, fiona: User) -> None:
        with pytest.raises(InsufficientCredits):
            move(wallet, fiona, "-1001", MovementKind.ADJUSTMENT)
        with pytest.raises(InvalidRequest):
            move(wallet, fiona, "500", MovementKind.TRANSFER, to_wallet_id=wallet.pk)
        assert not MovementRequest.objects.exists()


class TestApproving:
    def test_makes_the_movement_as_it_was_asked_for_by_its_two_people(self, wallet: Wallet, fiona: User, ada: User) -> None:
        done = approve(asked(wallet, fiona, "500", expires_at=NOW + DAY), ada, now=NOW + timedelta(hours=2))
        assert done.transaction_id is not None
        entry = LedgerEntry.objects.get(transaction_id=done.transaction_id)
        assert (entry.kind, entry.credits, entry.actor, entry.approved_by, entry.reason) == ("grant", 500, "user:fiona", ada, "Renewal")
        assert (entry.lot.expires_at, entry.recorded_at) == (NOW + DAY, NOW + timedelta(hours=2))
        assert (done.state, done.decided_by, done.decision_reason) == (RequestState.APPROVED, ada, "Fine")

    def test_works_for_every_kind(self, caller: Caller, wallet: Wallet, fiona: User, ada: User) -> None:
        a_price("150")
        other = a_wallet(caller, "user_43")
        [charged] = charging.charge([an_event(caller)], now=NOW)
        assert isinstance(charged, Charged)
        refund = asked(wallet, fiona, None, MovementKind.REFUND, usage_record_id=charged.record_id)
        assert refund.credits == 150  # all that was left of it
        made = [
            refund,
            asked(wallet, fiona, "-200", MovementKind.ADJUSTMENT),
            asked(wallet, fiona, "300", MovementKind.ADJUSTMENT),
            asked(wallet, fiona, "400", MovementKind.TRANSFER, to_wallet_id=other.pk),
        ]
        for request in made:
            approve(request, ada)
        assert (balance(wallet), balance(other)) == (700, 400)
        assert set(LedgerEntry.objects.exclude(kind__in=("deposit", "charge")).values_list("approved_by", flat=True)) == {ada.pk}
        assert checking.check(now=NOW, actor="system:tests").is_clean

    def test_is_refused_to_whoever_asked(self, wallet: Wallet, fiona: User) -> None:
        request = asked(wallet, fiona)
        for decide in (movement_requests.approve, movement_requests.reject):
            with pytest.raises(DecisionRefused, match="another person decides"):
                decide(request_id=request.pk, reason="Mine", decided_by=fiona, now=NOW)
        assert is_open(request)

    def test_leaves_the_request_open_when_the_credits_are_gone(self, wallet: Wallet, fiona: User, ada: User) -> None:
        request = asked(wallet, fiona, "-900", MovementKind.ADJUSTMENT)
        ledger.adjust(wallet_id=wallet.pk, credits=Decimal(-200), reason="Spent", actor="system:tests", now=NOW)
        assert requests.preview(request, now=NOW).obstacle == "900 credits were asked for and 800 are free."
        with pytest.raises(InsufficientCredits, match="800 are free"):
            approve(request, ada)
        assert is_open(request)
        ledger.grant(wallet_id=wallet.pk, credits=Decimal(100), reason="Back", actor="system:tests", now=NOW)
        assert requests.preview(request, now=NOW).obstacle == ""
        approve(request, ada)
        assert balance(wallet) == 0

    def test_leaves_it_open_when_the_wallet_was_frozen(self, caller: Caller, wallet: Wallet, fiona: User, ada: User) -> None:
        request = asked(wallet, fiona, "200", MovementKind.TRANSFER, to_wallet_id=a_wallet(caller, "user_43").pk)
        customers.set_status(wallet_id=wallet.pk, status=WalletStatus.FROZEN, reason="Chargeback")
        assert "frozen" in requests.preview(request, now=NOW).obstacle
        with pytest.raises(WalletFrozen):
            approve(request, ada)
        assert is_open(request)

    def test_leaves_it_open_when_the_refund_was_made_meanwhile(self, caller: Caller, wallet: Wallet, fiona: User, ada: User) -> None:
        a_price("150")
        [charged] = charging.charge([an_event(caller)], now=NOW)
        assert isinstance(charged, Charged)
        terms: dict[str, Any] = {"kind": MovementKind.REFUND, "usage_record_id": charged.record_id}
        request = asked(wallet, fiona, "150", **terms)
        move(wallet, ada, "20", **terms)
        assert "130 credits of this charge" in requests.preview(request, now=NOW).obstacle
        with pytest.raises(RefundExceedsCharge):
            approve(request, ada)
        assert is_open(request)

    def test_leaves_it_open_when_its_expiry_has_passed(self, wallet: Wallet, fiona: User, ada: User) -> None:
        request = asked(wallet, fiona, expires_at=NOW + DAY)
        assert "future" in requests.preview(request, now=NOW + DAY).obstacle
        with pytest.raises(InvalidRequest):
            approve(request, ada, now=NOW + DAY)
        assert is_open(request)

    @pytest.mark.parametrize("limit", [1, 5000])
    def test_is_needed_whatever_became_of_the_limit(self, wallet: Wallet, fiona: User, ada: User, limit: int) -> None:
        request = asked(wallet, fiona, "500")
        set_limit(limit)
        assert is_open(request)
        approve(request, ada)
        assert balance(wallet) == 1500

    @pytest.mark.parametrize("how", ["role", "account"])
    def test_is_refused_once_its_author_may_not_do_it_any_more(self, wallet: Wallet, fiona: User, ada: User, how: str) -> None:
        request = asked(wallet, fiona)
        if how == "role":
            fiona.groups.clear()
        else:
            User.objects.filter(pk=fiona.pk).update(is_active=False)
        request = MovementRequest.objects.get(pk=request.pk)
        assert "may not do it any more" in requests.preview(request, now=NOW).obstacle
        with pytest.raises(DecisionRefused, match="may not do it any more"):
            approve(request, ada)
        assert is_open(request)
        movement_requests.reject(request_id=request.pk, reason="Left us", decided_by=ada, now=NOW)

    def test_asks_for_a_reason(self, wallet: Wallet, fiona: User, ada: User) -> None:
        with pytest.raises(InvalidRequest, match="reason"):
            approve(asked(wallet, fiona), ada, reason=" ")

    def test_of_nothing_is_refused(self, ada: User) -> None:
        with pytest.raises(UnknownRequest):
            movement_requests.approve(request_id=0, reason="x", decided_by=ada, now=NOW)


class TestEnding:
    def test_rejected_moves_nothing(self, wallet: Wallet, fiona: User, ada: User) -> None:
        request = asked(wallet, fiona)
        movement_requests.reject(request_id=request.pk, reason="Too much", decided_by=ada, now=NOW)
        with pytest.raises(DecisionRefused, match="was rejected by ada meanwhile"):
            approve(request, a_person(Role.FINANCE, name="fred"))
        assert balance(wallet) == 1000

    def test_withdrawn_by_its_author_alone(self, wallet: Wallet, fiona: User, ada: User) -> None:
        request = asked(wallet, fiona)
        with pytest.raises(DecisionRefused, match="Only fiona"):
            movement_requests.withdraw(request_id=request.pk, reason="x", by=ada, now=NOW)
        movement_requests.withdraw(request_id=request.pk, reason="Mistake", by=fiona, now=NOW)
        with pytest.raises(DecisionRefused, match="was withdrawn meanwhile"):
            approve(request, ada)


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def outcomes(self, calls: list[Callable[[], MovementRequest]]) -> tuple[list[MovementRequest], list[Exception]]:
        results = at_once(calls)
        refused = [result for result in results if isinstance(result, Exception)]
        assert all(isinstance(error, DecisionRefused) for error in refused), refused
        return [result for result in results if isinstance(result, MovementRequest)], refused

    def test_of_many_approvers_one_wins(self, wallet: Wallet, fiona: User) -> None:
        request = asked(wallet, fiona)
        people = [a_person(Role.FINANCE, name=f"decider_{number}") for number in range(4)]
        won, lost = self.outcomes([lambda by=person: approve(request, by) for person in people])  # type: ignore[misc]
        assert (len(won), len(lost), balance(wallet)) == (1, 3, 1101)
        assert str(won[0].decided_by) in str(lost[0])

    def test_withdrawing_and_approving_do_not_both_happen(self, wallet: Wallet, fiona: User, ada: User) -> None:
        for _ in range(4):
            before, request = balance(wallet), asked(wallet, fiona)
            won, _lost = self.outcomes(
                [
                    lambda: approve(request, ada),  # noqa: B023
                    lambda: movement_requests.withdraw(request_id=request.pk, reason="x", by=fiona, now=NOW),  # noqa: B023
                ]
            )
            assert len(won) == 1
            assert balance(wallet) == before + (101 if won[0].state == RequestState.APPROVED else 0)

    def test_of_many_small_ones_only_the_limit_moves(self, wallet: Wallet, fiona: User) -> None:
        results = at_once([lambda: move(wallet, fiona, "40") for _ in range(5)])
        assert sum(isinstance(result, MovementRequest) for result in results) == 3
        assert balance(wallet) == 1080
