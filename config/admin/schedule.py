"""Scheduled tasks: what runs by itself and when. What a task does belongs to the program; whether and when, to operators."""

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django_celery_beat.models import PeriodicTask

from config.base.admin import BaseAdmin

_OPEN = ("enabled", "interval", "crontab")
_FACTS = ("name", "task", "description", "last_run_at", "total_run_count")


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(BaseAdmin):
    show_full_result_count = True
    list_display = ("name", "when", "enabled", "last_run_at", "total_run_count")
    list_filter = ("enabled",)
    search_fields = ("name__istartswith", "task__startswith")
    readonly_fields = _FACTS
    fieldsets = (
        ("Task", {"fields": _FACTS}),
        ("Schedule", {"fields": _OPEN, "description": "Set an interval or a time table, not both. The scheduler follows within seconds."}),
    )

    @admin.display(description="runs")
    def when(self, task: PeriodicTask) -> str:
        return str(task.interval or task.crontab or task.solar or task.clocked or "never")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        tasks: QuerySet[Any] = super().get_queryset(request)
        return tasks.select_related("interval", "crontab", "solar", "clocked")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
