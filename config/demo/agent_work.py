"""The agent platform: pipeline runs, the jobs in them, and what each agent used."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from billing.events import Event, Outcome, Owner, Route
from billing.models import JobStatus
from billing.services import runs
from config.demo.buyers import Buyer, Habit
from config.demo.shape import Day, some
from config.demo.traffic import Model, choose, event, usage

# The agent types of seed 003.
AGENT_TYPES = (
    *("implementation", "research", "testing", "release", "security", "documentation", "design"),
    *("marketing", "ui-ux", "performance", "compliance", "revenue", "dependency"),
)
_TRIGGERS = ("push", "push", "schedule", "manual", "issue")
_MODELS = (
    Model("anthropic", "claude-sonnet-4-5", (1, 1), 16_000, 900, 14_000, 0.72),
    Model("anthropic", "claude-opus-4-5", (1, 1), 21_000, 1200, 19_000, 0.74),
    Model("openai", "gpt-5.1", (1, 1), 13_000, 1000, 12_000, 0.5),
)
_PAYING = frozenset({Habit.BUYS, Habit.ONCE})


@dataclass(slots=True)
class Job:
    """One agent at work."""

    job_id: str
    agent_type: str
    starts: datetime
    ends: datetime
    status: JobStatus
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class Run:
    """One pipeline run of one customer."""

    run_id: str
    buyer: Buyer
    trigger: str
    jobs: list[Job]

    @property
    def starts(self) -> datetime:
        """When its first job began."""
        return self.jobs[0].starts

    @property
    def ends(self) -> datetime:
        """When its last job ended."""
        return max(job.ends for job in self.jobs)


def of_day(day: Day, buyers: Sequence[Buyer], *, seed: int) -> list[Run]:
    """Return the day's runs; over a few days every type of agent has worked."""
    random = Random(f"{seed}/{day.on}/runs")  # noqa: S311 - a company is invented here, not a key
    moments = day.moments(day.count(4, random), random)
    who = choose(buyers, "agent-platform", len(moments), random, habits=_PAYING)
    return [_run(day, number, at, buyer, random) for number, (at, buyer) in enumerate(zip(moments, who, strict=True))]


def announce(run: Run, *, now: datetime) -> None:
    """Tell of a run and its jobs as they stand at `now`; what has not ended yet is running."""
    caller = run.buyer.caller
    worst = JobStatus.FAILED if any(job.status is JobStatus.FAILED for job in run.jobs) else JobStatus.SUCCEEDED
    ended = {"status": worst, "ended_at": run.ends} if run.ends <= now else {"status": JobStatus.RUNNING}
    row, _ = runs.put_run(caller=caller, run_id=run.run_id, changes={"trigger": run.trigger, "started_at": run.starts, **ended}, now=now)
    for job in run.jobs:
        if job.starts <= now:
            ended = {"status": job.status, "ended_at": job.ends} if job.ends <= now else {"status": JobStatus.RUNNING}
            facts = {"run": row, "agent_type": job.agent_type, "started_at": job.starts, **ended}
            runs.put_job(caller=caller, job_id=job.job_id, changes=facts, now=now)


def _run(day: Day, number: int, at: datetime, buyer: Buyer, random: Random) -> Run:
    run_id = f"run_{day.on:%Y%m%d}_{number:02}"
    rotation = day.ago * 4 + number * 3
    jobs = []
    for position in range(random.randrange(2, 5)):
        agent_type = AGENT_TYPES[(rotation + position) % len(AGENT_TYPES)]
        job = _job(f"{run_id}_{position + 1}", agent_type, at, random)
        job.events = [_step(day, run_id, job, buyer, step, random) for step in range(random.randrange(3, 8))]
        jobs.append(job)
        at = job.ends
    return Run(run_id, buyer, random.choice(_TRIGGERS), jobs)


def _job(job_id: str, agent_type: str, at: datetime, random: Random) -> Job:
    ends = at + timedelta(seconds=some(random, 420))
    status = JobStatus.FAILED if random.random() < 0.06 else JobStatus.SUCCEEDED
    return Job(job_id, agent_type, at, ends, status)


def _step(day: Day, run_id: str, job: Job, buyer: Buyer, step: int, random: Random) -> Event:
    model = random.choices(_MODELS, weights=(6, 1 + 2 * day.drift, 3))[0]
    at = job.starts + (job.ends - job.starts) * (step / 8)
    latency = some(random, model.latency_ms)
    went = Outcome("ok", 200, "", latency, latency // 6, accepted=True, duration_ms=latency)
    owner = Owner(workflow="pipeline", run_id=run_id, job_id=job.job_id, agent_type=job.agent_type)
    spent = usage(model, day, random, growth=0.35)
    # Between two steps of an agent more than five minutes may pass, so its prompts are kept for an hour.
    spent = spent._replace(cache_write_1h_tokens=spent.cache_write_tokens)
    route = Route("messages", "text", "standard", "agents", f"{model.provider}/{model.model}", stream=True)
    key = f"agent/{job.job_id}/{step}"
    return event(buyer.caller, "agent.run", at, key, customer=buyer.external_id, usage=spent, route=route, outcome=went, owner=owner)
