"""What waits for a second person, on its page: to approve and reject for others, to withdraw for whoever asked.

A button is there for whom it works; the services refuse again.
"""

from functools import partial
from typing import Any, Final

from django.http import HttpRequest
from unfold.enums import ActionVariant

from config.base.admin import BaseAdmin, ReasonDialog, dialog


class DecideDialog(ReasonDialog):
    """Why it was decided so."""


# Each takes the permission that it needs and a sentence about what happens.
approving: Final = partial(dialog, "Approve", form=DecideDialog, submit="Approve", icon="check", variant=ActionVariant.PRIMARY)
rejecting: Final = partial(dialog, "Reject", form=DecideDialog, submit="Reject", icon="close", variant=ActionVariant.DANGER)
# With the permission to view: whoever asked may always take it back, whatever else they may do by now.
withdrawing: Final = partial(dialog, "Withdraw", form=DecideDialog, submit="Withdraw", icon="undo")


class DecidedByASecondPerson(BaseAdmin):
    """Rows that somebody asked for (`requested_by`), with the actions `approve`, `reject` and `withdraw`."""

    waiting_state: str

    def offered(self, row: Any, user_id: int | None) -> set[str]:
        """Return what would not be refused to this user."""
        if row.state != self.waiting_state:
            return set()
        return {"withdraw"} if row.requested_by_id == user_id else {"approve", "reject"}

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        row = self.get_object(request, str(object_id))
        offered = self.offered(row, request.user.pk) if row is not None else set()
        return [found for found in super().get_actions_detail(request, object_id) if found.path in offered]
