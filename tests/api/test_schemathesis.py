"""The document and the API agree: schemathesis makes requests out of the document and looks at the answers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.client import Api
from tests.web_server import WebServer

# What a schema cannot say is not held against the API:
# - 402, 409, 413, 429: a request can be right and still ask for more than the wallet has, or come too late;
# - 422: two fields can contradict each other (parts above their whole, `quantity` with `credits`), a time can lie in the
#   future, an event can have no price, a key can have been used, and one of two places must name the idempotency key.
CONFIGURATION = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "402", "403", "404", "409", "413", "422", "429"]
"""


@pytest.mark.slow
def test_the_api_does_what_its_document_says(api: Api, web: WebServer, tmp_path: Path) -> None:
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration), "run", f"{web.url}/api/v1/openapi.json"),
        *("--phases", "examples,coverage,fuzzing", "--mode", "all", "-n", "100", "--max-time", "60", "--workers", "1"),
        *("--continue-on-failure", "--seed", "20261120", "-H", f"Authorization: Bearer {api.token}", "--generation-database", "none"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert re.search(r"\b[1-9]\d* generated", done.stdout), done.stdout[-2_000:]
