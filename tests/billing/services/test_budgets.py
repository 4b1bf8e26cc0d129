"""Budgets in the charge: what is counted, what is refused, and that no order of events passes a limit."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.db import OperationalError
from psycopg.errors import LockNotAvailable

from billing import checks
from billing.budgeting import Action, Measure, Window
from billing.errors import BudgetExceeded
from billing.events import Caller, Capture, Charged, Overage, Refused, Result
from billing.models import Budget, BudgetException, Customer, LedgerEntry, Operation, Project, Scope, UsageRecord
from billing.services import budget_folding, budgets, charging, holds, keys
from billing.services.idempotency import Call
from config.roles import Role
from pricing.models import EventType
from pricing.units import Usage
from tests.billing.budgeting import a_budget, spent
from tests.billing.factories import NOW, ProjectFactory, a_caller, a_price, a_wallet, an_event
from tests.billing.services.rivals import at_once
from tests.people import a_person

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def caller() -> Caller:
    a_price("4")
    caller = a_caller()
    a_wallet(caller, credits="100000")
    return caller


def charge(*events: object, now: datetime = NOW) -> list[Result]:
    return charging.charge(list(events), now=now)  # type: ignore[arg-type]


def codes(results: list[Result]) -> list[str]:
    return [result.code if isinstance(result, Refused) else "charged" for result in results]


def the_books_hold() -> None:
    report = checks.run()
    assert not report.breaks, report.breaks


class TestBlock:
    def test_refuses_what_does_not_fit_and_takes_it_in_the_next_window(self, caller: Caller) -> None:
        budget = a_budget("10", name="Support, a day")
        late = an_event(caller)
        assert codes(charge(an_event(caller), an_event(caller), late)) == ["charged", "charged", "budget_exceeded"]
        assert spent(budget) == [8]
        assert UsageRecord.objects.count() == 2, "a refused event leaves nothing behind"
        [refused] = charge(late)
        assert isinstance(refused, Refused)
        assert "'Support, a day' allows 10 credits a day: 8 spent, 2 left, and this event needs 4" in refused.detail
        assert refused.figures["retry_after"] == 14 * 3600
        assert codes(charge(late, now=NOW + timedelta(days=1))) == ["charged"]
        assert spent(budget) == [4, 8]
        the_books_hold()

    def test_is_met_exactly_by_64_callers(self, caller: Caller) -> None:
        budget = a_budget("92")
        results = at_once([partial(charge, an_event(caller)) for _ in range(64)])
        counted = Counter(code for result in results for code in codes(result))  # type: ignore[arg-type]
        assert counted == {"charged": 23, "budget_exceeded": 41}
        assert spent(budget) == [92]
        the_books_hold()

    def test_holds_across_wallets_that_share_nothing_else(self, caller: Caller) -> None:
        budget = a_budget("40")
        for number in range(16):
            a_wallet(caller, f"user_{number}", credits="100")
        results = at_once([partial(charge, an_event(caller, customer=f"user_{number}")) for number in range(16)])
        counted = Counter(code for result in results for code in codes(result))  # type: ignore[arg-type]
        assert counted == {"charged": 10, "budget_exceeded": 6}
        assert spent(budget) == [40]
        the_books_hold()

    def test_the_strictest_wins_and_the_answer_names_each(self, caller: Caller) -> None:
        wide, narrow = a_budget("100", name="Wide"), a_budget("6", name="Narrow", environment="production")
        [first] = charge(an_event(caller))
        assert isinstance(first, Charged)
        assert [(b.name, str(b.state), b.percent) for b in first.budgets] == [("Wide", "green", 4), ("Narrow", "green", Decimal("66.6"))]
        [second] = charge(an_event(caller))
        assert isinstance(second, Refused)
        assert [b["name"] for b in second.figures["budgets"]] == ["Narrow"]
        assert (spent(wide), spent(narrow)) == ([4], [4])

    def test_a_repeated_event_counts_once_and_tells_the_state_now(self, caller: Caller) -> None:
        budget = a_budget("100")
        event = an_event(caller)
        charge(event)
        charge(an_event(caller))
        [again] = charge(event)
        assert isinstance(again, Charged)
        assert again.replayed
        assert [b.spent for b in again.budgets] == [8]
        assert spent(budget) == [8]

    def test_late_events_count_in_the_window_they_occurred_in(self, caller: Caller) -> None:
        budget = a_budget("10")
        charge(an_event(caller))
        tomorrow = NOW + timedelta(days=1)
        [late] = charge(an_event(caller, occurred_at=NOW), now=tomorrow)
        assert isinstance(late, Charged)
        assert [(b.spent, b.is_late) for b in late.budgets] == [(8, True)]
        assert codes(charge(an_event(caller, occurred_at=NOW), now=tomorrow)) == ["budget_exceeded"]
        assert list(budget.windows.values_list("spent", "late")) == [(8, 4)]
        the_books_hold()

    def test_an_estimate_tells_what_the_charge_would(self, caller: Caller) -> None:
        budget = a_budget("4")
        assert isinstance(charging.estimate(an_event(caller), now=NOW), Charged)
        charge(an_event(caller))
        refused = charging.estimate(an_event(caller), now=NOW)
        assert isinstance(refused, Refused)
        assert refused.code == "budget_exceeded"
        assert spent(budget) == [4]

    def test_of_a_scope_leaves_others_alone(self, caller: Caller) -> None:
        other = a_caller(ProjectFactory.create())
        a_wallet(other, credits="100")
        a_budget("4", customer=Customer.objects.get(project_id=caller.project_id))
        assert codes(charge(an_event(caller), an_event(caller), an_event(other), an_event(other))) == [
            "charged",
            "budget_exceeded",
            "charged",
            "charged",
        ]

    def test_counts_internal_usage_by_requests_and_tokens(self, caller: Caller) -> None:
        requests, tokens = a_budget("3", measure=Measure.REQUESTS), a_budget("1000", measure=Measure.TOKENS)
        usage = Usage("anthropic", "claude-sonnet-4-5", input_tokens=300, output_tokens=100, requests=2)
        results = charge(*(an_event(caller, customer=None, usage=usage) for _ in range(2)))
        assert codes(results) == ["charged", "budget_exceeded"]
        assert (spent(requests), spent(tokens)) == ([2], [400])
        the_books_hold()


class TestException:
    def test_lets_so_much_more_through_until_it_ends(self, caller: Caller) -> None:
        budget = a_budget("4")
        asks, approves = a_person(Role.PRODUCT_MANAGER), a_person(Role.FINANCE)
        BudgetException.objects.create(
            budget=budget,
            extra=Decimal(4),
            reason="Launch",
            ticket="OPS-1",
            starts_at=NOW,
            expires_at=NOW + timedelta(hours=1),
            requested_by=asks,
            requested_at=NOW,
            state="approved",
            decided_by=approves,
            decided_at=NOW,
        )
        assert codes(charge(*(an_event(caller) for _ in range(3)))) == ["charged", "charged", "budget_exceeded"]
        assert codes(charge(an_event(caller), now=NOW + timedelta(hours=1))) == ["budget_exceeded"]


class TestHolds:
    def place(self, caller: Caller, key: str, credits: str = "4", now: datetime = NOW) -> holds.Placed:
        return holds.place(
            caller=caller,
            customer=Customer.objects.get(project_id=caller.project_id, external_id="user_42"),
            event="chat.reply",
            quantity=None,
            credits=Decimal(credits),
            expires_in=600,
            now=now,
            call=Call(caller.project_id, key, Operation.HOLD, b"1" * 16),
        )

    def test_count_as_reserved_until_they_end(self, caller: Caller) -> None:
        budget = a_budget("10")
        placed = self.place(caller, "h1", "8")
        assert codes(charge(an_event(caller))) == ["budget_exceeded"]
        with pytest.raises(BudgetExceeded, match="8 held"):
            self.place(caller, "h2")
        holds.release(caller=caller, hold_id=placed.hold.pk, now=NOW)
        assert codes(charge(an_event(caller))) == ["charged"]
        assert spent(budget) == [4]

    def test_leave_nothing_reserved_when_their_time_is_over(self, caller: Caller) -> None:
        a_budget("10")
        self.place(caller, "h1", "8")
        assert codes(charge(an_event(caller, customer="user_42"), now=NOW + timedelta(minutes=11))) == ["charged"]

    def test_a_capture_uses_what_was_reserved_for_it(self, caller: Caller) -> None:
        budget = a_budget("8")
        placed = self.place(caller, "h1", "8")
        captured = an_event(caller, capture=Capture(placed.hold.pk, Overage.REFUSE))
        assert codes(charge(captured, an_event(caller), an_event(caller))) == ["charged", "charged", "budget_exceeded"]
        assert spent(budget) == [8]
        the_books_hold()

    def test_reserve_nothing_in_budgets_that_they_were_not_placed_in(self, caller: Caller) -> None:
        a_price("4", event="doc.summary")
        key = keys.issue(project=Project.objects.get(pk=caller.project_id), name="Other", scopes=[Scope.METER], now=NOW).key
        of_key = a_budget("6", api_key=key)
        of_action = a_budget("6", event_type=EventType.objects.get(name="doc.summary"), measure=Measure.REQUESTS)
        with_key = replace(caller, api_key_id=key.pk)
        charge(an_event(with_key), *(an_event(caller, event="doc.summary") for _ in range(6)))
        placed = self.place(caller, "h1", "8")
        capture = Capture(placed.hold.pk, Overage.REFUSE)
        for captured in (an_event(with_key, capture=capture), an_event(caller, event="doc.summary", capture=capture)):
            assert codes(charge(captured)) == ["budget_exceeded"]
        assert (spent(of_key), spent(of_action)) == ([4], [6])
        the_books_hold()

    def test_and_charges_at_once_never_pass_the_limit(self, caller: Caller) -> None:
        budget = a_budget("40")
        calls: list[Callable[[], object]] = [partial(charge, an_event(caller)) for _ in range(12)]
        calls += [partial(self.place, caller, f"h{number}") for number in range(12)]
        results = at_once(calls)
        placed = [result for result in results[12:] if isinstance(result, holds.Placed)]
        charged = sum(codes(result) == ["charged"] for result in results[:12])  # type: ignore[arg-type]
        assert not [result for result in results[12:] if not isinstance(result, (holds.Placed, BudgetExceeded))]
        assert charged + len(placed) == 10
        assert spent(budget) == [4 * charged]
        the_books_hold()


class TestMaking:
    def test_counts_what_its_window_had_spent_before(self, caller: Caller) -> None:
        charge(an_event(caller, occurred_at=NOW - timedelta(days=1)), an_event(caller), an_event(caller))
        assert spent(a_budget("10")) == [8]
        assert spent(a_budget("10", action=Action.ALERT)) == [8]
        assert spent(a_budget("10", window=Window.MONTH)) == [12]
        assert codes(charge(an_event(caller))) == ["budget_exceeded"]
        the_books_hold()

    def test_asks_for_patience_where_a_charge_takes_too_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(budget_folding, "_LONGEST_CHARGE_SECONDS", 0.01)
        monkeypatch.setattr(budget_folding, "_under_way", lambda: {"7/7"})
        with pytest.raises(OperationalError) as caught:
            a_budget("10")
        assert isinstance(caught.value.__cause__, LockNotAvailable), "what pages and the API call busy"
        assert not Budget.objects.exists()

    def test_while_charges_are_under_way_counts_each_once(self, caller: Caller) -> None:
        for number in range(8):
            a_wallet(caller, f"user_{number}", credits="1000")

        def many(customer: str) -> None:
            for _ in range(12):
                charge(an_event(caller, customer=customer))

        calls: list[Callable[[], object]] = [partial(many, f"user_{number}") for number in range(8)]
        calls += [partial(a_budget, "100000", name=f"{action}", action=action) for action in (Action.BLOCK, Action.ALERT)]
        results = at_once(calls)
        assert not [result for result in results if isinstance(result, Exception)]
        budget_folding.fold(now=NOW)
        assert [spent(budget) for budget in results[8:]] == [[384], [384]]  # type: ignore[arg-type]
        the_books_hold()

    def test_from_alert_to_block_and_back_counts_on(self, caller: Caller) -> None:
        budget = a_budget("100", action=Action.ALERT)
        charge(an_event(caller))
        budgets.change_budget(budget, now=NOW, reason="Hold it", action=Action.BLOCK)
        assert spent(budget) == [4]
        charge(an_event(caller))
        budgets.change_budget(budget, now=NOW, reason="Let go", action=Action.ALERT)
        charge(an_event(caller))
        assert spent(budget) == [8]
        budget_folding.fold(now=NOW)
        assert spent(budget) == [12]
        the_books_hold()


class TestFolding:
    def test_counts_each_record_once_for_budgets_that_do_not_block(self, caller: Caller) -> None:
        budget = a_budget("5", action=Action.DOWNGRADE, target="claude-haiku-4-5")
        charge(an_event(caller), an_event(caller))
        assert spent(budget) == [0] or spent(budget) == []
        budget_folding.fold(now=NOW)
        budget_folding.fold(now=NOW)
        assert spent(budget) == [8]
        [told] = charge(an_event(caller))
        assert isinstance(told, Charged)
        assert [(b.action, b.target) for b in told.budgets] == [(Action.DOWNGRADE, "claude-haiku-4-5")]
        the_books_hold()

    def test_waits_for_a_charge_that_took_a_lower_number(self, caller: Caller) -> None:
        budget = a_budget("1000", action=Action.ALERT)
        for number in range(6):
            a_wallet(caller, f"user_{number}", credits="1000")

        def many(customer: str) -> None:
            for _ in range(10):
                charge(an_event(caller, customer=customer))

        def folding() -> None:
            for _ in range(20):
                budget_folding.fold(now=NOW)

        calls: list[Callable[[], object]] = [partial(many, f"user_{number}") for number in range(6)]
        results = at_once([*calls, folding])
        assert not [result for result in results if isinstance(result, Exception)]
        budget_folding.fold(now=NOW)
        assert spent(budget) == [240]
        the_books_hold()


def test_windows_are_those_of_the_time_zone(caller: Caller) -> None:
    """The day of the clock change in New York has 25 hours; what comes in the last one still belongs to it."""
    sunday = datetime(2026, 11, 1, 4, tzinfo=UTC)  # midnight of summer time
    budget = a_budget("12", time_zone="America/New_York", now=sunday)
    assert codes(charge(an_event(caller, occurred_at=sunday), now=sunday)) == ["charged"]
    last_hour = sunday + timedelta(hours=24, minutes=30)
    assert codes(charge(an_event(caller), now=last_hour)) == ["charged"]
    assert spent(budget) == [8]
    assert codes(charge(an_event(caller), now=sunday + timedelta(hours=25))) == ["charged"]
    assert spent(budget) == [4, 8]
    assert LedgerEntry.objects.filter(kind="charge").count() == 3
