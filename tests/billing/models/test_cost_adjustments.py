"""What PostgreSQL itself refuses about re-ratings and cost adjustments."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.models import Basis, CostAdjustment, Rerating, Seal, UsageRecord
from billing.services import charging, rerating
from billing.services.rerating import Scope
from pricing.units import Usage
from tests.billing.factories import NOW, a_caller, a_price, a_wallet, an_event
from tests.billing.models.raw import execute, is_superuser, refused
from tests.pricing.factories import ProviderRateFactory, RateSeriesFactory

pytestmark = pytest.mark.django_db

LINES = [{"unit": "input", "quantity": "1000", "rate_id": "1", "price": "3", "per": "1000000", "amount": "0.003"}]


@pytest.fixture
def run() -> Rerating:
    """A priced, an unpriced and a reported record, and a run that has not begun."""
    assert is_superuser()
    caller = a_caller()
    a_price("4")
    a_wallet(caller, credits="100")
    series = RateSeriesFactory.create(provider_model__provider="acme", provider_model__name="nova-2")
    ProviderRateFactory.create(series=series, price=Decimal(3))
    usage = Usage("acme", "nova-2", input_tokens=1_000)
    charging.charge([an_event(caller, usage=usage)], now=NOW)
    charging.charge([an_event(caller, usage=usage._replace(model="nova-9"))], now=NOW)
    charging.charge([an_event(caller, usage=usage, provider_cost=Decimal("0.02"))], now=NOW)
    scope = Scope(since=NOW - timedelta(days=1), until=NOW + timedelta(hours=1), basis=Basis.ALL)
    return rerating.request(scope=scope, reason="x", actor="user:vera", now=NOW + timedelta(hours=1))


def adjust(run: Rerating, status: str = "unpriced", **fields: Any) -> CostAdjustment:
    record = UsageRecord.objects.get(cost_status=status)
    facts = {"number": 1, "status_before": "unpriced", "status_after": "priced", "amount_before": None, "amount_after": Decimal("0.003")}
    amounts = {"amount": Decimal("0.003"), "currency": "USD", "lines": LINES, "recorded_at": NOW + timedelta(hours=1)}
    named = {"usage_record_id": record.pk, "occurred_at": record.occurred_at}
    return CostAdjustment.objects.create(rerating=run, **(named | facts | amounts | fields))


class TestAdjustments:
    def test_are_never_changed_or_deleted(self, run: Rerating) -> None:
        adjust(run)
        for statement in ("UPDATE billing_costadjustment SET amount = 0", "DELETE FROM billing_costadjustment"):
            with refused("Cannot update or delete"):
                execute(statement)

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"amount": Decimal("0.002")}, "adjustment_is_the_difference"),
            ({"lines": []}, "lines of an adjustment add up"),
            ({"number": 0}, "adjustment_number_positive"),
            ({"number": 2}, "begins where"),
            ({"occurred_at": NOW - timedelta(days=2)}, "begins where"),
            ({"usage_record_id": 0}, "begins where"),
            ({"status": "priced"}, "begins where"),
            ({"status": "reported"}, "begins where"),
            ({"status_after": "unpriced"}, "adjustment_of_the_catalogues_cost"),
            ({"status_before": "reported"}, "adjustment_of_the_catalogues_cost"),
        ],
    )
    def test_are_the_difference_to_what_was_known(self, run: Rerating, fields: dict[str, Any], reason: str) -> None:
        with refused(reason):
            adjust(run, **fields)

    def test_of_a_known_cost_change_something(self, run: Rerating) -> None:
        with refused("adjustment_changes_something"):
            adjust(run, "priced", status_before="priced", amount_before=Decimal("0.003"), amount=Decimal(0))

    def test_keep_the_currency_of_a_known_cost(self, run: Rerating) -> None:
        with refused("begins where"):
            adjust(run, "priced", status_before="priced", amount_before=Decimal("0.002"), amount=Decimal("0.001"), currency="EUR")

    def test_are_written_once_per_number_and_per_run(self, run: Rerating) -> None:
        adjust(run)
        with refused("adjustment_number_is_one"):
            adjust(run)
        line = [LINES[0] | {"amount": "0.004"}]
        more: dict[str, Any] = {
            "number": 2,
            "status_before": "priced",
            "amount_before": Decimal("0.003"),
            "amount_after": Decimal("0.004"),
            "lines": line,
        }
        with refused("adjustment_once_per_rerating"):
            adjust(run, amount=Decimal("0.001"), **more)

    def test_enter_no_sealed_hour(self, run: Rerating) -> None:
        hour = NOW + timedelta(hours=1)
        none = {"entry_count": 0, "credits": 0, "value": 0, "previous_digest": "", "digest": "d", "sealed_at": NOW}
        Seal.objects.create(starts_at=hour, ends_at=hour + timedelta(hours=1), **none)
        with refused("hour is sealed"):
            adjust(run)


class TestRuns:
    def test_are_never_deleted(self, run: Rerating) -> None:
        with refused("Cannot delete"):
            execute("DELETE FROM billing_rerating")

    @pytest.mark.parametrize("change", ["reason = 'y'", "until = until + interval '1 day'", "position_at = since - interval '1 day'"])
    def test_keep_their_scope_and_only_go_on(self, run: Rerating, change: str) -> None:
        with refused("only goes on"):
            execute(f"UPDATE billing_rerating SET {change}")

    def test_stay_as_they_are_once_finished(self, run: Rerating) -> None:
        rerating.run(rerating_id=run.pk, clock=lambda: NOW + timedelta(hours=1))
        with refused("once it has finished"):
            execute("UPDATE billing_rerating SET adjusted = 0")
