"""The workspace row, read."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pricing.advisor.policy import Policy
from pricing.models.workspace import THE_WORKSPACE, Workspace


def load() -> Workspace:
    """Return the workspace; a database that lost the row answers with the defaults (an unsaved row)."""
    return Workspace.objects.filter(pk=THE_WORKSPACE).first() or Workspace()


def policy(row: Workspace) -> Policy:
    """Return what the workspace says about advice."""
    return Policy(
        target_margin=row.target_margin,
        tolerance=row.margin_tolerance,
        max_step=row.advisor_max_step,
        cooldown_days=row.advisor_cooldown_days,
        minimum_events=row.advisor_minimum_events,
        max_unpriced=row.advisor_max_unpriced,
        credit_value=row.credit_value,
    )


@dataclass(frozen=True, slots=True)
class Change:
    """The last change of one decision: who made it (nobody: the system), when, why, and what it was before."""

    by: str
    at: datetime
    reason: str
    before: Any


def last_change(name: str) -> Change | None:
    """Return the last change of a field of the workspace; None if it is as it was at first."""
    states = Workspace.history.select_related("history_user").order_by("-history_date", "-history_id")
    later = None
    for state in states.iterator(chunk_size=100):
        if later is not None and getattr(state, name) != getattr(later, name):
            who = str(later.history_user or "the system")
            return Change(who, later.history_date, later.history_change_reason or "", getattr(state, name))
        later = state
    return None
