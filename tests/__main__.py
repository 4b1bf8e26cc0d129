"""`python -m tests`: the whole suite, in two halves beside each other, each with servers of its own.

Most of the time a test waits for a process or a browser, so two halves take little longer than the longer one alone. For a
part of the suite, or another order, `python -m pytest` with its paths.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

# What takes as long as all the rest; a directory that nobody named is among the rest.
FIRST: Final = ("tests/browser", "tests/config", "tests/faults")


def main(options: list[str]) -> int:
    """Run both halves with pytest's `options`; return the first exit code that is not 0."""
    pytest = [sys.executable, "-u", "-m", "pytest", "--durations=15", *options]
    with tempfile.TemporaryFile("w+") as output:
        rest = subprocess.Popen([*pytest, "tests", *(f"--ignore={path}" for path in FIRST)], stdout=output, stderr=subprocess.STDOUT)
        try:
            codes = [subprocess.run([*pytest, *FIRST], check=False).returncode, rest.wait()]
        except KeyboardInterrupt:
            rest.wait()
            raise
        output.seek(0)
        print(f"\n== {', '.join(FIRST)} end here; the rest:\n", flush=True)
        print(output.read(), flush=True)
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    assert Path("manage.py").exists(), "run it where manage.py is"
    sys.exit(main(sys.argv[1:]))
