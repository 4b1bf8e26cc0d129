"""Figures of reports beside the navigation; kept as those of billing are."""

from billing.queries.badges import capped, kept
from reports.queries.reconciliation import open_breaks as _open


def open_breaks() -> str:
    """Count the breaks with Stripe that nobody has explained; empty for none, `99+` above 99."""
    return kept("open_breaks", lambda: capped(_open()))
