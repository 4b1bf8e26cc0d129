"""`/runs` and `/jobs`: the pipeline runs and agent jobs that usage belongs to."""

from typing import Annotated

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Path, Router

from billing.api import answers
from billing.api.auth import KeyAuth, caller_of
from billing.api.common import answers as declared
from billing.api.common import respond
from billing.api.fields import Id
from billing.api.wallet_schemas import JobIn, JobOut, RunIn, RunOut
from billing.models import Scope
from billing.services import runs

router = Router(tags=["Runs and jobs"])


@router.put("/runs/{run_id}", auth=KeyAuth(Scope.METER), response=declared({200: RunOut, 201: RunOut}), summary="Announce a pipeline run")
def put_run(request: HttpRequest, run_id: Annotated[Id, Path()], body: RunIn) -> HttpResponse:
    """Create it, or change the fields that are given."""
    changes = {name: value for name, value in body.__dict__.items() if value is not None}
    run, is_new = runs.put_run(caller=caller_of(request), run_id=run_id, changes=changes, now=timezone.now())
    return respond(answers.run(run), status=201 if is_new else 200)


@router.put("/jobs/{job_id}", auth=KeyAuth(Scope.METER), response=declared({200: JobOut, 201: JobOut}), summary="Announce an agent job")
def put_job(request: HttpRequest, job_id: Annotated[Id, Path()], body: JobIn) -> HttpResponse:
    """Create it, or change the fields that are given; its run may be announced later."""
    changes = {name: value for name, value in body.__dict__.items() if value is not None}
    job, is_new = runs.put_job(caller=caller_of(request), job_id=job_id, changes=changes, now=timezone.now())
    return respond(answers.job(job), status=201 if is_new else 200)
