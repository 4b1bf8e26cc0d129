"""API keys: who may call, with what, from where, and when it was used last. Made, rotated and revoked in dialogs."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RadioFilter, RelatedDropdownFilter
from unfold.enums import ActionVariant

from billing.admin.key_dialogs import (
    KEY_COLOURS,
    NewKeyOfProjectDialog,
    RevokeDialog,
    RotateDialog,
    key_state,
    make_key,
    rotate_key,
)
from billing.models import ApiKey
from billing.services import keys
from config.base.admin import ReadOnlyAdmin, Shown, TrackedAdmin, badge, dialog, link, moment, names


class InUse(RadioFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return (("live", "Live"), ("ended", "Expired or revoked"))

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        ended = Q(revoked_at__isnull=False) | Q(expires_at__lte=timezone.now())
        if self.value() == "live":
            return queryset.exclude(ended)
        return queryset.filter(ended) if self.value() == "ended" else queryset


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin, TrackedAdmin):
    list_display = ("name", "project", "environment", "scope_names", "public_id", "last_used", "expires", "state")
    list_filter = (InUse, ("project", RelatedDropdownFilter), ("environment", ChoicesDropdownFilter))
    list_select_related = ("project",)
    ordering = ("-created_at", "-pk")
    when_empty = "An app needs a key to report events. Make one with New key."
    search_fields = ("public_id__exact", "name__istartswith")
    search_help_text = "Public id, or beginning of the name"
    actions_list = ("new_key",)
    actions_detail = ("rotate_key", "revoke_key")
    fieldsets = (
        (None, {"fields": (("name", "state"), ("project", "environment"), ("public_id", "scope_names"))}),
        ("Limits", {"fields": (("networks", "rate_limit_per_minute"), ("expires", "last_used"))}),
        ("Origin", {"fields": (("made", "created_by"), ("successor", "predecessor"), ("revoked",))}),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[ApiKey]":
        rows: QuerySet[ApiKey] = super().get_queryset(request)
        # Whoever lists keys needs nothing of their secrets, not even the hash.
        return rows.select_related("project").defer("secret_hash")

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        key = self.get_object(request, str(object_id))
        if key is None or key_state(key)[0] in {"revoked", "expired"}:
            return []
        actions = super().get_actions_detail(request, object_id)
        return [action for action in actions if not (key.replaced_by_id and action.action_name.endswith("rotate_key"))]

    @dialog(
        "New key",
        form=NewKeyOfProjectDialog,
        permission="billing.manage_apikey",
        submit="Make the key",
        description="The secret is shown once, in the next step.",
        icon="key",
        variant=ActionVariant.PRIMARY,
    )
    def new_key(self, request: HttpRequest, form: NewKeyOfProjectDialog, _: None) -> Shown:
        return make_key(request, form, form.cleaned_data["project"])

    @dialog(
        "Rotate key",
        form=RotateDialog,
        permission="billing.manage_apikey",
        submit="Make the new key",
        description="A new key with the same rights replaces this one. Its secret is shown once, in the next step.",
        icon="autorenew",
    )
    def rotate_key(self, request: HttpRequest, form: RotateDialog, key: ApiKey) -> Shown:
        return rotate_key(request, form, key)

    @dialog(
        "Revoke key",
        form=RevokeDialog,
        permission="billing.manage_apikey",
        submit="Revoke",
        description="The key stops working at once, for good.",
        icon="block",
        variant=ActionVariant.DANGER,
    )
    def revoke_key(self, request: HttpRequest, form: RevokeDialog, key: ApiKey) -> str:
        keys.revoke(key_id=key.pk, reason=form.cleaned_data["reason"], now=timezone.now())
        return f"{key.name} is revoked."

    @admin.display(description="may use")
    def scope_names(self, key: ApiKey) -> str:
        return names(key.scopes)

    @admin.display(description="allowed networks")
    def networks(self, key: ApiKey) -> str:
        return names(key.cidrs) if key.cidrs else "any"

    @admin.display(description="last used")
    def last_used(self, key: ApiKey) -> str:
        return moment(key.last_used_at) if key.last_used_at else "never"

    @admin.display(description="expires")
    def expires(self, key: ApiKey) -> str:
        return moment(key.expires_at) if key.expires_at else "never"

    @admin.display(description="state")
    def state(self, key: ApiKey) -> SafeString:
        return badge(*key_state(key), KEY_COLOURS)

    @admin.display(description="made")
    def made(self, key: ApiKey) -> str:
        return moment(key.created_at)

    @admin.display(description="revoked")
    def revoked(self, key: ApiKey) -> str:
        return moment(key.revoked_at) if key.revoked_at else "no"

    @admin.display(description="replaced by")
    def successor(self, key: ApiKey) -> SafeString | str:
        return link(key.replaced_by, "billing_apikey_change", key.replaced_by_id) if key.replaced_by else "-"

    @admin.display(description="replaces")
    def predecessor(self, key: ApiKey) -> SafeString | str:
        old = ApiKey.objects.filter(replaced_by=key).first()
        return link(old, "billing_apikey_change", old.pk) if old else "-"
