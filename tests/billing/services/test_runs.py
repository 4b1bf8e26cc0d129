"""Runs and jobs, as apps announce them: once, again with more, and over."""

from datetime import timedelta

import pytest

from billing.errors import InvalidRequest
from billing.models import JobStatus, PipelineRun
from billing.services import runs
from tests.billing.factories import NOW, a_caller

pytestmark = pytest.mark.django_db


class TestRuns:
    def test_is_made_once_and_changed_after(self) -> None:
        caller = a_caller()
        first, is_new = runs.put_run(caller=caller, run_id="r1", changes={"trigger": "push"}, now=NOW)
        later = NOW + timedelta(minutes=5)
        again, is_new_again = runs.put_run(caller=caller, run_id="r1", changes={"status": JobStatus.SUCCEEDED}, now=later)
        assert (is_new, is_new_again, first.pk) == (True, False, again.pk)
        assert (again.trigger, again.started_at, again.ended_at) == ("push", NOW, later)

    def test_ends_after_it_started(self) -> None:
        with pytest.raises(InvalidRequest):
            runs.put_run(caller=a_caller(), run_id="r1", changes={"ended_at": NOW - timedelta(seconds=1)}, now=NOW)

    def test_is_the_projects_own(self) -> None:
        for caller in (a_caller(), a_caller()):
            assert runs.put_run(caller=caller, run_id="r1", changes={}, now=NOW)[1]


class TestJobs:
    def test_may_come_before_its_run_is_announced(self) -> None:
        caller = a_caller()
        job, _ = runs.put_job(caller=caller, job_id="j1", changes={"run_id": "r1", "agent_type": "testing"}, now=NOW)
        run, is_new = runs.put_run(caller=caller, run_id="r1", changes={"trigger": "push"}, now=NOW)
        assert (is_new, job.run_id) == (False, run.pk)
        assert PipelineRun.objects.get().trigger == "push"
