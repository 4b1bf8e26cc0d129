"""Users and groups: who works here, and in which role.

A user is never deleted, since entries, prices and decisions name who made them; who leaves is made inactive. Roles come
from `config.roles` and are not edited here. Only a superuser makes or touches a superuser.
"""

from typing import Any, Final

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from config.base.admin import BaseAdmin
from config.roles import PERMISSIONS, Role

SUPERUSER: Final = "is_superuser"


@admin.register(User)
class UserAdmin(DjangoUserAdmin, BaseAdmin):  # type: ignore[type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "full_name", "roles", "is_active", "is_staff", "last_login")
    list_filter = ("groups", "is_active", "is_staff")
    search_fields = ("username__startswith", "first_name__istartswith", "last_name__istartswith", "email__istartswith")
    search_help_text = "Beginning of the user name, a name or the e-mail address"
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        ("Sign-in", {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        (
            "Access",
            {
                "fields": ("is_active", "is_staff", "groups", SUPERUSER),
                "description": "A user signs in when active and staff, and may do what the roles allow.",
            },
        ),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        ("Sign-in", {"fields": ("username", "usable_password", "password1", "password2"), "classes": ("wide",)}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_staff", "groups")}),
    )

    @admin.display(description="name")
    def full_name(self, user: User) -> str:
        return user.get_full_name()

    @admin.display(description="roles")
    def roles(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all()) or ("Superuser" if user.is_superuser else "none")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[User]":
        return super().get_queryset(request).prefetch_related("groups")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"is_staff": True, **super().get_changeform_initial_data(request)}

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if _is_superuser(request):
            return fieldsets
        return [(title, {**options, "fields": [f for f in options["fields"] if f != SUPERUSER]}) for title, options in fieldsets]

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "groups":
            kwargs["widget"] = UnfoldAdminCheckboxSelectMultipleWidget
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if field is not None and db_field.name == "groups":
            field.label, field.help_text = "Roles and groups", "The person may do what any of them allows."
        return field

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        is_above = isinstance(obj, User) and obj.is_superuser and not _is_superuser(request)
        return not is_above and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, BaseAdmin):
    list_display = ("name", "is_role", "members")
    list_filter = ()
    search_fields = ("name__istartswith",)

    @admin.display(description="role", boolean=True)
    def is_role(self, group: Group) -> bool:
        return group.name in list(Role)

    @admin.display(description="members")
    def members(self, group: Group) -> int:
        return group.user_set.filter(is_active=True).count()

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest | None = None, **kwargs: Any) -> Any:
        """Offer what the roles are made of, so that no group can hold what nobody may do."""
        if db_field.name == "permissions":
            kwargs["queryset"] = _offered().select_related("content_type")
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return not _is_role(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return not _is_role(obj) and super().has_delete_permission(request, obj)


def _offered() -> "QuerySet[Permission]":
    wanted = Q(pk__in=())
    for name in sorted(frozenset[str]().union(*PERMISSIONS.values())):
        app, _, codename = name.partition(".")
        wanted |= Q(content_type__app_label=app, codename=codename)
    return Permission.objects.filter(wanted)


def _is_role(group: Group | None) -> bool:
    return group is not None and group.name in list(Role)


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser
