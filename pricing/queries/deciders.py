"""Who decides on proposed prices: the one place that says which permission it takes."""

from typing import Final

from django.contrib.auth.models import User
from django.db.models import QuerySet

DECIDE: Final = "pricing.decide_proposal"
_PERMISSIONS_BACKEND: Final = "django.contrib.auth.backends.ModelBackend"


def people() -> "QuerySet[User]":
    """Return those who may decide, by their roles or their own permissions."""
    return User.objects.with_perm(DECIDE, backend=_PERMISSIONS_BACKEND).filter(is_staff=True)
