#!/usr/bin/env python
"""Run Meterdesk's commands: `python manage.py up` starts everything."""

import os
import sys

from django.core.management import execute_from_command_line
from django.db import OperationalError


def no_database(error: OperationalError) -> str | None:
    """One sentence when it was PostgreSQL that could not be reached; None for a failure of a statement."""
    if getattr(error.__cause__, "sqlstate", None) is not None:
        return None
    if os.environ.get("DATABASE_URL"):
        return f"PostgreSQL at DATABASE_URL does not answer: {str(error).splitlines()[0]}"
    return "PostgreSQL is not running: start it with `python manage.py up`, or set DATABASE_URL."


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        execute_from_command_line(sys.argv)
    except OperationalError as error:
        if not (sentence := no_database(error)):
            raise
        sys.exit(sentence)
