"""What a run or a job has used so far: the sum of its usage records."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import Count, Q, Sum

from billing.models import AgentJob, CostStatus, PipelineRun, UsageRecord
from billing.queries import costs
from config.base.exact import ZERO

# An app may report an action a little before it announces the run, and late; partitions outside are not read.
_EARLY: Final = timedelta(days=1)
_LATE: Final = timedelta(days=35)


@dataclass(frozen=True, slots=True)
class WorkUsage:
    """`cost` leaves out the records that have no known cost, which `unpriced` counts."""

    events: int
    credits: Decimal
    tokens: int
    cost: Decimal
    unpriced: int


def of_run(run: PipelineRun) -> WorkUsage:
    """Sum up a run's records."""
    return _sum(run, run_id=run.run_id)


def of_job(job: AgentJob) -> WorkUsage:
    """Sum up a job's records; those of a job in a run are found by the run's index."""
    named = {"run_id": job.run.run_id} if job.run else {}
    return _sum(job, job_id=job.job_id, **named)


def _sum(work: PipelineRun | AgentJob, **named: Any) -> WorkUsage:
    records = UsageRecord.objects.filter(
        project_id=work.project_id,
        environment=work.environment,
        occurred_at__gte=work.started_at - _EARLY,
        occurred_at__lt=(work.ended_at or work.started_at) + _LATE,
        **named,
    )
    sums = costs.with_known_costs(records).aggregate(
        events=Count("pk"),
        credits=Sum("credits"),
        input_tokens=Sum("input_tokens"),
        output_tokens=Sum("output_tokens"),
        cost=Sum("known_cost"),
        unpriced=Count("pk", filter=Q(known_status=CostStatus.UNPRICED)),
    )
    tokens = (sums["input_tokens"] or 0) + (sums["output_tokens"] or 0)
    return WorkUsage(sums["events"], sums["credits"] or ZERO, int(tokens), sums["cost"] or ZERO, sums["unpriced"])
