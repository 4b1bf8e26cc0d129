"""The launch calendar: ending an entry early, or calling it off before it began."""

from datetime import datetime

from django.db import transaction

from billing.models import Launch
from billing.models.fields import save_with_reason
from config.base.errors import DomainError


class LaunchIsOver(DomainError):
    """Nothing is left to end: look at the entry again."""

    code = "launch_is_over"


@transaction.atomic
def end(*, launch: Launch, reason: str, now: datetime) -> bool:
    """End a launch now; one that has not begun is taken out of the calendar, and its history stays. Say whether it had begun.

    Raises LaunchIsOver.
    """
    row = Launch.objects.select_for_update().filter(pk=launch.pk).first()
    if row is None or row.ends_at <= now:
        raise LaunchIsOver("It is over already: load the page again.")
    if row.starts_at >= now:
        setattr(row, "_change_reason", reason)  # noqa: B010 - simple-history reads the reason from here
        row.delete()
        return False
    row.ends_at = now
    save_with_reason(row, "ends_at", reason=reason)
    return True
