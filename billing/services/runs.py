"""Pipeline runs and agent jobs, as apps announce them."""

from datetime import datetime
from typing import Any

from django.db import transaction

from billing.errors import InvalidRequest
from billing.events import Caller
from billing.models import AgentJob, JobStatus, PipelineRun

_ENDED = {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}


def put_run(*, caller: Caller, run_id: str, changes: dict[str, Any], now: datetime) -> tuple[PipelineRun, bool]:
    """Create the run or change the fields that are given; return it and whether it is new."""
    with transaction.atomic():
        run, is_new = PipelineRun.objects.select_for_update().get_or_create(
            project_id=caller.project_id, environment=caller.environment, run_id=run_id, defaults=_with_times(changes, now)
        )
        if not is_new:
            _apply(run, changes, now)
        return run, is_new


def put_job(*, caller: Caller, job_id: str, changes: dict[str, Any], now: datetime) -> tuple[AgentJob, bool]:
    """Create the job or change the fields that are given; a run that it names and nobody announced yet is created."""
    with transaction.atomic():
        if run_id := changes.pop("run_id", None):
            started_at = changes.get("started_at") or now
            changes["run"], _ = PipelineRun.objects.get_or_create(
                project_id=caller.project_id, environment=caller.environment, run_id=run_id, defaults={"started_at": started_at}
            )
        job, is_new = AgentJob.objects.select_for_update(of=("self",)).get_or_create(
            project_id=caller.project_id, environment=caller.environment, job_id=job_id, defaults=_with_times(changes, now)
        )
        if not is_new:
            _apply(job, changes, now)
        return job, is_new


def _with_times(changes: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Fill in the times that the app left to us: started now, ended now if it is over."""
    values = {"started_at": now} | changes
    if values.get("status") in _ENDED:
        values.setdefault("ended_at", max(now, values["started_at"]))
    _check(values["started_at"], values.get("ended_at"))
    return values


def _apply(row: PipelineRun | AgentJob, changes: dict[str, Any], now: datetime) -> None:
    if changes.get("status") in _ENDED and row.ended_at is None:
        changes.setdefault("ended_at", max(now, changes.get("started_at") or row.started_at))
    for name, value in changes.items():
        setattr(row, name, value)
    _check(row.started_at, row.ended_at)
    row.save()


def _check(started_at: datetime, ended_at: datetime | None) -> None:
    if ended_at and ended_at < started_at:
        raise InvalidRequest("ended_at", "must not lie before started_at")
