"""The ledger check: is every credit accounted for? What the newest proof says, rule by rule, and those before it."""

from typing import Any

from celery import current_app
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from kombu.exceptions import OperationalError as BrokerAwayError

from billing.admin.words import actor
from billing.models import CheckRun
from config.base.admin import Dialog, KeysetAdmin, ReadOnlyAdmin, badge, dialog, lines, moment, table
from config.base.errors import DomainError

PERMISSION = "billing.run_ledger_check"
VERDICT_COLOURS = {"clean": "success", "broken": "danger"}


class WorkerAway(DomainError):
    """Run the check from the command line, or start the worker."""

    code = "worker_away"


class CheckDialog(Dialog):
    pass


@admin.register(CheckRun)
class CheckRunAdmin(ReadOnlyAdmin, KeysetAdmin):
    list_display = ("checked", "verdict", "entries", "sealed", "took", "actor")
    actions_list = ("check_now",)
    actions_detail = ("check_now_here",)
    fieldsets = (
        (None, {"fields": (("checked", "verdict"), ("entries", "took"), ("sealed", "actor"), ("digest",))}),
        (
            "Rules",
            {"fields": ("rules_table",), "description": "Each rule was checked as of one moment. A break names what does not agree."},
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        page = path("newest/", self.admin_site.admin_view(self.newest), name="billing_ledger_check")
        return [page, *super().get_urls()]

    def newest(self, request: HttpRequest) -> HttpResponse:
        """Lead to the newest check, or to the empty list with its button."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        run = CheckRun.objects.order_by("-id").values_list("pk", flat=True).first()
        target = reverse("admin:billing_checkrun_change", args=[run]) if run else reverse("admin:billing_checkrun_changelist")
        return HttpResponseRedirect(target)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm(PERMISSION))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    @dialog(
        "Check now",
        form=CheckDialog,
        permission=PERMISSION,
        submit="Check",
        description="Proves every money rule and every seal from one snapshot. Reads only; a large ledger takes a few minutes.",
        icon="verified",
    )
    def check_now(self, request: HttpRequest, form: CheckDialog, row: None) -> str:
        return _start(request)

    @dialog("Check now", form=CheckDialog, permission=PERMISSION, submit="Check", description="Starts a new check.", icon="verified")
    def check_now_here(self, request: HttpRequest, form: CheckDialog, run: CheckRun) -> str:
        return _start(request)

    @admin.display(description="checked")
    def checked(self, run: CheckRun) -> str:
        return moment(run.started_at)

    @admin.display(description="verdict")
    def verdict(self, run: CheckRun) -> SafeString:
        broken = sum(1 for rule in run.rules if rule["break_count"])
        if not broken:
            return badge("clean", "Every credit is accounted for", VERDICT_COLOURS)
        return badge("broken", f"{broken} {'rule is' if broken == 1 else 'rules are'} broken", VERDICT_COLOURS)

    @admin.display(description="entries")
    def entries(self, run: CheckRun) -> str:
        return f"{run.entry_count:,}"

    @admin.display(description="took")
    def took(self, run: CheckRun) -> str:
        return f"{run.duration_ms:,} ms"

    @admin.display(description="sealed until")
    def sealed(self, run: CheckRun) -> str:
        return moment(run.sealed_until) if run.sealed_until else "no hour is sealed yet"

    @admin.display(description="newest digest (note it outside this system)")
    def digest(self, run: CheckRun) -> SafeString:
        return format_html('<span class="md-mono">{}</span>', run.head_digest or "-")

    @admin.display(description="rules")
    def rules_table(self, run: CheckRun) -> SafeString:
        rules = sorted(run.rules, key=lambda rule: -rule["break_count"])
        return table(("", "Rule", "Examined"), [_row(rule) for rule in rules], figures=(2,))


def _row(rule: dict[str, Any]) -> tuple[Any, ...]:
    if not rule["break_count"]:
        return badge("clean", "Holds", VERDICT_COLOURS), rule["statement"], f"{rule['examined']:,}"
    breaks = [f"{broken['subject']}: {broken['detail']}" for broken in rule["breaks"]]
    mark = badge("broken", f"{rule['break_count']:,} broken", VERDICT_COLOURS)
    return mark, lines([rule["statement"], *breaks]), f"{rule['examined']:,}"


def _start(request: HttpRequest) -> str:
    """Let the worker do it: a web request may not last as long as a check of a large ledger."""
    try:
        current_app.send_task("billing.tasks.check_ledger", kwargs={"actor": actor(request)})
    except BrokerAwayError as error:
        raise WorkerAway("The worker cannot be reached. Run manage.py ledger_check, or start the worker.") from error
    return "The check is running. Load this page again in a moment to see its result."
