"""The people who use the admin, signed in with the permissions of their role."""

from django.contrib.auth.models import Group, User
from django.test import Client

from config.roles import Role

BACKEND = "django.contrib.auth.backends.ModelBackend"


def a_person(role: Role | None = None, *, name: str | None = None) -> User:
    """Make a person of `role`; without one, somebody who may open the admin and nothing in it."""
    person = User.objects.create_user(name or (role.name.lower() if role else "nobody"), is_staff=True)
    if role:
        person.groups.add(Group.objects.get(name=role.value))
    return person


def signed_in(role: Role | None = None, *, name: str | None = None) -> Client:
    """Return a browser in which a person of `role` is signed in."""
    client = Client()
    client.force_login(a_person(role, name=name), backend=BACKEND)
    return client
