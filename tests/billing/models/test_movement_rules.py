"""Four eyes on movements by hand, in the database: what psql is refused, superusers included."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from billing.models import LedgerEntry, MovementKind, MovementRequest, Wallet
from billing.services import ledger, movement_requests
from config.roles import Role
from pricing.models import Workspace
from tests.billing.factories import NOW, a_caller, a_wallet
from tests.billing.models.raw import execute, refused
from tests.people import a_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def wallet() -> Wallet:
    Workspace.objects.update_or_create(pk=1, defaults={"approval_limit_credits": Decimal(100)})
    return a_wallet(a_caller(), credits="1000")


@pytest.fixture
def fiona(db: None) -> User:
    return a_person(Role.FINANCE, name="fiona")


@pytest.fixture
def ada(db: None) -> User:
    return a_person(Role.FINANCE, name="ada")


@pytest.fixture
def request_(wallet: Wallet, fiona: User) -> MovementRequest:
    made = movement_requests.move(
        kind=MovementKind.GRANT, wallet_id=wallet.pk, credits=Decimal(500), reason="Renewal", requested_by=fiona, now=NOW
    )
    assert isinstance(made, MovementRequest)
    return made


def an_entry(wallet: Wallet, credits: int, **columns: Any) -> LedgerEntry:
    """Write an entry as psql would, with no service in between."""
    lot = wallet.lots.get()
    before = LedgerEntry.objects.latest("pk").balance_after
    facts = {"transaction_id": LedgerEntry.objects.count() + 10**9, "wallet": wallet, "lot": lot, "kind": "adjustment", "value": 0}
    facts |= {"actor": "user:fiona", "reason": "x", "occurred_at": NOW, "recorded_at": NOW, "balance_after": before + credits}
    return LedgerEntry.objects.create(credits=credits, **(facts | columns))


def check_now() -> None:
    """Have what waits for the end of the transaction checked."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


class TestOnePerson:
    def test_moves_at_most_the_limit_in_a_day_however_it_is_cut_up(self, wallet: Wallet) -> None:
        an_entry(wallet, -60)
        with refused("more than one person may move"):
            an_entry(wallet, -41)
        an_entry(wallet, -41, actor="user:ada")
        an_entry(wallet, -41, recorded_at=NOW + timedelta(days=1))

    @pytest.mark.parametrize("columns", [{"actor": "system:expiry"}, {"kind": "expiry"}])
    def test_is_who_it_is_about(self, wallet: Wallet, columns: dict[str, Any]) -> None:
        an_entry(wallet, -500, **columns)

    def test_cannot_name_an_approver_who_approved_nothing(self, wallet: Wallet, ada: User) -> None:
        with refused("names the request that they approved"):
            an_entry(wallet, -500, approved_by=ada)
            check_now()


class TestRequest:
    def test_is_not_approved_by_its_author(self, wallet: Wallet, request_: MovementRequest, fiona: User) -> None:
        with refused("movement_request_decider_did_not_ask"):
            done = ledger.grant(wallet_id=wallet.pk, credits=Decimal(500), reason="Renewal", actor="user:fiona", now=NOW, approved_by=fiona)
            decision = {"state": "approved", "decided_by": fiona, "decided_at": NOW, "decision_reason": "Mine"}
            MovementRequest.objects.filter(pk=request_.pk).update(transaction_id=done.transaction_id, **decision)

    def test_becomes_a_transaction_only_with_a_decider(self, wallet: Wallet, request_: MovementRequest) -> None:
        own = ledger.grant(wallet_id=wallet.pk, credits=Decimal(500), reason="x", actor="system:x", now=NOW)
        with refused("just what was asked for|movement_request_decision_is_whole"):
            MovementRequest.objects.filter(pk=request_.pk).update(state="approved", transaction_id=own.transaction_id)

    @pytest.mark.parametrize("wrong", ["credits", "wallet", "actor", "approver", "nothing"])
    def test_names_the_transaction_that_moved_what_was_asked_for(
        self, wallet: Wallet, request_: MovementRequest, ada: User, wrong: str
    ) -> None:
        terms = {"wallet_id": wallet.pk, "credits": Decimal(500), "actor": "user:fiona", "approved_by": ada}
        other = {
            "credits": Decimal(501),
            "wallet": a_wallet(a_caller(), "user_43").pk,
            "actor": "user:mallory",
            "approver": a_person(name="fred"),
            "nothing": None,
        }[wrong]
        key = {"wallet": "wallet_id", "approver": "approved_by"}.get(wrong, wrong)
        with refused("moved just what was asked for"):
            done = ledger.grant(reason="x", now=NOW, **(terms | ({key: other} if wrong != "nothing" else {})))  # type: ignore[arg-type]
            number = done.transaction_id if wrong != "nothing" else 1
            decision = {"state": "approved", "decided_by": ada, "decided_at": NOW, "decision_reason": "Fine"}
            MovementRequest.objects.filter(pk=request_.pk).update(transaction_id=number, **decision)

    @pytest.mark.parametrize(
        "change", ["credits = 5000", "reason = 'other'", "requested_by_id = 1 + requested_by_id", "moved_credits = 1", "wallet_id = 0"]
    )
    def test_never_asks_for_anything_else(self, request_: MovementRequest, change: str) -> None:
        with refused("never changes"):
            execute(f"UPDATE billing_movementrequest SET {change}")

    def test_is_decided_once_and_kept(self, request_: MovementRequest, ada: User) -> None:
        movement_requests.reject(request_id=request_.pk, reason="No", decided_by=ada, now=NOW)
        with refused("decided once"):
            execute("UPDATE billing_movementrequest SET state = 'requested', decided_by_id = NULL, decided_at = NULL, decision_reason = ''")
        with refused("Cannot delete"):
            execute("DELETE FROM billing_movementrequest")

    @pytest.mark.parametrize(
        ("facts", "reason"),
        [
            ({"credits": 0}, "moves_credits"),
            ({"credits": -1}, "moves_credits"),
            ({"kind": "gift"}, "kind_is_known"),
            ({"kind": "transfer"}, "transfer_names_its_wallets"),
            ({"kind": "refund"}, "refund_names_its_event"),
            ({"kind": "adjustment", "expires_at": NOW}, "grants_expire"),
            ({"reason": ""}, "has_a_reason"),
            ({"decision_reason": "x"}, "decision_is_whole"),
            ({"transaction_id": 1}, "approved_is_in_the_ledger"),
            ({"state": "approved"}, "begins by waiting"),
        ],
    )
    def test_is_whole(self, wallet: Wallet, fiona: User, facts: dict[str, Any], reason: str) -> None:
        whole = {"kind": "grant", "wallet": wallet, "credits": 500, "reason": "x", "limit_credits": 100, "moved_credits": 0}
        with refused(reason):
            MovementRequest.objects.create(**(whole | {"requested_by": fiona, "requested_at": NOW} | facts))
