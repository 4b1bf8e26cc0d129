"""Failed sign-ins: who is locked out and from where. Deleting a row lets the person try again at once."""

from axes.models import AccessAttempt
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from config.base.admin import BaseAdmin


@admin.register(AccessAttempt)
class AccessAttemptAdmin(BaseAdmin):
    show_full_result_count = True
    list_display = ("username", "ip_address", "failures_since_start", "attempt_time")
    search_fields = ("username__startswith", "ip_address__startswith")
    search_help_text = "Beginning of the user name or the address"
    fields = ("username", "ip_address", "failures_since_start", "attempt_time", "user_agent", "path_info")
    readonly_fields = fields
    ordering = ("-attempt_time",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
