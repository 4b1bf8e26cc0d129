"""A backtest by hand: two customers, five actions, one candidate price."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.events import Caller, Capture, Overage
from billing.models import Operation, Wallet
from billing.services import customers, holds, ledger, refunds
from billing.services.idempotency import Call
from config.base.exact import Rounding
from pricing.definition import Definition
from pricing.models import PriceRule, PriceVersion
from pricing.price import Component
from reports.queries import backtest as backtests
from reports.queries.backtest import backtest
from tests.billing.factories import NOW, a_caller, a_deposit, a_price, a_wallet, an_event
from tests.reports.usage import LARGE, SMALL, act, tokens, two_models

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
START = datetime(2026, 11, 13, tzinfo=UTC)
END = START + 7 * DAY
BEFORE = START - DAY

FLAT = Definition(Decimal(4), (), (), Decimal(0), Decimal("0.000001"), Rounding.HALF_UP)
# Two credits and two more per 1,000 output tokens, whole credits.
BY_TOKENS = Definition(Decimal(2), (Component("output", Decimal(2), 1000),), (), Decimal(0), Decimal(1), Rounding.UP)


@pytest.fixture
def caller() -> Caller:
    two_models()
    a_price("4")
    return a_caller()


def run(definition: Definition, *, now: datetime = NOW) -> dict[str, Any]:
    return backtest(PriceRule.objects.get(), definition, start=START, end=END, now=now)


class TestWorkedExample:
    """Ann got six credits and bought a hundred for a cent each; Bob bought nine for two cents each."""

    @pytest.fixture
    def found(self, caller: Caller) -> dict[str, Any]:
        ann = a_wallet(caller, "ann", now=BEFORE)
        ledger.grant(wallet_id=ann.pk, credits=Decimal(6), reason="Welcome", actor="user:ann", now=BEFORE)
        a_deposit(ann, "100", amount="1.00", now=BEFORE)
        a_deposit(a_wallet(caller, "bob", now=BEFORE), "9", amount="0.18", now=BEFORE)
        act(caller, START, customer="ann", usage=tokens(LARGE, 1000, 200))  # 4 given -> 3; costs 0.006
        act(caller, START + DAY, customer="ann", usage=tokens(LARGE, 2000, 100))  # 2 given, 2 bought -> 3; costs 0.0075
        failed = act(caller, START + 2 * DAY, customer="ann", usage=tokens(SMALL, 1000, 3000))  # 4 bought -> 8; costs 0.016
        refunds.refund_event(caller=caller, record_id=failed.record_id, credits=Decimal(3), reason="No reply", now=NOW)  # 1 kept -> 2
        act(caller, START + 3 * DAY, customer="bob", usage=tokens(LARGE, 1000, 1500))  # 4 bought -> 5; costs 0.0255
        act(caller, START + 4 * DAY, customer="bob", usage=tokens("unheard-of", 0, 1500))  # 4 bought -> 5; cost unknown
        return run(BY_TOKENS, now=NOW + DAY)

    def test_margin(self, found: dict[str, Any]) -> None:
        assert (found["events"], found["unpriced"], found["sampled"], found["currency"]) == (5, 1, False, "USD")
        assert (found["credits_before"], found["credits_after"]) == ("17", "18")
        # 0.02 + 0.01 + 0.08; three quarters of the first, twice the second, five quarters of the third
        assert (found["value_before"], found["value_after"], found["cost"]) == ("0.11", "0.135", "0.055")
        assert (found["margin_before"], found["margin_after"]) == ("0.5", "0.592593")

    def test_customers(self, found: dict[str, Any], caller: Caller) -> None:
        assert {name: found["customers"][name] for name in ("up", "down", "same")} == {"up": 1, "down": 1, "same": 0}
        bob, ann = found["customers"]["top"]
        assert bob == {"customer": f"{caller.project_key}/bob", "events": 2, "credits_before": "8", "credits_after": "10", "delta": "2"}
        assert (ann["customer"], ann["delta"]) == (f"{caller.project_key}/ann", "-1")

    def test_wallets(self, found: dict[str, Any], caller: Caller) -> None:
        """Bob's second action took his wallet from 5 to 1; dearer, it would have asked for 5 of 4."""
        at = (START + 4 * DAY).isoformat()
        assert found["wallets_at_zero"] == [{"customer": f"{caller.project_key}/bob", "balance": "1", "would_have_ended_at": at}]
        assert found["wallets_at_zero_count"] == 1


class TestPrice:
    def test_of_now_changes_nothing(self, caller: Caller) -> None:
        a_wallet(caller, credits="8", now=BEFORE)
        for _ in range(2):
            act(caller, START, usage=tokens(LARGE, 10, 10))
        found = run(PriceVersion.objects.get().definition())
        assert found["credits_before"] == found["credits_after"] == "8"
        assert found["value_before"] == found["value_after"] == "0.08"
        assert found["customers"]["same"] == 1
        assert found["wallets_at_zero_count"] == 0

    def test_of_what_was_free_is_worth_the_workspaces_credit_value(self, caller: Caller) -> None:
        a_price("0", effective_from=START, now=START - DAY)
        a_wallet(caller, credits="8", now=BEFORE)
        act(caller, START, usage=tokens(LARGE, 1000, 0))
        found = run(FLAT)
        assert (found["credits_before"], found["credits_after"], found["value_after"]) == ("0", "4", "0.04")
        assert found["margin_before"] is None

    def test_of_what_is_kept_in_the_cache_for_an_hour_counts_its_tokens_apart(self, caller: Caller) -> None:
        """500 for five minutes at 2 credits per 1,000, 1,000 for an hour at 5: 1 + 5, where 4 were charged."""
        a_wallet(caller, credits="8", now=BEFORE)
        act(caller, START, usage=tokens(LARGE, 2000, 0, cache_write_tokens=1500, cache_write_1h_tokens=1000))
        components = (Component("cache_write", Decimal(2), 1000), Component("cache_write_1h", Decimal(5), 1000))
        found = run(replace(FLAT, credits_per_event=Decimal(0), components=components))
        assert (found["credits_before"], found["credits_after"]) == ("4", "6")

    def test_of_an_action_given_back_stays_nothing(self, caller: Caller) -> None:
        a_wallet(caller, credits="8", now=BEFORE)
        failed = act(caller, START, usage=tokens(LARGE, 1000, 0))
        refunds.refund_event(caller=caller, record_id=failed.record_id, credits=None, reason="No reply", now=NOW)
        found = run(replace(FLAT, credits_per_event=Decimal(9)), now=NOW + DAY)
        assert (found["credits_before"], found["credits_after"], found["cost"]) == ("0", "0", "0.003")

    def test_waives_the_same_share_as_a_capture_did(self, caller: Caller) -> None:
        """Three credits of four were there; of eight, six would be charged."""
        wallet = a_wallet(caller, credits="3", now=BEFORE)
        customer = wallet.customer
        call = Call(caller.project_id, "hold", Operation.HOLD, b"h" * 16)
        held = holds.place(
            caller=caller, customer=customer, event="chat.reply", quantity=None, credits=Decimal(1), expires_in=600, now=START, call=call
        )
        action = an_event(caller, usage=tokens(LARGE, 1000, 0), capture=Capture(held.hold.pk, Overage.AVAILABLE))
        holds.capture(event=action, customer="user_42", now=START + timedelta(minutes=1))
        found = run(replace(FLAT, credits_per_event=Decimal(8)))
        assert (found["credits_before"], found["credits_after"]) == ("3", "6")

    def test_without_any_usage_has_no_margin(self, caller: Caller) -> None:
        found = run(FLAT)
        assert (found["events"], found["margin_before"], found["margin_after"], found["customers"]["top"]) == (0, None, None, [])


class TestWallets:
    def replay(self, caller: Caller, *, price: str) -> int:
        act(caller, START, usage=tokens(LARGE, 10, 10))
        count: int = run(replace(FLAT, credits_per_event=Decimal(price)))["wallets_at_zero_count"]
        return count

    def test_may_be_emptied_to_the_last_credit(self, caller: Caller) -> None:
        a_wallet(caller, credits="6", now=BEFORE)
        assert self.replay(caller, price="6") == 0

    def test_run_dry_below_nothing(self, caller: Caller) -> None:
        a_wallet(caller, credits="6", now=BEFORE)
        assert self.replay(caller, price="6.000001") == 1

    def test_may_use_their_overdraft(self, caller: Caller) -> None:
        wallet = a_wallet(caller, credits="6", now=BEFORE)
        customers.set_overdraft_limit(wallet_id=wallet.pk, limit=Decimal(2), reason="Trusted", now=BEFORE)
        assert self.replay(caller, price="8") == 0
        assert run(replace(FLAT, credits_per_event=Decimal(9)))["wallets_at_zero_count"] == 1

    def test_run_dry_once_their_overdraft_is_used_up(self, caller: Caller) -> None:
        wallet = a_wallet(caller, credits="8", now=BEFORE)
        customers.set_overdraft_limit(wallet_id=wallet.pk, limit=Decimal(2), reason="Trusted", now=BEFORE)
        for day in range(2):
            act(caller, START + day * DAY, usage=tokens(LARGE, 10, 10))
        found = run(replace(FLAT, credits_per_event=Decimal(9)))
        assert [row["would_have_ended_at"] for row in found["wallets_at_zero"]] == [(START + DAY).isoformat()]

    def test_pay_a_charge_of_two_lots_once(self, caller: Caller) -> None:
        wallet = a_wallet(caller, credits="7", now=BEFORE)
        ledger.grant(wallet_id=wallet.pk, credits=Decimal(2), reason="Welcome", actor="user:ann", now=BEFORE)
        for day in range(2):
            act(caller, START + day * DAY, usage=tokens(LARGE, 10, 10))
        found = run(replace(FLAT, credits_per_event=Decimal(7)))
        assert [row["would_have_ended_at"] for row in found["wallets_at_zero"]] == [(START + DAY).isoformat()]

    def test_run_dry_by_actions_only(self, caller: Caller) -> None:
        wallet = a_wallet(caller, credits="6", now=BEFORE)
        act(caller, START, usage=tokens(LARGE, 10, 10))
        ledger.adjust(wallet_id=wallet.pk, credits=Decimal(-1), reason="Slip", actor="user:ann", now=START + DAY)
        assert run(replace(FLAT, credits_per_event=Decimal("5.5")))["wallets_at_zero_count"] == 0

    def test_run_dry_in_an_action_of_another_price(self, caller: Caller) -> None:
        rule = PriceRule.objects.get()
        a_price("3", event="image.generate")
        a_wallet(caller, credits="7", now=BEFORE)
        act(caller, START, usage=tokens(LARGE, 10, 10))
        act(caller, START + DAY, event="image.generate")
        found = backtest(rule, replace(FLAT, credits_per_event=Decimal(5)), start=START, end=END, now=NOW)
        assert [row["would_have_ended_at"] for row in found["wallets_at_zero"]] == [(START + DAY).isoformat()]

    def test_are_replayed_with_what_came_in(self, caller: Caller) -> None:
        wallet = a_wallet(caller, credits="4", now=BEFORE)
        act(caller, START, usage=tokens(LARGE, 10, 10))
        a_deposit(wallet, "10", now=START + DAY)
        act(caller, START + 2 * DAY, usage=tokens(LARGE, 10, 10))
        assert Wallet.objects.get().balance == 6
        found = run(replace(FLAT, credits_per_event=Decimal(5)))
        assert [row["would_have_ended_at"] for row in found["wallets_at_zero"]] == [START.isoformat()]

    def test_run_dry_before_what_becomes_cheaper_makes_up_for_it(self, caller: Caller) -> None:
        wallet = a_wallet(caller, credits="4", now=BEFORE)
        act(caller, START, usage=tokens(LARGE, 10, 3000))  # 8 instead of 4
        a_deposit(wallet, "20", now=START + timedelta(hours=1))
        for hour in range(2, 7):
            act(caller, START + timedelta(hours=hour), usage=tokens(LARGE, 10, 10))  # 3 instead of 4
        found = run(BY_TOKENS)
        assert found["customers"]["down"] == 1
        assert [row["would_have_ended_at"] for row in found["wallets_at_zero"]] == [START.isoformat()]


class TestSample:
    def test_is_the_same_each_time_and_says_so(self, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        a_wallet(caller, credits="400", now=BEFORE)
        for minute in range(40):
            act(caller, START + timedelta(minutes=minute), usage=tokens(LARGE, 10, 10))
        whole = run(BY_TOKENS)
        monkeypatch.setattr(backtests, "MAX_RECORDS", 10)
        part = run(BY_TOKENS)
        assert (whole["sampled"], whole["every"], whole["events"]) == (False, 1, 40)
        assert (part["sampled"], part["every"]) == (True, 4)
        assert 0 < part["events"] < 30
        assert part["margin_after"] == whole["margin_after"]
        assert run(BY_TOKENS) == part
