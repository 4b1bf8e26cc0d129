"""The command that costs usage again."""

from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from billing.models import CostAdjustment, Rerating
from billing.services import charging, rerating
from billing.services.rerating import Scope
from pricing.units import Usage
from tests.billing.factories import a_caller, a_price, a_wallet, an_event
from tests.pricing.factories import LAST_YEAR, ProviderRateFactory, RateSeriesFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _a_record_that_can_be_priced_now() -> None:
    now = timezone.now()
    caller = a_caller()
    a_price("4")
    a_wallet(caller, credits="100", now=now)
    charging.charge([an_event(caller, usage=Usage("acme", "nova-2", input_tokens=1_000))], now=now)
    series = RateSeriesFactory.create(provider_model__provider="acme", provider_model__name="nova-2")
    ProviderRateFactory.create(series=series, price=Decimal(3))


def test_says_what_it_would_find_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("rerate", "--dry-run", "--model", "nova-2")
    assert "1 records: 1 would change, 0 stay unpriced." in capsys.readouterr().out
    assert not Rerating.objects.exists()


def test_costs_the_records_again(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("rerate", "--since", "2025-01-01", "--reason", "Rates added")
    assert "acme/nova-2: 0 -> 0.003 USD, 1 records" in capsys.readouterr().out
    assert CostAdjustment.objects.get().rerating.reason == "Rates added"


def test_goes_on_with_one_that_was_interrupted() -> None:
    now = timezone.now()
    row = rerating.request(scope=Scope(LAST_YEAR, now), reason="x", actor="user:vera", now=now)
    call_command("rerate", "--resume", str(row.pk))
    assert CostAdjustment.objects.get().rerating == row


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--since", "2025-01-01"], "Say why"),
        (["--since", "yesterday", "--reason", "x"], "is no date"),
        (["--resume", "99"], "no re-rating 99"),
        (["--since", "2025-02-01", "--until", "2025-01-01", "--reason", "x"], "before it begins"),
    ],
)
def test_refuses_what_makes_no_sense(options: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("rerate", *options)
