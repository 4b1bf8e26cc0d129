"""The money rules in the database: what raw SQL may not write, whoever writes it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.events import Caller, Charged
from billing.models import Hold, LedgerEntry, Lot, Wallet
from billing.services import charging, customers
from pricing.models import PriceVersion
from tests.billing.factories import LAST_YEAR, NOW, a_caller, a_price, a_wallet, an_event
from tests.billing.models.raw import execute, refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def caller() -> Caller:
    a_price("4")
    return a_caller()


@pytest.fixture
def wallet(caller: Caller) -> Wallet:
    return a_wallet(caller, credits="10")


@pytest.fixture
def lot(wallet: Wallet) -> Lot:
    return Lot.objects.get(wallet=wallet)


def enter(lot: Lot, **columns: Any) -> int:
    """Insert a ledger entry by hand; a harmless adjustment of -1 unless told otherwise."""
    row = {
        "transaction_id": 1,
        "wallet_id": lot.wallet_id,
        "lot_id": lot.pk,
        "kind": "adjustment",
        "credits": Decimal(-1),
        "value": Decimal("-0.01"),
        "balance_after": 0,
        "actor": "user:mallory",
        "reason": "By hand",
        "request_id": "",
        "model": "",
        "occurred_at": NOW,
        "recorded_at": NOW,
        **columns,
    }
    marks = ", ".join(["%s"] * len(row))
    return execute(f"INSERT INTO billing_ledgerentry ({', '.join(row)}) VALUES ({marks})", *row.values())


def charge(caller: Caller) -> LedgerEntry:
    [result] = charging.charge([an_event(caller)], now=NOW)
    assert isinstance(result, Charged)
    return LedgerEntry.objects.get(transaction_id=result.record_id)


class TestMovingCredits:
    def test_an_entry_moves_its_lot_and_its_wallet(self, lot: Lot, wallet: Wallet) -> None:
        """The one way that works, so that the refusals below are not refused for some other reason."""
        assert enter(lot) == 1
        lot.refresh_from_db()
        wallet.refresh_from_db()
        assert (lot.remaining, lot.value_remaining, wallet.balance) == (9, Decimal("0.09"), 9)

    @pytest.mark.parametrize("change", ["balance = balance + 1", "held = held + 1", "held = 1, balance = 0"])
    def test_a_balance_is_not_set(self, wallet: Wallet, change: str) -> None:
        with refused("A balance moves by ledger entries"):
            execute(f"UPDATE billing_wallet SET {change} WHERE id = %s", wallet.pk)

    @pytest.mark.parametrize("change", ["remaining = remaining - 1", "value_remaining = 0"])
    def test_what_is_left_of_a_lot_is_not_set(self, lot: Lot, change: str) -> None:
        with refused("moves by ledger entries"):
            execute(f"UPDATE billing_lot SET {change} WHERE id = %s", lot.pk)

    @pytest.mark.parametrize("change", ["granted = 20", "unit_value = 1", "value = 1", "kind = 'promotional'", "payment_id = NULL"])
    def test_where_a_lot_came_from_is_not_rewritten(self, lot: Lot, change: str) -> None:
        with refused("never changes"):
            execute(f"UPDATE billing_lot SET {change} WHERE id = %s", lot.pk)

    def test_wallets_and_lots_start_empty(self, lot: Lot, caller: Caller) -> None:
        other = a_wallet(caller, "other")
        with refused("A lot starts empty"):
            execute(
                "INSERT INTO billing_lot (wallet_id, kind, granted, remaining, credit_limit, unit_value, value, value_remaining, priority,"
                " note, created_at) VALUES (%s, 'paid', 5, 5, 0, 1, 5, 5, 50, '', now())",
                other.pk,
            )
        execute(
            "INSERT INTO billing_customer (project_id, environment, external_id, name, plan, email, metadata, created_at)"
            " SELECT project_id, environment, 'mallory', '', '', '', '{}', now() FROM billing_customer LIMIT 1"
        )
        with refused("A wallet starts empty"):
            execute(
                "INSERT INTO billing_wallet (customer_id, balance, held, overdraft_limit, status)"
                " SELECT id, 5, 0, 0, 'active' FROM billing_customer WHERE external_id = 'mallory'"
            )

    def test_an_entry_stays_within_its_wallet(self, lot: Lot, caller: Caller) -> None:
        other = a_wallet(caller, "other", credits="10")
        with refused("names a lot that is not of its wallet"):
            enter(lot, wallet_id=other.pk)

    def test_an_entry_names_a_lot_that_exists(self, lot: Lot) -> None:
        with refused("names a lot that is not of its wallet"):
            enter(lot, lot_id=lot.pk + 1000)

    def test_a_lot_is_not_overspent(self, lot: Lot) -> None:
        with refused("lot_is_neither_overspent_nor_overfull"):
            enter(lot, credits=Decimal("-10.000001"), value=Decimal("-0.10"))

    def test_a_lot_is_not_overfilled(self, lot: Lot) -> None:
        with refused("lot_is_neither_overspent_nor_overfull"):
            enter(lot, credits=Decimal(1), value=Decimal(0))

    def test_an_empty_lot_keeps_no_value(self, lot: Lot) -> None:
        with refused("lot_empty_holds_no_value"):
            enter(lot, credits=Decimal(-10), value=Decimal("-0.09"))

    def test_a_lot_gives_no_more_value_than_it_has(self, lot: Lot) -> None:
        with refused("lot_value_is_within_its_bounds"):
            enter(lot, credits=Decimal(-1), value=Decimal("-0.11"))

    def test_an_overdraft_stays_within_its_limit(self, wallet: Wallet) -> None:
        customers.set_overdraft_limit(wallet_id=wallet.pk, limit=Decimal(5), reason="Test", now=NOW)
        debt = Lot.objects.get(wallet=wallet, kind="overdraft")
        assert enter(debt, credits=Decimal(-5)) == 1
        with refused("lot_is_neither_overspent_nor_overfull"):
            enter(debt, credits=Decimal("-0.000001"))

    def test_a_wallet_owes_in_one_lot(self, wallet: Wallet) -> None:
        customers.set_overdraft_limit(wallet_id=wallet.pk, limit=Decimal(5), reason="Test", now=NOW)
        with refused("lot_one_overdraft_per_wallet"):
            execute(
                "INSERT INTO billing_lot (wallet_id, kind, granted, remaining, credit_limit, unit_value, value, value_remaining, priority,"
                " note, created_at) VALUES (%s, 'overdraft', 0, 0, 5, 0, 0, 0, 100, '', now())",
                wallet.pk,
            )


class TestWhatAnEntryNeeds:
    def charge_columns(self, **columns: Any) -> dict[str, Any]:
        version = PriceVersion.objects.get()
        return {"kind": "charge", "usage_record_id": 1, "price_version_id": version.pk, **columns}

    def test_a_charge_needs_a_price_version(self, lot: Lot) -> None:
        assert enter(lot, **self.charge_columns()) == 1
        for missing in (None, 1_000_000):
            with refused("A charge needs a price version|entry_charge_has_price_and_usage"):
                enter(lot, **self.charge_columns(price_version_id=missing))

    def test_a_charge_needs_a_usage_record(self, lot: Lot) -> None:
        with refused("entry_charge_has_price_and_usage"):
            enter(lot, **self.charge_columns(usage_record_id=None))

    def test_the_version_was_active_when_it_occurred(self, lot: Lot) -> None:
        end = NOW + timedelta(days=1)
        execute("UPDATE pricing_priceversion SET effective_to = %s", end)
        moment = timedelta(microseconds=1)
        for outside in (LAST_YEAR - moment, end):
            with refused("A charge needs a price version that was active"):
                enter(lot, **self.charge_columns(occurred_at=outside))
        for inside in (LAST_YEAR, end - moment):
            assert enter(lot, **self.charge_columns(occurred_at=inside)) == 1

    def test_a_deposit_needs_a_payment_or_an_approver(self, lot: Lot) -> None:
        enter(lot)
        with refused("entry_deposit_has_payment_or_approver"):
            enter(lot, kind="deposit", credits=Decimal(1), value=Decimal("0.01"))

    @pytest.mark.parametrize("kind", ["grant", "adjustment"])
    def test_what_is_done_by_hand_needs_a_reason(self, lot: Lot, kind: str) -> None:
        enter(lot)
        with refused("entry_by_hand_has_a_reason"):
            enter(lot, kind=kind, credits=Decimal(1), value=Decimal(0), reason="")

    @pytest.mark.parametrize(
        ("columns", "constraint"),
        [
            ({"credits": Decimal(0)}, "entry_moves_credits"),
            ({"kind": "gift"}, "entry_kind_is_known"),
            ({"actor": ""}, "entry_has_an_actor"),
            ({"kind": "expiry", "credits": Decimal(1)}, "entry_takes_credits"),
            ({"kind": "withdrawal", "credits": Decimal(1)}, "entry_takes_credits"),
            ({"kind": "grant"}, "entry_gives_credits"),
            ({"kind": "refund", "credits": Decimal(1)}, "entry_refund_names_its_charge"),
        ],
        ids=lambda case: case if isinstance(case, str) else "",
    )
    def test_signs_kinds_and_actors(self, lot: Lot, columns: dict[str, Any], constraint: str) -> None:
        with refused(constraint):
            enter(lot, **columns)

    def test_nothing_enters_a_sealed_hour(self, lot: Lot) -> None:
        execute(
            "INSERT INTO billing_seal (starts_at, ends_at, entry_count, credits, value, previous_digest, digest, sealed_at)"
            " VALUES (%s, %s, 1, 10, 0.10, '', repeat('1', 64), %s)",
            *(NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=2)),
        )
        for sealed in (NOW, NOW + timedelta(minutes=59), NOW - timedelta(days=30)):
            with refused("This hour of the ledger is sealed"):
                enter(lot, recorded_at=sealed)
        assert enter(lot, recorded_at=NOW + timedelta(hours=1), occurred_at=NOW) == 1


class TestReversals:
    def reversal(self, charge: LedgerEntry, **columns: Any) -> dict[str, Any]:
        return {"kind": "refund", "credits": Decimal(4), "value": Decimal("0.04"), "reverses_id": charge.pk, **columns}

    def test_never_exceed_the_original(self, lot: Lot, caller: Caller) -> None:
        charge(caller)
        original = charge(caller)
        enter(lot, **self.reversal(original, credits=Decimal(3), value=Decimal("0.03")))
        with refused("never exceeds it"):
            enter(lot, **self.reversal(original, credits=Decimal("1.000001"), value=Decimal("0.01")))
        with refused("never exceeds it"):
            enter(lot, **self.reversal(original, credits=Decimal(1), value=Decimal("0.010000000001")))
        assert enter(lot, **self.reversal(original, credits=Decimal(1), value=Decimal("0.01"))) == 1

    def test_go_back_to_the_lot_of_the_original(self, lot: Lot, wallet: Wallet, caller: Caller) -> None:
        other = a_wallet(caller, "other", credits="10")
        foreign = Lot.objects.get(wallet=other)
        enter(foreign)
        with refused("goes back to the lot of its original"):
            enter(foreign, **self.reversal(charge(caller), credits=Decimal(1), value=Decimal("0.01")))

    def test_have_the_opposite_sign(self, lot: Lot, caller: Caller) -> None:
        with refused("goes back to the lot of its original"):
            enter(lot, **self.reversal(charge(caller), kind="adjustment", credits=Decimal(-1), value=Decimal("-0.01")))


class TestHolds:
    @pytest.fixture
    def hold(self, wallet: Wallet, caller: Caller) -> Hold:
        return Hold.objects.create(
            project_id=caller.project_id,
            wallet=wallet,
            event_type_id=PriceVersion.objects.get().rule.event_type_id,
            credits=Decimal(4),
            available_after=Decimal(6),
            request_id="",
            created_at=NOW,
            first_expires_at=NOW,
            expires_at=NOW,
        )

    def held(self, wallet: Wallet) -> Decimal:
        held: Decimal = Wallet.objects.get(pk=wallet.pk).held
        return held

    def test_move_what_is_held(self, hold: Hold, wallet: Wallet) -> None:
        assert self.held(wallet) == 4
        execute("UPDATE billing_hold SET status = 'released', ended_at = now() WHERE id = %s", hold.pk)
        assert self.held(wallet) == 0

    @pytest.mark.parametrize("change", ["credits = 5", "created_at = now()", "wallet_id = wallet_id + 1"])
    def test_an_open_one_keeps_its_credits(self, hold: Hold, change: str) -> None:
        with refused("an open one keeps its credits"):
            execute(f"UPDATE billing_hold SET {change} WHERE id = %s", hold.pk)

    @pytest.mark.parametrize("change", ["status = 'open', ended_at = NULL", "expires_at = now()", "status = 'expired'"])
    def test_one_that_has_ended_stays_as_it_is(self, hold: Hold, change: str) -> None:
        execute("UPDATE billing_hold SET status = 'released', ended_at = now() WHERE id = %s", hold.pk)
        with refused("A hold that has ended stays as it is"):
            execute(f"UPDATE billing_hold SET {change} WHERE id = %s", hold.pk)

    @pytest.mark.parametrize(
        ("change", "constraint"),
        [
            ("status = 'released'", "hold_ends_when_it_is_not_open"),
            ("status = 'captured', ended_at = now()", "hold_captured_names_its_record"),
            ("status = 'lost', ended_at = now()", "hold_status_is_known"),
        ],
    )
    def test_end_completely(self, hold: Hold, change: str, constraint: str) -> None:
        with refused(constraint):
            execute(f"UPDATE billing_hold SET {change} WHERE id = %s", hold.pk)


class TestUniqueness:
    def test_a_payment_is_credited_once(self, lot: Lot) -> None:
        with refused("payment_is_credited_once"):
            execute(
                "INSERT INTO billing_payment (wallet_id, project_id, environment, source, external_id, amount, currency, metadata,"
                " received_at) SELECT wallet_id, project_id, environment, source, external_id, amount, currency, metadata, received_at"
                " FROM billing_payment"
            )

    def test_a_key_is_used_once(self, caller: Caller, wallet: Wallet) -> None:
        charge(caller)
        with refused("billing_idempotencykey_pkey|unique constraint"):
            execute("INSERT INTO billing_idempotencykey SELECT * FROM billing_idempotencykey")
