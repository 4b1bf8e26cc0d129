"""`lint`: every check that needs no test, in one command."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

# `check --deploy` judges the settings that production uses.
_PRODUCTION = {"HTTPS": "1", "ALLOWED_HOSTS": "meterdesk.example", "DEBUG": "0"}
_CHECKS: dict[str, tuple[list[str], dict[str, str]]] = {
    "ruff": (["ruff", "check", "."], {}),
    "format": (["ruff", "format", "--check", "."], {}),
    "mypy": (["mypy"], {}),
    "the house": (["lint-imports"], {}),
    "templates": (["djlint", "templates", "--lint", "--quiet"], {}),
    "migrations": ([sys.executable, "-W", "ignore::RuntimeWarning", "manage.py", "makemigrations", "--check", "--dry-run"], {}),
    "deploy": ([sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"], _PRODUCTION),
}


class Command(BaseCommand):
    help = "Run ruff, mypy, import contracts, djlint, makemigrations --check and check --deploy."
    requires_system_checks = []

    def handle(self, *_: Any, **__: Any) -> None:
        tools = Path(sys.executable).parent
        path = f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"
        failed = []
        if not (tools / "ruff").exists():
            raise CommandError("The checks need tests/requirements.txt: `pip install --require-hashes -r tests/requirements.txt`.")
        for name, (command, variables) in _CHECKS.items():
            found = command[0] if Path(command[0]).is_absolute() else str(tools / command[0])
            done = subprocess.run(
                [found, *command[1:]],
                cwd=settings.BASE_DIR,
                env={**os.environ, "PATH": path, **variables},
                capture_output=True,
                text=True,
                check=False,
            )
            self.stdout.write(f"{'ok    ' if done.returncode == 0 else 'FAILED'} {name}")
            if done.returncode:
                failed.append(name)
                self.stdout.write(done.stdout + done.stderr)
        if failed:
            raise SystemExit(f"failed: {', '.join(failed)}")
