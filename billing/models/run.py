"""Pipeline runs and agent jobs: the work that usage belongs to.

A run is started by a trigger and consists of jobs; a job is one agent at work. Apps name both by their own ids and put
those ids into each event's owner, before or after the run is announced here.
"""

from django.db import models
from django.db.models import Q

from billing.models.environment import Environment
from billing.models.owner import Project


class JobStatus(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PipelineRun(models.Model):
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="runs")
    environment = models.CharField(max_length=16, choices=Environment.choices, default=Environment.PRODUCTION)
    run_id = models.CharField("run", max_length=128)
    trigger = models.CharField(max_length=64, blank=True, help_text="What started it, such as push, schedule or manual.")
    status = models.CharField(max_length=12, choices=JobStatus.choices, default=JobStatus.RUNNING)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("project", "environment", "run_id"), name="run_is_known_once"),
            models.CheckConstraint(condition=Q(status__in=JobStatus.values), name="run_status_is_known"),
            models.CheckConstraint(condition=Q(environment__in=Environment.values), name="run_environment_is_known"),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=models.F("started_at")), name="run_ends_after_start"
            ),
        )
        indexes = (models.Index(fields=("project", "-started_at"), name="run_by_project_and_start"),)

    def __str__(self) -> str:
        return self.run_id


class AgentJob(models.Model):
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="jobs")
    environment = models.CharField(max_length=16, choices=Environment.choices, default=Environment.PRODUCTION)
    job_id = models.CharField("job", max_length=128)
    run = models.ForeignKey(PipelineRun, null=True, blank=True, on_delete=models.PROTECT, related_name="jobs")
    agent_type = models.CharField(max_length=64, blank=True, help_text="Such as implementation, research or testing.")
    status = models.CharField(max_length=12, choices=JobStatus.choices, default=JobStatus.RUNNING)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("project", "environment", "job_id"), name="job_is_known_once"),
            models.CheckConstraint(condition=Q(status__in=JobStatus.values), name="job_status_is_known"),
            models.CheckConstraint(condition=Q(environment__in=Environment.values), name="job_environment_is_known"),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=models.F("started_at")), name="job_ends_after_start"
            ),
        )
        indexes = (models.Index(fields=("project", "-started_at"), name="job_by_project_and_start"),)

    def __str__(self) -> str:
        return self.job_id
