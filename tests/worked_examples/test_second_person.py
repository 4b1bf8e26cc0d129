"""Large movements: one person asks, another decides, and the books say who both were."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.accounts import Account
from billing.errors import DecisionRefused, InsufficientCredits
from billing.models import LedgerEntry, MovementKind, MovementRequest
from billing.services import checking, movement_requests
from config.roles import Role
from pricing.models import Workspace
from tests.billing.factories import NOW, a_caller, a_deposit, a_price, a_wallet
from tests.people import a_person
from tests.worked_examples.books import DAY, account, balance, charged, table, trial_balance

pytestmark = pytest.mark.django_db


class TestTheSecondPerson:
    def test_decides_on_what_is_above_one_persons_limit(self) -> None:
        """One person moves up to 100 credits a day. Fiona gives Ann 80 and, for the renewal, 300 more: Ada approves those.

        Ben's 150 credits shall go to Ann. He spends 8 before Ada looks: 150 are not there, so that the request waits until
        he tops up. What Fiona asks for last, she takes back.
        """
        Workspace.objects.update_or_create(pk=1, defaults={"approval_limit_credits": Decimal(100)})
        fiona, ada = a_person(Role.FINANCE, name="fiona"), a_person(Role.ADMINISTRATOR, name="ada")
        caller = a_caller()
        a_price("8")
        ann, ben = a_wallet(caller, "ann"), a_wallet(caller, "ben")
        a_deposit(ben, "150", amount="3.00")

        def ask(kind: MovementKind, wallet_id: int, credits: int, **terms: Any) -> MovementRequest:
            asked = movement_requests.move(
                kind=kind, wallet_id=wallet_id, credits=Decimal(credits), reason="Renewal", requested_by=fiona, now=NOW, **terms
            )
            assert isinstance(asked, MovementRequest)
            return asked

        grant = {"kind": MovementKind.GRANT, "wallet_id": ann.pk, "reason": "Welcome", "requested_by": fiona}
        movement_requests.move(credits=Decimal(80), now=NOW, **grant)  # type: ignore[arg-type]
        renewal = ask(MovementKind.GRANT, ann.pk, 300)
        merger = ask(MovementKind.TRANSFER, ben.pk, 150, to_wallet_id=ann.pk)
        assert (renewal.moved_credits, balance(ann), balance(ben)) == (80, 80, 150)  # nothing moves by being asked for

        decision: dict[str, Any] = {"decided_by": ada, "reason": "Agreed"}
        with pytest.raises(DecisionRefused):
            movement_requests.approve(request_id=renewal.pk, decided_by=fiona, reason="Mine", now=NOW)
        movement_requests.approve(request_id=renewal.pk, now=NOW + timedelta(hours=1), **decision)
        charged(caller, customer="ben", at=NOW + timedelta(hours=1))
        with pytest.raises(InsufficientCredits):
            movement_requests.approve(request_id=merger.pk, now=NOW + timedelta(hours=2), **decision)
        a_deposit(ben, "10", amount="0.10", now=NOW + timedelta(hours=3))
        movement_requests.approve(request_id=merger.pk, now=NOW + timedelta(hours=4), **decision)
        slip = ask(MovementKind.ADJUSTMENT, ann.pk, -200)
        movement_requests.withdraw(request_id=slip.pk, reason="Wrong customer", by=fiona, now=NOW)
        movement_requests.move(credits=Decimal(100), now=NOW + DAY, **grant)  # type: ignore[arg-type]

        assert account(ann) == table("""
            kind      lot  credits  value  balance
            grant     A         80   0.00       80
            grant     B        300   0.00      380
            transfer  C        142   2.84      522
            transfer  D          8   0.08      530
            grant     E        100   0.00      630
        """)
        assert account(ben) == table("""
            kind      lot  credits  value  balance
            deposit   A        150   3.00      150
            charge    A         -8  -0.16      142
            deposit   B         10   0.10      152
            transfer  A       -142  -2.84       10
            transfer  B         -8  -0.08        2
        """)
        by_hand = LedgerEntry.objects.filter(kind__in=("grant", "transfer")).order_by("id")
        signed = [(entry.kind, entry.actor, str(entry.approved_by or "-")) for entry in by_hand]
        assert signed == [
            ("grant", "user:fiona", "-"),
            ("grant", "user:fiona", "ada"),
            *[("transfer", "user:fiona", "ada")] * 4,
            ("grant", "user:fiona", "-"),
        ]
        books = trial_balance()
        assert sum(books.values()) == 0
        assert books[Account.DEFERRED_REVENUE] == Decimal("-2.94")  # 3.10 paid, 0.16 of it spent
        assert checking.check(now=NOW + DAY, actor="system:tests").is_clean
