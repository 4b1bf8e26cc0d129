"""Exceptions to budgets: asked for by one person, decided by another, once; they end by themselves."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User

from billing.errors import DecisionRefused, InvalidRequest, UnknownRequest
from billing.events import Caller
from billing.models import BillingNotice, Budget, BudgetException, ExceptionState
from billing.queries.budget_exceptions import Standing, standing, waiting
from billing.services import budget_exceptions, budgets, charging
from billing.services.budget_exceptions import LONGEST
from config.roles import Role
from tests.billing.budgeting import a_budget
from tests.billing.factories import NOW, a_caller, a_price, a_wallet, an_event
from tests.billing.selling import an_order
from tests.billing.services.rivals import at_once
from tests.people import a_person

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def enzo(db: None) -> User:
    return a_person(Role.ENGINEER, name="enzo")


@pytest.fixture
def fiona(db: None) -> User:
    return a_person(Role.FINANCE, name="fiona")


@pytest.fixture
def caller() -> Caller:
    caller = a_caller()
    a_price("4")
    a_wallet(caller, credits="1000")
    return caller


def asked(budget: Budget, by: User, **terms: Any) -> BudgetException:
    facts: dict[str, Any] = {"extra": Decimal(4), "reason": "Launch", "ticket": "OPS-1", "expires_at": NOW + HOUR, "now": NOW}
    return budget_exceptions.request(budget=budget, requested_by=by, **(facts | terms))


def approve(row: BudgetException, by: User, **terms: Any) -> BudgetException:
    facts: dict[str, Any] = {"exception_id": row.pk, "reason": "Fine", "decided_by": by, "now": NOW}
    return budget_exceptions.approve(**(facts | terms))


def codes(caller: Caller, count: int, **terms: Any) -> list[str]:
    results = charging.charge([an_event(caller) for _ in range(count)], **({"now": NOW} | terms))
    return [getattr(result, "code", "charged") for result in results]


class TestStory:
    def test_lets_so_much_more_through_from_its_approval_to_its_end(self, caller: Caller, enzo: User, fiona: User) -> None:
        budget = a_budget("4")
        row = asked(budget, enzo)
        assert codes(caller, 2) == ["charged", "budget_exceeded"]
        approve(row, fiona)
        assert codes(caller, 2) == ["charged", "budget_exceeded"]
        assert codes(caller, 1, now=NOW + HOUR) == ["budget_exceeded"]

    def test_ended_early_it_gives_nothing_more(self, caller: Caller, enzo: User, fiona: User) -> None:
        row = approve(asked(a_budget("4"), enzo), fiona)
        budget_exceptions.revoke(exception_id=row.pk, reason="Campaign is off", by=fiona, now=NOW)
        assert codes(caller, 2) == ["charged", "budget_exceeded"]

    def test_keeps_who_asked_who_decided_and_why(self, enzo: User, fiona: User) -> None:
        row = approve(asked(a_budget(), enzo, recharge_id="invoice 7"), fiona)
        budget_exceptions.revoke(exception_id=row.pk, reason="Off", by=enzo, now=NOW + HOUR / 2)
        kept = BudgetException.history.order_by("history_id").values_list("state", "decided_by__username", "history_change_reason")
        assert list(kept) == [("requested", None, "Launch"), ("approved", "fiona", "Fine"), ("revoked", "enzo", "Off")]


class TestAsking:
    @pytest.mark.parametrize(
        ("terms", "field"),
        [
            ({"extra": Decimal(0)}, "extra"),
            ({"extra": Decimal(-1)}, "extra"),
            ({"extra": Decimal("NaN")}, "extra"),
            ({"extra": Decimal("Infinity")}, "extra"),
            ({"extra": Decimal(10) ** 20}, "extra"),
            ({"extra": Decimal("1e-13")}, "extra"),
            ({"expires_at": NOW}, "expires_at"),
            ({"expires_at": NOW - HOUR}, "expires_at"),
            ({"expires_at": NOW + LONGEST + timedelta(seconds=1)}, "expires_at"),
            ({"starts_at": NOW + HOUR}, "expires_at"),
            ({"reason": " "}, "reason"),
            ({"ticket": " "}, "ticket"),
            ({"recharge_id": "topup_999"}, "recharge_id"),
            ({"recharge_id": "topup_x"}, "recharge_id"),
            ({"recharge_id": "pi_unknown"}, "recharge_id"),
        ],
    )
    def test_is_refused_with_the_field_to_mend(self, enzo: User, terms: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            asked(a_budget(), enzo, **terms)
        assert [error["field"] for error in refused.value.figures["errors"]] == [field]
        assert not BudgetException.objects.exists()

    def test_takes_a_top_up_that_is_there_and_records_of_other_systems(self, caller: Caller, enzo: User) -> None:
        topup = an_order(a_wallet(caller, "user_43"))
        for recharge in (f"topup_{topup.pk}", "INV-2026-7"):
            assert asked(a_budget(), enzo, recharge_id=recharge).recharge_id == recharge

    def test_may_last_92_days_and_begin_later(self, enzo: User, fiona: User) -> None:
        row = approve(asked(a_budget(), enzo, starts_at=NOW + HOUR, expires_at=NOW + LONGEST), fiona)
        assert [standing(row, now=NOW + after) for after in (0 * HOUR, HOUR, LONGEST)] == [Standing.AHEAD, Standing.IN_FORCE, Standing.OVER]

    def test_is_refused_of_a_budget_that_has_ended(self, enzo: User) -> None:
        budget = a_budget()
        budgets.end_budget(budget, now=NOW, reason="Over")
        with pytest.raises(DecisionRefused, match="has ended"):
            asked(budget, enzo)

    def test_tells_those_who_decide_but_not_whoever_asked(self, enzo: User, fiona: User) -> None:
        pavel = a_person(Role.PRODUCT_MANAGER, name="pavel")
        for person in (enzo, fiona, pavel):
            person.email = f"{person.username}@example.com"
            person.save()
        asked(a_budget(), pavel)
        assert list(BillingNotice.objects.values_list("kind", "recipient__username")) == [("exception_requested", "fiona")]


class TestDeciding:
    def test_is_for_another_person(self, fiona: User) -> None:
        row = asked(a_budget(), fiona)
        for decide in (budget_exceptions.approve, budget_exceptions.reject):
            with pytest.raises(DecisionRefused, match="another person decides"):
                decide(exception_id=row.pk, reason="Mine", decided_by=fiona, now=NOW)
        row.refresh_from_db()
        assert row.state == ExceptionState.REQUESTED

    @pytest.mark.django_db(transaction=True)
    def test_happens_once_of_eight_at_the_same_time(self, caller: Caller, enzo: User) -> None:
        row = asked(a_budget("4"), enzo)
        people = [a_person(Role.FINANCE, name=f"finance {number}") for number in range(8)]
        decide = (budget_exceptions.approve, budget_exceptions.reject)
        calls = [
            partial(decide[number % 2], exception_id=row.pk, reason="Mine", decided_by=person, now=NOW)
            for number, person in enumerate(people)
        ]
        results = at_once(calls)
        assert Counter(type(result).__name__ for result in results) == {"BudgetException": 1, "DecisionRefused": 7}
        row.refresh_from_db()
        assert all(f"by {row.decided_by}" in str(result) for result in results if isinstance(result, DecisionRefused))

    def test_too_late_only_rejects(self, enzo: User, fiona: User) -> None:
        row = asked(a_budget(), enzo)
        with pytest.raises(DecisionRefused, match="is over: reject it"):
            approve(row, fiona, now=NOW + HOUR)
        assert standing(row, now=NOW + HOUR) is Standing.TOO_LATE
        rejected = budget_exceptions.reject(exception_id=row.pk, reason="Too late", decided_by=fiona, now=NOW + HOUR)
        assert rejected.state == ExceptionState.REJECTED

    def test_is_refused_where_the_budget_has_ended(self, enzo: User, fiona: User) -> None:
        budget = a_budget()
        row = asked(budget, enzo)
        budgets.end_budget(budget, now=NOW, reason="Over")
        with pytest.raises(DecisionRefused, match="has ended"):
            approve(row, fiona)
        assert not waiting().exists()

    def test_needs_a_reason_and_an_exception(self, enzo: User, fiona: User) -> None:
        with pytest.raises(InvalidRequest, match="why"):
            approve(asked(a_budget(), enzo), fiona, reason=" ")
        with pytest.raises(UnknownRequest):
            budget_exceptions.approve(exception_id=0, reason="x", decided_by=fiona, now=NOW)


class TestTakingBack:
    def test_ones_own_before_anybody_decided(self, enzo: User, fiona: User) -> None:
        row = asked(a_budget(), enzo)
        with pytest.raises(DecisionRefused, match="Only enzo, who asked for this, can take it back: you can reject it"):
            budget_exceptions.revoke(exception_id=row.pk, reason="x", by=fiona, now=NOW)
        budget_exceptions.revoke(exception_id=row.pk, reason="Not needed", by=enzo, now=NOW)
        with pytest.raises(DecisionRefused, match="revoked by enzo meanwhile"):
            approve(row, fiona)

    def test_not_somebody_elses_without_the_right(self, enzo: User, fiona: User) -> None:
        row = approve(asked(a_budget(), enzo), fiona)
        with pytest.raises(DecisionRefused, match="or whoever decides"):
            budget_exceptions.revoke(exception_id=row.pk, reason="x", by=a_person(Role.SUPPORT), now=NOW)

    def test_not_what_is_over(self, enzo: User, fiona: User) -> None:
        row = approve(asked(a_budget(), enzo), fiona)
        with pytest.raises(DecisionRefused, match="by itself"):
            budget_exceptions.revoke(exception_id=row.pk, reason="x", by=fiona, now=NOW + HOUR)
