"""The web server in a process of its own, on the database of these tests."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.db import connection

from tests.stripe_objects import SECRET
from tests.web_server import WebServer


def database_url() -> str:
    """The address of the database of these tests, for another process."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))


@pytest.fixture(scope="package")
def web(committed_db: None) -> Iterator[WebServer]:
    """One web server for all tests of this folder."""
    redis_url, stripe = os.environ["REDIS_URL"], {"STRIPE_API_KEY": "sk_test_of_the_tests", "STRIPE_WEBHOOK_SECRET": SECRET}
    with WebServer(Path(os.environ["VAR_DIR"]), database_url=database_url(), redis_url=redis_url, env=stripe) as server:
        yield server
