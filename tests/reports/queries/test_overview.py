from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from billing.events import Caller, Charged
from billing.models import Basis, CheckRun, Wallet
from billing.services import charging, customers, ledger, rerating
from billing.services.seals import seal_due
from pricing.services import rate_changes
from pricing.units import Usage
from reports.queries import overview
from tests.billing.factories import NOW, a_caller, a_deposit, a_price, a_wallet, an_event
from tests.billing.services.test_rerating import rates
from tests.people import a_person

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
REPLY = Usage("acme", "nova-2", input_tokens=1_000)


@pytest.fixture
def caller() -> Caller:
    a_price("4")
    a_price("25", event="image.generate")
    return a_caller()


def charge(caller: Caller, event: str, *, at: datetime) -> Charged:
    [result] = charging.charge([an_event(caller, event=event)], now=at)
    assert isinstance(result, Charged)
    return result


class TestMovements:
    def test_add_up_today_and_the_six_days_before(self, caller: Caller) -> None:
        a_wallet(caller, credits="1000", now=NOW - 7 * DAY)
        midnight = NOW.replace(hour=0)
        charge(caller, "chat.reply", at=midnight - 6 * DAY - timedelta(seconds=1))
        charge(caller, "chat.reply", at=midnight - 6 * DAY)
        charge(caller, "image.generate", at=midnight - timedelta(seconds=1))
        charge(caller, "chat.reply", at=midnight)
        moved = overview.movements(now=NOW)
        assert (moved.spent.today, moved.spent.week) == (Decimal(4), Decimal(33))
        assert [(row.event, row.credits.today, row.credits.week, row.share_percent) for row in moved.events] == [
            ("image.generate", Decimal(0), Decimal(25), 100),
            ("chat.reply", Decimal(4), Decimal(8), 32),
        ]

    def test_a_day_begins_in_the_workspace_zone(self, caller: Caller) -> None:
        a_wallet(caller, credits="1000", now=NOW - DAY)
        charge(caller, "chat.reply", at=NOW.replace(hour=0) - timedelta(minutes=30))
        with timezone.override(ZoneInfo("Europe/Vienna")):
            assert overview.movements(now=NOW).spent.today == Decimal(4)
        assert overview.movements(now=NOW).spent.today == Decimal(0)

    def test_tell_bought_from_given_and_the_money(self, caller: Caller) -> None:
        wallet = a_wallet(caller)
        a_deposit(wallet, "100", amount="1.50")
        ledger.grant(wallet_id=wallet.pk, credits=Decimal(30), reason="Welcome", actor="user:ann", now=NOW)
        moved = overview.movements(now=NOW)
        assert (moved.bought.today, moved.given.week, moved.paid_week, moved.currency) == (
            Decimal(100),
            Decimal(30),
            Decimal("1.50"),
            "USD",
        )

    def test_of_an_empty_ledger_are_nothing(self) -> None:
        moved = overview.movements(now=NOW)
        assert (moved.spent.week, moved.bought.week, moved.events) == (Decimal(0), Decimal(0), ())


class TestTheDearest:
    def charge(self, caller: Caller, event: str, cost: str | None, *, at: datetime = NOW) -> Charged:
        reported = None if cost is None else Decimal(cost)
        [result] = charging.charge([an_event(caller, event=event, provider_cost=reported)], now=at)
        assert isinstance(result, Charged)
        return result

    def test_is_what_cost_most_in_the_week(self, caller: Caller) -> None:
        a_wallet(caller, credits="1000", now=NOW - 9 * DAY)
        self.charge(caller, "chat.reply", "508", at=NOW - 8 * DAY)
        self.charge(caller, "chat.reply", None)
        self.charge(caller, "chat.reply", "0.03")
        self.charge(caller, "image.generate", "0.29")
        found = overview.movements(now=NOW).dearest
        assert found == overview.Dearest("image.generate", Decimal("0.29"), Decimal("0.25"))
        assert not found.is_odd

    @pytest.mark.parametrize(("cost", "is_odd"), [("0.4", False), ("0.400001", True)])
    def test_is_odd_above_ten_times_what_its_kind_brings_in(self, cost: str, is_odd: bool, caller: Caller) -> None:
        a_wallet(caller, credits="1000", now=NOW - DAY)
        self.charge(caller, "chat.reply", "0.01")
        odd = self.charge(caller, "chat.reply", cost)
        moved = overview.movements(now=NOW)
        assert moved.dearest is not None
        assert moved.dearest.is_odd is is_odd
        assert overview.record_of(moved.dearest, since=moved.since) == odd.record_id

    def test_is_an_odd_one_though_another_kind_costs_more(self, caller: Caller) -> None:
        a_wallet(caller, credits="1000", now=NOW - DAY)
        self.charge(caller, "chat.reply", "0.5")
        self.charge(caller, "image.generate", "2")
        found = overview.movements(now=NOW).dearest
        assert found is not None
        assert found.event == "chat.reply"

    def rerate(self, basis: Basis) -> None:
        scope = rerating.Scope(since=NOW - DAY, until=NOW + DAY, basis=basis)
        row = rerating.request(scope=scope, reason="Rates changed", actor="user:vera", now=NOW + DAY)
        rerating.run(rerating_id=row.pk, clock=lambda: NOW + DAY)

    def test_is_one_whose_cost_became_known_since(self, caller: Caller) -> None:
        a_wallet(caller, credits="1000", now=NOW - DAY)
        self.charge(caller, "image.generate", "0.2")
        [unpriced] = charging.charge([an_event(caller, usage=REPLY)], now=NOW)
        assert isinstance(unpriced, Charged)
        rates("250", output_price=None)
        self.rerate(Basis.UNPRICED)
        moved = overview.movements(now=NOW)
        assert moved.dearest == overview.Dearest("chat.reply", Decimal("0.25"), Decimal("0.04"))
        assert overview.record_of(moved.dearest, since=moved.since) == unpriced.record_id

    def test_is_not_one_whose_cost_was_wrong(self, caller: Caller) -> None:
        a_wallet(caller, credits="1000", now=NOW - DAY)
        wrong = rates("3000", output_price=None)
        charging.charge([an_event(caller, usage=REPLY)], now=NOW)
        self.charge(caller, "image.generate", "0.29")
        rate_changes.correct(rate=wrong, price=Decimal(250), per=wrong.per, source="invoice", reason="Slip", actor=a_person(), now=NOW)
        self.rerate(Basis.ALL)
        found = overview.movements(now=NOW).dearest
        assert found == overview.Dearest("image.generate", Decimal("0.29"), Decimal("0.25"))

    def test_is_nobody_where_no_cost_is_known(self, caller: Caller) -> None:
        a_wallet(caller, credits="1000", now=NOW - DAY)
        self.charge(caller, "chat.reply", None)
        assert overview.movements(now=NOW).dearest is None


class TestWallets:
    def test_are_counted_when_low_frozen_or_in_debt(self, caller: Caller) -> None:
        low, frozen, owing = (a_wallet(caller, name, credits="2") for name in ("low", "frozen", "owing"))
        Wallet.objects.filter(pk=low.pk).update(low_balance_threshold=3)
        Wallet.objects.filter(pk=frozen.pk).update(status="frozen")
        customers.set_overdraft_limit(wallet_id=owing.pk, limit=Decimal(10), reason="Trusted", now=NOW)
        charging.charge([an_event(caller, customer="owing")], now=NOW)
        found = overview.wallets()
        assert (found.low.text, found.frozen.text, found.in_debt.text) == ("1", "1", "1")


class TestProof:
    def test_is_nothing_on_a_new_desk(self) -> None:
        proof = overview.proof()
        assert (proof.sealed_until, proof.checked_at, proof.broken_rules) == (None, None, 0)

    def test_is_the_newest_seal_and_the_last_check(self, caller: Caller) -> None:
        a_wallet(caller, credits="10", now=NOW - timedelta(hours=3))
        [*_, seal] = seal_due(now=NOW)
        rules = [{"rule": "balance", "break_count": 1}]
        CheckRun.objects.create(started_at=NOW, duration_ms=1, entry_count=1, is_clean=False, rules=rules, actor="system:tests")
        proof = overview.proof()
        assert (proof.sealed_until, proof.digest) == (seal.ends_at, seal.digest)
        assert (proof.checked_at, proof.is_clean, proof.broken_rules) == (NOW, False, 1)


class TestFirstSteps:
    def test_are_ticked_off_one_by_one(self) -> None:
        assert overview.first_steps() == overview.FirstSteps(has_key=False, has_price=False, has_customer=False, has_usage=False)
        a_price("4")
        caller = a_caller()
        a_wallet(caller, credits="10")
        assert overview.first_steps() == overview.FirstSteps(has_key=False, has_price=True, has_customer=True, has_usage=False)
        charge(caller, "chat.reply", at=NOW)
        assert overview.first_steps().are_done
