"""Event types: the words that apps may report. The name is chosen once, since records and apps keep it."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from config.base.admin import TrackedAdmin, link
from pricing.models import EventType


@admin.register(EventType)
class EventTypeAdmin(TrackedAdmin):
    show_full_result_count = True
    when_empty = "An event type is an action that users pay for, in your product's own word: chat.reply, image.generate."
    list_display = ("name", "label", "unit_name", "is_active", "prices")
    list_filter = ("is_active",)
    search_fields = ("name__startswith", "label__istartswith")
    search_help_text = "Beginning of the name or the label"
    fieldsets = ((None, {"fields": ("name", "label", "unit_name", "description", "is_active", "prices")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return [*dict.fromkeys([*fields, *(["name"] if obj else []), "prices"])]

    @admin.display(description="price rules")
    def prices(self, event_type: EventType) -> str:
        if event_type._state.adding:
            return "Save it, then add a price rule: until there is a price, apps that report it are refused."
        return link("Show", "pricing_pricerule_changelist", query=f"event_type__id__exact={event_type.pk}")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> forms.Field | None:
        field: forms.Field | None = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name == "description":
            field.widget.attrs["rows"] = 3
        return field
