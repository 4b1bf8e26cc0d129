"""What is written once stays: entries, versions, usage, seals, payments, keys; for superusers too."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.models import LedgerEntry, Seal
from billing.services import charging, partitions
from tests.billing.factories import NOW, a_caller, a_price, a_wallet, an_event
from tests.billing.models.raw import execute, is_superuser, refused

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _a_charge() -> None:
    assert is_superuser()
    caller = a_caller()
    a_price("4")
    a_wallet(caller, credits="10")
    partitions.ensure(first=NOW, last=NOW)
    charging.charge([an_event(caller)], now=NOW)
    hour = NOW - timedelta(hours=2)
    Seal.objects.create(
        starts_at=hour,
        ends_at=hour + timedelta(hours=1),
        entry_count=0,
        credits=Decimal(0),
        value=Decimal(0),
        previous_digest="0" * 64,
        digest="1" * 64,
        sealed_at=NOW,
    )


CHANGES = {
    "billing_ledgerentry": "credits = credits - 1",
    "billing_usagerecord": "credits = credits + 1",
    "billing_payment": "amount = amount + 1",
    "billing_idempotencykey": "key = key || 'x'",
    "billing_seal": "digest = repeat('2', 64)",
    "pricing_priceversion": "credits_per_event = 0",
}


@pytest.mark.parametrize(("table", "change"), CHANGES.items(), ids=CHANGES)
class TestAppendOnly:
    def test_refuses_to_change_a_row(self, table: str, change: str) -> None:
        with refused("Cannot update or delete|never changes"):
            execute(f"UPDATE {table} SET {change}")

    def test_refuses_to_delete_a_row(self, table: str, change: str) -> None:
        with refused("Cannot update or delete|never changes"):
            execute(f"DELETE FROM {table}")


@pytest.mark.parametrize("table", ["billing_wallet", "billing_lot", "billing_hold"])
def test_money_is_never_deleted(table: str) -> None:
    if table == "billing_hold":
        entry = LedgerEntry.objects.latest("id")
        _hold(entry.wallet_id)
    with refused("Cannot delete"):
        execute(f"DELETE FROM {table}")


def _hold(wallet_id: int) -> None:
    execute(
        "INSERT INTO billing_hold (project_id, wallet_id, event_type_id, credits, status, available_after, request_id, created_at,"
        " first_expires_at, expires_at) SELECT c.project_id, w.id, (SELECT id FROM pricing_eventtype LIMIT 1), 1, 'open', 0, '', now(),"
        " now(), now() FROM billing_wallet w JOIN billing_customer c ON c.id = w.customer_id WHERE w.id = %s",
        wallet_id,
    )


@pytest.mark.parametrize("table", ["billing_usagerecord_2026_11", "billing_usagerecord_default"])
def test_a_partition_is_as_closed_as_its_table(table: str) -> None:
    caller = a_caller()
    a_wallet(caller, credits="10")
    charging.charge([an_event(caller, occurred_at=NOW - timedelta(days=90))], now=NOW)
    with refused("Cannot update or delete"):
        execute(f"UPDATE {table} SET credits = 0")


def test_a_version_is_ended_once_and_nothing_else() -> None:
    later = NOW + timedelta(days=1)
    assert execute("UPDATE pricing_priceversion SET effective_to = %s", later) == 1
    with refused("never changes"):
        execute("UPDATE pricing_priceversion SET effective_to = %s", later + timedelta(days=1))


KEPT = ["costadjustment", "rerating", "ledgerentry", "payment", "idempotencykey", "seal", "wallet", "lot", "hold", "usagerecord"]


@pytest.mark.parametrize("table", ["pricing_priceversion", *(f"billing_{noun}" for noun in KEPT)])
def test_the_table_is_never_emptied(table: str) -> None:
    execute("SET CONSTRAINTS ALL IMMEDIATE")  # else pending foreign keys would refuse, for another reason
    execute("SET LOCAL meterdesk.may_truncate = 'off'")
    with refused("the table is never emptied"):
        execute(f"TRUNCATE {table} CASCADE")
