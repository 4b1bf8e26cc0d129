"""The page of one usage record: every field under its group, with what was charged and what it cost line by line."""

import calendar
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.usage_fields import GROUPS
from billing.models import AgentJob, CostAdjustment, LedgerEntry, PipelineRun, UsageRecord
from config.base.admin import BaseAdmin, credits_, lines, link, moment, money, table, yes_no
from config.base.exact import plain
from pricing.queries import workspace


def _figure(column: str, description: str, unit: str = "") -> Any:
    """Make a field that shows a column as a number with its thousands apart."""

    @admin.display(description=description)
    def shown(_: Any, record: UsageRecord) -> SafeString | str:
        value = getattr(record, column)
        figure = credits_(None if value is None else Decimal(value))
        return format_html("{} {}", figure, unit) if unit and value is not None else figure

    return shown


def _fact(column: str, description: str) -> Any:
    """Make a field that shows a column as yes or no."""

    @admin.display(description=description)
    def shown(_: Any, record: UsageRecord) -> str:
        return yes_no(getattr(record, column))

    return shown


class UsageDetail(BaseAdmin):
    fieldsets = tuple((title, {"fields": lines}) for title, lines in GROUPS)

    tokens_in = _figure("input_tokens", "input tokens")
    tokens_out = _figure("output_tokens", "output tokens")
    cached_in = _figure("cache_read_tokens", "cached input tokens")
    cached_new = _figure("cache_write_tokens", "cache write tokens")
    cached_hour = _figure("cache_write_1h_tokens", "of these kept for an hour")
    reasoning = _figure("reasoning_tokens", "reasoning tokens")
    audio_in = _figure("audio_input_tokens", "audio input tokens")
    audio_out = _figure("audio_output_tokens", "audio output tokens")
    video = _figure("video_seconds", "video seconds")
    model_requests = _figure("requests", "model requests")
    how_many = _figure("quantity", "quantity")
    latency = _figure("latency_ms", "latency", "ms")
    first_token = _figure("ttft_ms", "time to first token", "ms")
    duration = _figure("duration_ms", "duration", "ms")
    accepted = _fact("is_accepted", "output accepted")
    batch = _fact("is_batch", "batch")
    stream = _fact("is_stream", "stream")

    @admin.display(description="event id")
    def event_id(self, record: UsageRecord) -> str:
        return str(record)

    @admin.display(description="recorded")
    def recorded(self, record: UsageRecord) -> str:
        return moment(record.recorded_at)

    @admin.display(description="hour")
    def hour(self, record: UsageRecord) -> str:
        start = timezone.localtime(record.occurred_at)
        return f"{start:%Y-%m-%d %H}:00 to {start:%H}:59"

    @admin.display(description="time zone")
    def zone(self, record: UsageRecord) -> str:
        return timezone.get_current_timezone_name()

    @admin.display(description="API key")
    def key(self, record: UsageRecord) -> SafeString | str:
        return link(record.api_key, "billing_apikey_change", record.api_key_id) if record.api_key else "-"

    @admin.display(description="budget owner")
    def budget_owner(self, record: UsageRecord) -> str:
        return str(record.team.budget_owner or "-") if record.team else "-"

    @admin.display(description="run")
    def run(self, record: UsageRecord) -> SafeString | str:
        run = (
            PipelineRun.objects.filter(project_id=record.project_id, environment=record.environment, run_id=record.run_id).first()
            if record.run_id
            else None
        )
        return link(run, "billing_pipelinerun_change", run.pk) if run else record.run_id or "-"

    @admin.display(description="job")
    def job(self, record: UsageRecord) -> SafeString | str:
        job = (
            AgentJob.objects.filter(project_id=record.project_id, environment=record.environment, job_id=record.job_id).first()
            if record.job_id
            else None
        )
        return link(job, "billing_agentjob_change", job.pk) if job else record.job_id or "-"

    @admin.display(description="credits charged")
    def charged(self, record: UsageRecord) -> SafeString:
        return credits_(record.credits)

    @admin.display(description="price version")
    def price(self, record: UsageRecord) -> SafeString | str:
        return link(record.price_version, "pricing_priceversion_change", record.price_version_id) if record.price_version else "-"

    @admin.display(description="what was charged")
    def price_table(self, record: UsageRecord) -> SafeString:
        rows = [
            (
                _words(line["kind"]),
                _words(line["unit"]),
                _number(line["quantity"]),
                f"{_number(line['rate'])} per {line['per']}",
                _number(line["credits"]),
            )
            for line in record.price_lines
        ]
        return table(("Line", "Unit", "Quantity", "Credits", "Total"), rows, figures=(2, 3, 4), empty="Nothing was charged.")

    @admin.display(description="provider cost")
    def provider_cost(self, record: Any) -> SafeString:
        return money(record.known_cost, record.known_currency)

    @admin.display(description="what it cost us, as charged")
    def cost_table(self, record: UsageRecord) -> SafeString:
        return _cost_lines(record.cost_lines, record.cost_currency)

    @admin.display(description="adjustments since")
    def cost_adjustments(self, record: UsageRecord) -> SafeString:
        found = list(CostAdjustment.objects.filter(usage_record_id=record.pk).select_related("rerating").order_by("number"))
        rows = [
            (
                link(moment(one.recorded_at), "billing_rerating_change", one.rerating_id),
                one.rerating.actor,
                format_html('<span class="md-name">{}</span>', one.rerating.reason),
                money(one.amount_before, one.currency),
                money(one.amount_after, one.currency),
                money(one.amount, one.currency),
            )
            for one in found
        ]
        headings = ("Re-rated", "By", "Reason", "Before", "After", "Difference")
        history = table(headings, rows, figures=(3, 4, 5), empty="None: its cost is what it was when it was charged.")
        return lines([history, _cost_lines(found[-1].lines, found[-1].currency)]) if found else history

    @admin.display(description="invoice period")
    def invoice_period(self, record: UsageRecord) -> str:
        return f"{timezone.localtime(record.occurred_at):%B %Y}"

    @admin.display(description="balance after")
    def balance(self, record: UsageRecord) -> SafeString:
        return credits_(record.balance_after)

    @admin.display(description="available after")
    def available(self, record: UsageRecord) -> SafeString:
        return credits_(record.available_after)

    @admin.display(description="hold")
    def held(self, record: UsageRecord) -> SafeString | str:
        return link(f"hold_{record.hold_id}", "billing_hold_change", record.hold_id) if record.hold_id else "No hold was captured."

    @admin.display(description="paid from")
    def paid_from(self, record: UsageRecord) -> SafeString:
        entries = LedgerEntry.objects.filter(transaction_id=record.pk, kind="charge").select_related("lot__payment").order_by("pk")
        rows = [
            (
                link(f"Entry {entry.pk}", "billing_ledgerentry_change", entry.pk),
                link(entry.lot, "billing_lot_change", entry.lot_id),
                link(entry.lot.payment, "billing_payment_change", entry.lot.payment_id) if entry.lot.payment else "-",
                credits_(entry.credits),
            )
            for entry in entries
        ]
        return table(("Entry", "Lot", "Payment", "Credits"), rows, figures=(3,), empty="No wallet paid for this.")

    @admin.display(description="refunds")
    def refunds(self, record: UsageRecord) -> SafeString:
        charges = list(LedgerEntry.objects.filter(transaction_id=record.pk).values_list("pk", flat=True))
        rows = [
            (
                link(moment(entry.recorded_at), "billing_ledgerentry_change", entry.pk),
                entry.actor,
                entry.reason or "-",
                credits_(entry.credits),
            )
            for entry in LedgerEntry.objects.filter(reverses_id__in=charges).order_by("pk")
        ]
        return table(("Recorded", "By", "Reason", "Credits"), rows, figures=(3,), empty="None.")

    @admin.display(description="payload logging")
    def payload_logging(self, record: UsageRecord) -> str:
        return "Off: metadata only. Prompts and outputs are never stored."

    @admin.display(description="kept until at least")
    def kept_until(self, record: UsageRecord) -> str:
        start = timezone.localtime(record.occurred_at)
        month = start.month - 1 + workspace.load().usage_retention_months
        return f"{calendar.month_name[month % 12 + 1]} {start.year + month // 12}"


def _cost_lines(found: list[dict[str, str]], currency: str) -> SafeString:
    rows = [
        (
            _words(line["unit"]),
            _number(line["quantity"]),
            f"{_number(line['price'])} {currency} per {int(line['per']):,}",
            link(f"Rate {line['rate_id']}", "pricing_providerrate_change", line["rate_id"]),
            money(Decimal(line["amount"]), currency),
        )
        for line in found
    ]
    return table(("Unit", "Quantity", "Price", "Rate", "Amount"), rows, figures=(1, 2, 4), empty="No rate applied.")


def _words(text: str) -> str:
    return text.replace("_", " ").capitalize()


def _number(text: str) -> str:
    whole, dot, places = plain(Decimal(text)).partition(".")
    return f"{int(whole):,}{dot}{places}" if abs(int(whole)) > 999 else f"{whole}{dot}{places}"
