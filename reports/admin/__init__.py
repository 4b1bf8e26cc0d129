"""Reports in the admin: what happened, on pages."""
