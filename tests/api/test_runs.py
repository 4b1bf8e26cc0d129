"""`/runs` and `/jobs`: pipeline runs and agent jobs, announced by the app."""

from collections.abc import Callable
from datetime import datetime

from billing.models import Environment
from tests.api.client import Api
from tests.api.test_events import refused

RUN = {"run_id", "trigger", "status", "started_at", "ended_at"}
JOB = {"job_id", "run_id", "agent_type", "status", "started_at", "ended_at"}


class TestARun:
    def test_is_announced_and_then_ended(self, api: Api, now: datetime) -> None:
        answer = api.put("/runs/run_1", {"trigger": "push"})
        assert answer.status == 201
        assert set(answer.json()) == RUN
        assert (answer["run_id"], answer["trigger"], answer["status"], answer["ended_at"]) == ("run_1", "push", "running", None)
        assert datetime.fromisoformat(answer["started_at"]) >= now
        ended = api.put("/runs/run_1", {"status": "succeeded"})
        assert (ended.status, ended["trigger"], ended["status"]) == (200, "push", "succeeded")
        assert ended["ended_at"] >= answer["started_at"]
        assert api.put("/runs/run_1", {}).json() == ended.json()

    def test_refuses_what_cannot_be(self, api: Api) -> None:
        backwards = {"started_at": "2026-11-20T10:00:00Z", "ended_at": "2026-11-20T09:00:00Z"}
        assert refused(api.put("/runs/run_1", backwards), 422, "invalid_request")
        assert refused(api.put("/runs/run_1", {"status": "paused"}), 422, "invalid_request")
        assert refused(api.put("/runs/run%201", {}), 422, "invalid_request")

    def test_is_another_one_in_another_environment(self, api: Api, key_for: Callable[..., Api]) -> None:
        api.put("/runs/run_1", {"trigger": "push"})
        assert key_for(environment=Environment.STAGING).put("/runs/run_1", {}).status == 201


class TestAJob:
    def test_belongs_to_a_run_that_may_be_announced_later(self, api: Api) -> None:
        answer = api.put("/jobs/job_1", {"run_id": "run_1", "agent_type": "research", "status": "queued"})
        assert answer.status == 201
        assert set(answer.json()) == JOB
        assert (answer["job_id"], answer["run_id"], answer["agent_type"], answer["status"]) == ("job_1", "run_1", "research", "queued")
        assert api.put("/runs/run_1", {}).status == 200
        ended = api.put("/jobs/job_1", {"status": "failed"})
        assert (ended.status, ended["run_id"], ended["status"]) == (200, "run_1", "failed")
        assert ended["ended_at"] is not None

    def test_needs_no_run(self, api: Api) -> None:
        assert api.put("/jobs/job_1", {})["run_id"] is None
        assert refused(api.put("/jobs/job_1", {"run_id": "a b"}), 422, "invalid_request")
