"""The web server in a process of its own, on the database of these tests."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.db import connection

from tests.web_server import WebServer


@pytest.fixture(scope="package")
def web(committed_db: None) -> Iterator[WebServer]:
    """One web server for all tests of this folder."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    database_url = urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))
    with WebServer(Path(os.environ["VAR_DIR"]), database_url=database_url, redis_url=os.environ["REDIS_URL"]) as server:
        yield server
