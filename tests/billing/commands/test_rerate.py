"""The command that costs usage again."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from billing.models import CostAdjustment, Rerating
from billing.services import charging, rerating
from billing.services.rerating import Scope
from pricing.models import ProviderRate
from pricing.units import Usage
from tests.billing.factories import a_caller, a_price, a_wallet, an_event
from tests.pricing.factories import LAST_YEAR, ProviderRateFactory, RateSeriesFactory

pytestmark = pytest.mark.django_db
USED = Usage("acme", "nova-2", input_tokens=1_000)


@pytest.fixture(autouse=True)
def _a_record_that_can_be_priced_now() -> None:
    now = timezone.now()
    caller = a_caller()
    a_price("4")
    a_wallet(caller, credits="100", now=now)
    charging.charge([an_event(caller, usage=USED)], now=now)
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


def test_says_what_a_run_finds(capsys: pytest.CaptureFixture[str]) -> None:
    """By a rate, of which most is older than what the command looks at otherwise."""
    caller, now = a_caller(), timezone.now()
    rate = ProviderRate.objects.get()
    charging.charge([an_event(caller, usage=USED, customer=None, occurred_at=now - timedelta(days=days)) for days in (3, 100)], now=now)
    call_command("rerate", "--rate", str(rate.pk), "--dry-run")
    assert "2 records: 0 would change" in capsys.readouterr().out
    call_command("rerate", "--rate", str(rate.pk), "--reason", "Sure?")
    assert "2 records, 0 adjusted" in capsys.readouterr().out


def test_counts_all_that_a_run_would_look_at(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rerating, "_COUNTED", 5)
    monkeypatch.setattr(rerating, "_EXACT", 25)
    now, caller = timezone.now(), a_caller()
    charging.charge([an_event(caller, usage=USED, customer=None, occurred_at=now - timedelta(minutes=n)) for n in range(60)], now=now)
    call_command("rerate", "--all", "--dry-run")
    assert "61 records, estimated from" in capsys.readouterr().out


HUGE = "9" * 30


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--since", "2025-01-01"], "Say why"),
        (["--since", "yesterday", "--reason", "x"], "is no date"),
        (["--resume", "99"], "no re-rating 99"),
        (["--resume", "0"], "'0' is no number of a row"),
        (["--resume", "-1"], "is no number of a row"),
        (["--resume", HUGE], "is no number of a row"),
        (["--resume", "99", "--dry-run"], "leave the other options out"),
        (["--since", "2025-02-01", "--until", "2025-01-01", "--reason", "x"], "before it begins"),
        (["--since", "0001-01-01T00:00+14:00", "--reason", "x"], "before 2000"),
        (["--rate", HUGE, "--reason", "x"], "is no number of a row"),
        (["--rate", "0", "--reason", "x"], "is no number of a row"),
        (["--rate", "987654", "--reason", "x"], "There is no rate 987654"),
        (["--model", "m" * 129, "--reason", "x"], "No app could report such a model"),
        (["--provider", "p" * 65, "--reason", "x"], "No app could report such a provider"),
        (["--provider", "\udcff", "--reason", "x"], "No app could report such a provider"),
        (["--reason", "x" * 501], "at most 500"),
        (["--reason", "\udcff"], "at most 500"),
    ],
)
def test_refuses_what_makes_no_sense(options: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("rerate", *options)
    assert not Rerating.objects.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--until", "2999-01-01"], "in the future"),
        (["--since", "2025-02-01", "--until", "2025-01-01"], "before it begins"),
        (["--rate", "987654"], "There is no rate 987654"),
        (["--model", "m" * 129], "No app could report such a model"),
    ],
)
def test_a_dry_run_refuses_what_a_run_would(options: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("rerate", "--dry-run", *options)
