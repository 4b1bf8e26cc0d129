"""Imports point one way: the contracts of the house hold."""

import subprocess
import sys
from pathlib import Path

from django.conf import settings


def test_the_house_holds() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
