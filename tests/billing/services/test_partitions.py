"""Monthly partitions: made ahead, never in the way of a record."""

from datetime import UTC, datetime

import pytest
from django.db import connection

from billing.services import charging, partitions
from tests.billing.factories import NOW, a_caller, a_price, a_wallet, an_event

pytestmark = pytest.mark.django_db


def partition_of(record_id: int) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM billing_usagerecord WHERE id = %s", [record_id])
        return str(cursor.fetchone()[0])


class TestEnsure:
    def test_makes_every_month_of_a_period_once(self) -> None:
        period = {"first": datetime(2031, 11, 15, tzinfo=UTC), "last": datetime(2032, 1, 1, tzinfo=UTC)}
        assert partitions.ensure(**period) == ["billing_usagerecord_2031_11", "billing_usagerecord_2031_12", "billing_usagerecord_2032_01"]
        assert partitions.ensure(**period) == []

    def test_a_record_goes_to_its_month_and_to_the_default_where_there_is_none(self) -> None:
        caller = a_caller()
        a_price("4")
        a_wallet(caller, credits="100")
        partitions.ensure(first=NOW, last=NOW)
        results = charging.charge([an_event(caller), an_event(caller, occurred_at=datetime(2025, 2, 3, tzinfo=UTC))], now=NOW)
        names = [partition_of(result.record_id) for result in results]  # type: ignore[union-attr]
        assert names == ["billing_usagerecord_2026_11", "billing_usagerecord_default"]

    def test_a_month_with_records_stays_where_it_is(self) -> None:
        caller = a_caller()
        a_price("4")
        a_wallet(caller, credits="100")
        then = datetime(2025, 2, 3, tzinfo=UTC)
        charging.charge([an_event(caller, occurred_at=then)], now=NOW)
        assert partitions.ensure(first=then, last=then) == []
