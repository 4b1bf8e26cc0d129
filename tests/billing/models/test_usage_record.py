"""What the database itself asks of a usage record, in the month's own partition and in the default one."""

from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, connection, transaction

from billing.models import UsageRecord
from billing.services import charging, partitions
from pricing.units import Usage
from tests.billing.factories import NOW, a_caller, a_price, a_wallet, an_event

pytestmark = pytest.mark.django_db

MONTHS = [NOW, datetime(2025, 2, 3, tzinfo=UTC)]  # one with a partition, one without


@pytest.fixture(params=MONTHS)
def record(request: pytest.FixtureRequest) -> UsageRecord:
    partitions.ensure(first=NOW, last=NOW)
    caller = a_caller()
    a_price("4")
    a_wallet(caller, credits="100")
    usage = Usage("acme", "m-1", input_tokens=10, cache_write_tokens=5, cache_write_1h_tokens=5)
    charging.charge([an_event(caller, usage=usage, occurred_at=request.param)], now=NOW)
    return UsageRecord.objects.get()


class TestOneHourWrites:
    @pytest.mark.parametrize("tokens", [6, -1])
    def test_are_within_the_cache_writes(self, record: UsageRecord, tokens: int) -> None:
        record.pk, record.cache_write_1h_tokens = record.pk + 1, tokens
        with pytest.raises(IntegrityError, match="usage_1h_writes_are_cache_writes"), transaction.atomic():
            record.save(force_insert=True)

    def test_are_none_for_a_writer_who_does_not_know_them(self, record: UsageRecord) -> None:
        names = [f.column for f in UsageRecord._meta.concrete_fields if f.column not in {"id", "cache_write_1h_tokens"}]
        columns = ", ".join(f'"{name}"' for name in names)
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO billing_usagerecord (id, {columns}) SELECT id + 1, {columns} FROM billing_usagerecord")
        assert UsageRecord.objects.get(pk=record.pk + 1).cache_write_1h_tokens == 0
