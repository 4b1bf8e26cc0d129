"""The workspace's page with what the ledger knows: once something is booked, the book currency is read-only and says why.

The limits above which a second person decides say who changed them last.
"""

from typing import Any, Final

from django.contrib import admin
from django.db.models import Model
from django.forms import ModelForm
from django.http import HttpRequest

from billing.models import LedgerEntry
from config.base.admin import moment
from config.base.exact import grouped
from pricing.admin.workspace import WorkspaceAdmin
from pricing.models import Workspace
from pricing.queries import workspace

SETTLED = "The book currency (ISO 4217). It stays: the ledger has entries in it, and their values would become other amounts."
# Above these a second person decides.
LIMITS: Final = {
    "approval_limit_credits": "What one person may move by hand on one wallet within 24 hours, in credits: grants, adjustments, transfers "
    "and refunds of charges together. More needs a second person.",
    "refund_limit": "Refunds of top-ups above this amount, in the book currency, need a second person.",
}

admin.site.unregister(Workspace)


@admin.register(Workspace)
class BookAdmin(WorkspaceAdmin):
    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return [*fields, "currency"] if "currency" not in fields and LedgerEntry.objects.exists() else fields

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> type["ModelForm[Any]"]:
        told = {"currency": SETTLED} if LedgerEntry.objects.exists() else {}
        told |= {name: words + _changed(name) for name, words in LIMITS.items()}
        form: type[ModelForm[Any]] = super().get_form(request, obj, change, **(kwargs | {"help_texts": told}))
        return form


def _changed(name: str) -> str:
    """Say who changed a limit last, and why; nothing if nobody has."""
    change = workspace.last_change(name)
    if change is None:
        return ""
    why = f": {change.reason}" if change.reason else ""
    return f" Changed from {grouped(change.before)} by {change.by} on {moment(change.at)}{why}"
