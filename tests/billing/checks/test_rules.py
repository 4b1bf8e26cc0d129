"""Every rule of the ledger check sees the break that it is there for, when somebody gets past the triggers."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import connection

from billing import balance, checks
from billing.checks.rules import RULES
from billing.events import Capture, Charged
from billing.models import Basis, CheckRun, MovementKind, MovementRequest, Operation, Wallet
from billing.seal_chain import HOURS
from billing.services import (
    charging,
    customers,
    holds,
    ledger,
    movement_requests,
    refunds,
    rerating,
    seals,
    settlements,
    topup_refunds,
    topups,
)
from billing.services.idempotency import Call
from billing.services.rerating import Scope
from config.roles import Role
from pricing.services import rate_changes
from pricing.units import Usage
from tests import stripe_objects
from tests.billing import selling
from tests.billing.budgeting import a_budget
from tests.billing.factories import NOW, a_caller, a_deposit, a_price, a_wallet, an_event
from tests.people import a_person
from tests.pricing.factories import ProviderRateFactory, RateSeriesFactory

pytestmark = pytest.mark.django_db

LATER = NOW + timedelta(hours=3)


@pytest.fixture
def company() -> None:
    """One of everything that a rule looks at, and its hour sealed."""
    caller = a_caller()
    a_price("4")
    series = RateSeriesFactory.create(provider_model__name="claude-test", unit_kind="input")
    rate = ProviderRateFactory.create(series=series, price=Decimal(3), per=1_000_000)
    a_budget("1000000")
    wallet = a_wallet(caller, credits="100")
    other = a_wallet(caller, "user_43", credits="100")
    customers.set_overdraft_limit(wallet_id=wallet.pk, limit=Decimal(50), reason="Trusted", now=NOW)
    usage = Usage(provider="anthropic", model="claude-test", input_tokens=1_000)
    [charged] = charging.charge([an_event(caller, usage=usage)], now=NOW)
    assert isinstance(charged, Charged)
    refunds.refund_event(caller=caller, record_id=charged.record_id, credits=Decimal(1), reason="Sorry", now=NOW)
    ledger.transfer(from_wallet_id=other.pk, to_wallet_id=wallet.pk, credits=Decimal(5), reason="Same firm", actor="user:vera", now=NOW)
    asked = movement_requests.move(
        kind=MovementKind.GRANT,
        wallet_id=other.pk,
        credits=Decimal(20_000),
        reason="Renewal",
        requested_by=a_person(Role.FINANCE, name="fiona"),
        now=NOW,
    )
    assert isinstance(asked, MovementRequest)
    movement_requests.approve(request_id=asked.pk, reason="Agreed", decided_by=a_person(name="ada"), now=NOW)
    call = Call(caller.project_id, "hold_1", Operation.HOLD, b"0" * 16)
    placed = holds.place(
        caller=caller, customer=wallet.customer, event="chat.reply", quantity=None, credits=Decimal(9), expires_in=600, now=NOW, call=call
    )
    holds.capture(event=an_event(caller, capture=Capture(placed.hold.pk)), customer="user_42", now=NOW)
    assert len(seals.seal_due(now=LATER)) == 1
    a_deposit(wallet, "10", now=LATER)
    rate_changes.correct(
        rate=rate, price=Decimal(2), per=1_000_000, source="invoice", reason="Typed wrong", actor=a_person(name="vera"), now=LATER
    )
    scope = Scope(since=NOW - timedelta(days=1), until=LATER, basis=Basis.RATES, rate_ids=(rate.pk,))
    run = rerating.request(scope=scope, reason="Corrected", actor="user:vera", now=LATER)
    assert rerating.run(rerating_id=run.pk, clock=lambda: LATER).adjusted == 1
    _a_top_up_that_stripe_paid_out(other)


def _a_top_up_that_stripe_paid_out(wallet: Wallet) -> None:
    """A top-up of 9.99 USD, 2.00 of it refunded, paid out less the fee."""
    topup = selling.an_order(wallet, now=LATER)
    facts = topups.Facts(payment_intent="pi_1", charge="ch_1")
    topups.settle(topup_id=topup.pk, paid=topups.Paid(999, "USD", is_live=False, facts=facts), now=LATER)
    topup_refunds.apply(stripe_objects.refund(id="re_1", payment_intent="pi_1", charge="ch_1", amount=200), LATER)
    booked = stripe_objects.balance_transaction(source="ch_1", amount=999, fee=59, net=940)
    back = stripe_objects.balance_transaction(source="re_1", amount=-200, fee=0, net=-200, type="refund", reporting_category="refund")
    settlements.keep_payout(balance.paid_out(stripe_objects.payout(id="po_1", amount=740)), now=LATER)
    settlements.keep([balance.movement(one, payout="po_1") for one in (booked, back)], now=LATER)


def corrupt(statement: str) -> None:
    """Do what only somebody with the database's own powers can do."""
    of_stripe = ("topup", "topuprefund", "platformfee", "balancetransaction")
    of_wallets = ("movementrequest", "costadjustment", "ledgerentry", "wallet", "lot", "hold", "seal")
    tables = (*of_wallets, "usagerecord", "idempotencykey", "payment", *of_stripe)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in tables:
            cursor.execute(f"ALTER TABLE billing_{table} DISABLE TRIGGER USER")
        cursor.execute(statement)
        assert cursor.rowcount > 0, "the corruption touched nothing"
        for table in tables:
            cursor.execute(f"ALTER TABLE billing_{table} ENABLE TRIGGER USER")


def broken() -> set[str]:
    """Return the names of the rules that do not hold."""
    return {rule.rule for rule in checks.run().rules if rule.break_count}


CORRUPTIONS: dict[str, str] = {
    "balance": "UPDATE billing_wallet SET balance = balance + 1",
    "lot": "UPDATE billing_lot SET remaining = remaining - 1 WHERE kind = 'paid' AND remaining > 10",
    "lot_origin": "UPDATE billing_lot SET unit_value = unit_value * 2 WHERE kind = 'paid'",
    "lot_bounds": "UPDATE billing_lot SET granted = 1 WHERE kind = 'paid' AND remaining > 10",
    "running_balance": "UPDATE billing_ledgerentry SET balance_after = balance_after + 1 WHERE kind = 'refund'",
    "approval": "UPDATE billing_ledgerentry SET approved_by_id = NULL WHERE kind = 'grant'",
    "held": "UPDATE billing_wallet SET held = held + 1",
    "price_version": "UPDATE billing_ledgerentry SET occurred_at = '2020-01-01' WHERE kind = 'charge'",
    "usage_record": "UPDATE billing_usagerecord SET credits = credits + 1",
    "token_count": "UPDATE billing_usagerecord SET input_tokens = input_tokens - 1 WHERE cost_status = 'priced'",
    "provider_cost": "UPDATE billing_usagerecord SET cost_amount = cost_amount * 2 WHERE cost_status = 'priced'",
    "cost_adjustment": "UPDATE billing_costadjustment SET lines = '[]'",
    "adjustment_chain": "UPDATE billing_costadjustment SET number = 2",
    "idempotency": "DELETE FROM billing_idempotencykey WHERE operation = 'event'",
    "deposit": "UPDATE billing_payment SET amount = amount + 1",
    "reversal": "UPDATE billing_ledgerentry SET credits = 50 WHERE kind = 'refund'",
    "transfer": "UPDATE billing_ledgerentry SET credits = credits - 1 WHERE kind = 'transfer' AND credits < 0",
    "hold": "UPDATE billing_hold SET captured_credits = 1",
    "topup": "UPDATE billing_topup SET book_value = book_value + 1",
    "money_back": "UPDATE billing_topuprefund SET credits = credits + 1",
    "money_gone": "UPDATE billing_topuprefund SET state = 'failed'",
    "platform_fee": "UPDATE billing_platformfee SET payment_id = (SELECT min(id) FROM billing_payment)",
    "budget": "UPDATE billing_budgetwindow SET spent = spent + 1",
    "payout": "UPDATE billing_balancetransaction SET net_minor = net_minor - 1, amount_minor = amount_minor - 1",
    "seals": "UPDATE billing_ledgerentry SET reason = 'Nothing to see here' WHERE kind = 'refund'",
}


@pytest.mark.usefixtures("company")
class TestTheCheck:
    def test_finds_nothing_where_nothing_is_wrong(self) -> None:
        report = checks.run()
        assert report.is_clean, report.breaks
        looked_at = {rule.rule: rule.examined for rule in report.rules}
        assert all(looked_at.values()), f"a rule that examined nothing proves nothing: {looked_at}"

    def test_knows_a_corruption_for_every_rule(self) -> None:
        assert set(CORRUPTIONS) == {rule.name for rule in RULES} | {"seals"}

    @pytest.mark.parametrize("rule", CORRUPTIONS)
    def test_sees_the_break_that_a_rule_is_there_for(self, rule: str) -> None:
        if rule == "lot_bounds":
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                cursor.execute("ALTER TABLE billing_lot DROP CONSTRAINT lot_is_neither_overspent_nor_overfull")
        corrupt(CORRUPTIONS[rule])
        assert rule in broken()

    @pytest.mark.parametrize(
        ("rule", "statement"),
        [
            ("deposit", "UPDATE billing_ledgerentry SET payment_id = NULL, approved_by_id = NULL WHERE kind = 'deposit'"),
            ("lot_origin", "UPDATE billing_lot SET granted = granted + 1 WHERE kind = 'paid'"),
            ("approval", "UPDATE billing_movementrequest SET transaction_id = 1"),
            ("approval", "UPDATE billing_movementrequest SET credits = 1"),
            ("approval", "UPDATE billing_ledgerentry SET approved_by_id = (SELECT min(id) FROM auth_user) WHERE kind = 'transfer'"),
            ("adjustment_chain", "UPDATE billing_costadjustment SET amount_before = 1, amount = amount_after - 1"),
            ("adjustment_chain", "UPDATE billing_ledgerentry SET provider_cost = 1 WHERE kind = 'charge'"),
            ("adjustment_chain", "UPDATE billing_costadjustment SET recorded_at = recorded_at - interval '1 day'"),
            ("idempotency", "UPDATE billing_idempotencykey SET effect_id = effect_id + 1000000 WHERE operation = 'event'"),
            ("token_count", "UPDATE billing_usagerecord SET reasoning_tokens = output_tokens + 1"),
            ("token_count", "UPDATE billing_usagerecord SET cache_write_tokens = input_tokens + 1"),
            ("hold", "DELETE FROM billing_ledgerentry e USING billing_hold h WHERE e.transaction_id = h.usage_record_id"),
        ],
    )
    def test_sees_other_ways_to_break_it(self, rule: str, statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE billing_ledgerentry DROP CONSTRAINT entry_deposit_has_payment_or_approver")
        corrupt(statement)
        assert rule in broken()

    @pytest.mark.parametrize(("boundary", "finds"), [("max(id)", False), ("min(id) - 1", True)])
    def test_asks_for_requests_only_since_there_are_any(self, boundary: str, *, finds: bool) -> None:
        corrupt("UPDATE billing_ledgerentry SET approved_by_id = (SELECT min(id) FROM auth_user) WHERE kind = 'transfer'")
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE billing_ruleboundary DISABLE TRIGGER USER")
            cursor.execute(
                f"""
                INSERT INTO billing_ruleboundary (rule, entry_id)
                SELECT 'approval', {boundary} FROM billing_ledgerentry WHERE kind = 'transfer'
                ON CONFLICT (rule) DO UPDATE SET entry_id = excluded.entry_id
                """
            )
        assert ("approval" in broken()) is finds


@pytest.mark.usefixtures("company")
class TestTheSeals:
    @pytest.mark.parametrize(
        "statement",
        [
            "DELETE FROM billing_ledgerentry WHERE kind = 'refund'",
            "UPDATE billing_ledgerentry SET actor = 'user:mallory' WHERE kind = 'transfer'",
            "UPDATE billing_ledgerentry SET recorded_at = recorded_at - interval '1 day' WHERE kind = 'refund'",
            "UPDATE billing_seal SET digest = repeat('0', 64)",
            "UPDATE billing_seal SET entry_count = entry_count + 1",
            "UPDATE billing_seal SET ends_at = ends_at + interval '1 hour'",
        ],
    )
    def test_break_when_history_is_rewritten(self, statement: str) -> None:
        corrupt(statement)
        assert "seals" in broken()

    def test_do_not_depend_on_the_time_zone_of_a_session(self) -> None:
        with connection.cursor() as cursor:
            digests = []
            for zone in ("UTC", "Asia/Kathmandu"):  # 45 minutes off the hour
                cursor.execute("SELECT set_config('timezone', %s, true)", [zone])
                cursor.execute(HOURS, [NOW - timedelta(days=1), LATER])
                digests.append([(row[1], row[4]) for row in cursor.fetchall()])
            cursor.execute("SELECT set_config('timezone', 'UTC', true)")
        assert digests[0] == digests[1] != []


@pytest.mark.usefixtures("company")
class TestTheCommand:
    def test_is_silent_about_a_clean_ledger_and_keeps_the_result(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("ledger_check")
        assert "The ledger is clean" in capsys.readouterr().out
        assert CheckRun.objects.get().is_clean

    @pytest.mark.parametrize("options", [[], ["--json"]])
    def test_names_a_break_and_exits_with_1(self, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        corrupt("UPDATE billing_wallet SET balance = balance + 1")
        with pytest.raises(SystemExit) as exit_:
            call_command("ledger_check", *options)
        assert exit_.value.code == 1
        assert "wallet " in capsys.readouterr().out


def test_a_company_without_entries_is_clean_and_says_that_nothing_was_examined() -> None:
    report = checks.run()
    assert report.is_clean
    assert report.entry_count == 0
