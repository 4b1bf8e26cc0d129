"""Reports in the admin: what happened, on pages."""

from reports.admin import breaks

__all__ = ["breaks"]
