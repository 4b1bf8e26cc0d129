"""Where things are in the admin, for this person: an address, or nothing where they may not go or the page is not there."""

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse


def may_list(request: HttpRequest, model: str) -> bool:
    """Say whether the model (`billing.customer`) has pages that this person may open."""
    model_admin = admin.site._registry.get(apps.get_model(model))
    return model_admin is not None and model_admin.has_view_or_change_permission(request)


def list_of(request: HttpRequest, model: str, query: str = "") -> str:
    """Return the address of the model's list."""
    if not may_list(request, model):
        return ""
    return reverse(f"admin:{model.replace('.', '_')}_changelist") + (f"?{query}" if query else "")


def page(request: HttpRequest, name: str, permission: str = "") -> str:
    """Return the address of a page by its name in the admin, for whoever has `permission`."""
    if permission and not request.user.has_perm(permission):
        return ""
    try:
        return reverse(f"admin:{name}")
    except NoReverseMatch:
        return ""
