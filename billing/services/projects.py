"""Projects: the apps that meter, made by a command the first time that one of them is named."""

from django.core.exceptions import ValidationError
from django.db import transaction

from billing.errors import InvalidRequest
from billing.models import Project
from billing.models.owner import project_key_validator


def ensure(*, key: str) -> tuple[Project, bool]:
    """Return the project of `key` and whether it is new; a new one is called as its key reads, `support-bot` Support bot.

    Raises InvalidRequest (key).
    """
    try:
        project_key_validator(key)
    except ValidationError as error:
        raise InvalidRequest("project", f"{key!r} is not a project key: {' '.join(error.messages).rstrip('.')}") from error
    with transaction.atomic():
        project, is_new = Project.objects.get_or_create(key=key, defaults={"name": key.replace("-", " ").capitalize()})
        if is_new:
            return project, True
        return Project.objects.select_related("cost_center").get(pk=project.pk), False
