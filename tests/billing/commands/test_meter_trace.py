"""`meter_trace`: recorded traffic goes through the one door that charges have, once."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum
from django.utils import timezone

from billing.models import AgentJob, Customer, LedgerEntry, Lot, PipelineRun, Project, UsageRecord, Wallet
from billing.traces import agent_session
from pricing.models import PriceVersion

pytestmark = pytest.mark.django_db

SAMPLES = Path(__file__).parents[2] / "samples" / "traces"
SESSION, REQUESTS = SAMPLES / "session.json", SAMPLES / "requests.csv"
READY = ("--price", "2", "--import-rates")


def meter(*args: Any) -> dict[str, Any]:
    """Run the command and return the totals that it prints."""
    out = StringIO()
    call_command("meter_trace", *map(str, args), "--json", stdout=out, stderr=StringIO())
    totals: dict[str, Any] = json.loads(out.getvalue())
    return totals


def meter_badly(*args: Any) -> tuple[dict[str, Any], str, str]:
    """As `meter`, for a run that leaves something out: totals, stderr and the last message."""
    out, err = StringIO(), StringIO()
    with pytest.raises(CommandError) as failed:
        call_command("meter_trace", *map(str, args), "--json", stdout=out, stderr=err)
    return json.loads(out.getvalue() or "{}"), err.getvalue(), str(failed.value)


class TestSession:
    def test_becomes_a_run_with_a_job_for_each_agent(self) -> None:
        before = timezone.now()
        totals = meter(SESSION, *READY, "--grant", 100)
        assert (totals["events"], totals["credits"], totals["rejected"]) == (6, "12", {})
        run = PipelineRun.objects.get()
        assert (run.trigger, run.status, run.project.key) == ("trace", "succeeded", "traces")
        assert run.ended_at is not None
        assert before <= run.ended_at <= timezone.now()
        jobs = {job.agent_type: job for job in AgentJob.objects.filter(run=run)}
        assert set(jobs) == {"main", "Explore"}
        records = UsageRecord.objects.filter(job_id=jobs["Explore"].job_id, run_id=run.run_id)
        assert {record.agent_type for record in records} == {"Explore"}
        assert [record.occurred_at - run.started_at for record in records.order_by("occurred_at")] == [
            timedelta(seconds=15),
            timedelta(seconds=55),
        ]

    def test_labels_what_it_concluded(self) -> None:
        meter(SESSION, *READY, "--grant", 100)
        assert {record.metadata["cache_split"] for record in UsageRecord.objects.all()} == {"implied by prefix hashes"}
        cached = UsageRecord.objects.aggregate(read=Sum("cache_read_tokens"), written=Sum("cache_write_tokens"))
        assert cached == {"read": 1088, "written": 640}

    def test_again_charges_nothing_even_when_it_would_begin_at_another_time(self) -> None:
        meter(SESSION, *READY, "--grant", 100)
        again = meter(SESSION, "--grant", 100, "--start", "2024-01-01T00:00:00Z")
        assert (again["events"], again["duplicates"], again["credits"]) == (0, 6, "0")
        assert Wallet.objects.get().balance == 88
        assert PipelineRun.objects.get().started_at.year > 2024

    def test_one_of_several_files_again_is_granted_nothing(self) -> None:
        meter(SESSION, REQUESTS, *READY, "--grant", 100)
        meter(SESSION, "--grant", 100)
        assert LedgerEntry.objects.filter(kind="grant").count() == 1

    def test_metered_for_another_customer_is_refused_not_charged_twice(self) -> None:
        meter(SESSION, *READY, "--grant", 100)
        totals, _, _ = meter_badly(SESSION, "--customer", "other", "--grant", 100)
        assert totals["rejected"] == {"idempotency_mismatch": 6}

    def test_starts_when_it_is_told_to(self) -> None:
        meter(SESSION, *READY, "--grant", 100, "--start", "2025-03-01T10:00:00+01:00")
        first = UsageRecord.objects.order_by("occurred_at").first()
        assert first is not None
        assert first.occurred_at == datetime(2025, 3, 1, 9, tzinfo=UTC)
        version = PriceVersion.objects.get()
        assert version.effective_from <= first.occurred_at
        assert "meter_trace" in version.reason


class TestAzure:
    def test_is_metered_as_recorded_and_its_cost_stays_unknown(self) -> None:
        totals = meter(REQUESTS, "--price", "0.5", "--grant", 10)
        assert (totals["events"], totals["unpriced"], totals["provider_cost"], totals["credits"]) == (3, 3, {}, "1.5")
        records = UsageRecord.objects.order_by("occurred_at")
        assert [(record.provider, record.model, record.cost_status) for record in records] == [("azure", "", "unpriced")] * 3
        assert records[0].occurred_at == datetime(2023, 11, 16, 18, 15, 45, tzinfo=UTC)

    def test_can_be_usage_of_our_own(self) -> None:
        totals = meter(REQUESTS, "--price", "0.5", "--internal")
        assert (totals["events"], totals["credits"]) == (3, "0")
        assert not Customer.objects.exists()

    def test_can_be_another_event(self) -> None:
        meter(REQUESTS, "--price", "0.5", "--internal", "--event", "chat.reply")
        assert {record.event_type.name for record in UsageRecord.objects.all()} == {"chat.reply"}


class TestWhatIsMissing:
    def test_a_price_is_asked_for(self) -> None:
        _, _, message = meter_badly(REQUESTS)
        assert "no event type llm.request" in message
        assert "--price" in message
        assert not Project.objects.exists()

    def test_a_past_cannot_be_priced(self) -> None:
        meter(REQUESTS, "--price", 1, "--grant", 10)
        _, _, message = meter_badly(REQUESTS, "--price", 1, "--start", "2020-01-01")
        assert "had no price at 2020-01-01" in message

    def test_rates_are_asked_for(self) -> None:
        _, _, message = meter_badly(SESSION, "--price", 1)
        assert "run `import_rates genai-prices --accept`" in message

    def test_a_wallet_that_cannot_pay_is_told_and_pays_nothing(self) -> None:
        totals, _, _ = meter_badly(REQUESTS, "--price", 1, "--grant", 2)
        assert (totals["events"], totals["rejected"]) == (2, {"insufficient_credits": 1})
        assert Wallet.objects.get().balance == 0

    def test_a_trace_cannot_end_in_the_future(self) -> None:
        _, _, message = meter_badly(REQUESTS, "--price", 1, "--start", timezone.now().isoformat())
        assert "would end in the future" in message

    def test_what_cannot_be_read_is_named_and_the_rest_is_metered(self, tmp_path: Path) -> None:
        broken, partly = tmp_path / "broken.json", tmp_path / "partly.csv"
        broken.write_text("{")
        partly.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,5\n2023-11-16 18:15:47,6,2\n")
        totals, err, message = meter_badly(broken, tmp_path / "nothing.csv", partly, SAMPLES / "README.md", "--price", 1, "--grant", 9)
        assert totals["events"] == 1
        assert "broken.json: is not JSON" in err
        assert "nothing.csv: does not exist" in err
        assert "partly.csv: row 2: has 2 columns" in err
        assert "README.md: is of no known format" in err
        assert "not metered" in message

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("--price", "free"),
            ("--price", "-1"),
            ("--price", "NaN"),
            ("--grant", "0.0000001"),
            ("--start", "soon"),
            ("--customer", "a b"),
            ("--project", "A b"),
        ],
    )
    def test_bad_options_are_refused_in_words(self, option: str, value: str) -> None:
        _, _, message = meter_badly(REQUESTS, f"{option}={value}")
        assert option.strip("-") in message


class TestRealSessions:
    def test_are_charged_once_and_add_up(self, real_data: Path) -> None:
        files = sorted((real_data / "agent_sessions").glob("*.json"))
        traces = [agent_session.read(path) for path in files]
        first = meter(*files, *READY, "--grant", 5000)
        assert first["events"] == 905
        assert first["credits"] == "1810"
        assert first["unpriced"] == 0
        assert Decimal(first["provider_cost"]["USD"]) > 0
        recorded = UsageRecord.objects.aggregate(input=Sum("input_tokens"), output=Sum("output_tokens"), credits=Sum("credits"))
        assert recorded["input"] == sum(trace.stated.input for trace in traces if trace.stated) == first["input_tokens"]
        assert recorded["output"] == sum(trace.stated.output for trace in traces if trace.stated) == first["output_tokens"]
        again = meter(*files, "--grant", 5000)
        assert (again["events"], again["duplicates"], again["credits"]) == (0, 905, "0")
        charged = LedgerEntry.objects.filter(kind="charge").aggregate(credits=Sum("credits"))["credits"]
        assert -charged == recorded["credits"] == 1810
        balance = LedgerEntry.objects.aggregate(credits=Sum("credits"))["credits"]
        assert balance == Wallet.objects.get().balance == Lot.objects.aggregate(left=Sum("remaining"))["left"] == 3190
