"""Pipeline runs with their jobs, agent jobs, and what both have used. Read-only: apps announce them."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter

from billing.admin.filters import ExactTextFilter
from billing.admin.words import JOB_COLOURS, InBookCurrency
from billing.models import AgentJob, JobStatus, PipelineRun
from billing.queries import work_usage
from billing.queries.work_usage import WorkUsage
from config.base.admin import DayRangeFilter, KeysetAdmin, ReadOnlyAdmin, badge, credits_, link, moment, money, table

MOST = 100


class WorkAdmin(ReadOnlyAdmin, KeysetAdmin, InBookCurrency):
    """What runs and jobs have in common: they start, end, have a state and use things."""

    @admin.display(description="status")
    def state(self, work: Any) -> SafeString:
        return badge(work.status, work.get_status_display(), JOB_COLOURS)

    @admin.display(description="started")
    def started(self, work: Any) -> str:
        return moment(work.started_at)

    @admin.display(description="ended")
    def ended(self, work: Any) -> str:
        return moment(work.ended_at)


@admin.register(PipelineRun)
class PipelineRunAdmin(WorkAdmin):
    list_display = ("run_id", "project", "trigger", "state", "started", "ended")
    list_filter = (
        ("started_at", DayRangeFilter),
        ("status", ChoicesDropdownFilter),
        ("project", RelatedDropdownFilter),
        ("trigger", ExactTextFilter),
    )
    list_select_related = ("project",)
    when_empty = "Apps announce their runs by PUT /runs/{run_id}."
    search_fields = ("run_id__startswith",)
    search_help_text = "Beginning of the run's id"
    fieldsets = (
        (None, {"fields": (("run_id", "project"), ("trigger", "state"), ("started", "ended"))}),
        ("Usage", {"fields": ("usage",)}),
        ("Jobs", {"fields": ("jobs",)}),
    )

    @admin.display(description="totals")
    def usage(self, run: Any) -> SafeString:
        query = f"run_id={run.run_id}&project__id__exact={run.project_id}"
        return _totals(work_usage.of_run(run), run.book_currency, query)

    @admin.display(description=f"newest jobs (at most {MOST})")
    def jobs(self, run: PipelineRun) -> SafeString:
        rows = [
            (
                link(job.job_id, "billing_agentjob_change", job.pk),
                job.agent_type or "-",
                JobStatus(job.status).label,
                moment(job.started_at),
                moment(job.ended_at),
            )
            for job in run.jobs.order_by("-pk")[:MOST]
        ]
        return table(("Job", "Agent", "Status", "Started", "Ended"), rows, empty="No job was announced for this run.")


@admin.register(AgentJob)
class AgentJobAdmin(WorkAdmin):
    list_display = ("job_id", "project", "run", "agent_type", "state", "started", "ended")
    list_filter = (
        ("started_at", DayRangeFilter),
        ("status", ChoicesDropdownFilter),
        ("project", RelatedDropdownFilter),
        ("agent_type", ExactTextFilter),
    )
    list_select_related = ("project", "run")
    when_empty = "Apps announce their agents' jobs by PUT /jobs/{job_id}."
    search_fields = ("job_id__startswith",)
    search_help_text = "Beginning of the job's id"
    fieldsets = (
        (None, {"fields": (("job_id", "project"), ("of_run", "agent_type"), ("state",), ("started", "ended"))}),
        ("Usage", {"fields": ("usage",)}),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        return super().get_queryset(request).select_related("run")

    @admin.display(description="run")
    def of_run(self, job: AgentJob) -> SafeString | str:
        return link(job.run, "billing_pipelinerun_change", job.run_id) if job.run else "-"

    @admin.display(description="totals")
    def usage(self, job: Any) -> SafeString:
        return _totals(work_usage.of_job(job), job.book_currency, "")


def _totals(usage: WorkUsage, currency: str, query: str) -> SafeString:
    figures = (f"{usage.events:,}", credits_(usage.credits), f"{usage.tokens:,}", money(usage.cost, currency), f"{usage.unpriced:,}")
    totals = table(("Requests", "Credits", "Tokens", "Provider cost", "Without known cost"), (figures,), figures=range(5))
    records = link("The records behind these figures", "billing_usagerecord_changelist", query=query) if query else ""
    return format_html("{}{}", totals, records)
