"""A real browser for the pages: Debian's Chromium, driven by Playwright, signed in by its cookie."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from config.roles import Role
from tests.people import signed_in

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
DESK = {"width": 1440, "height": 900}


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}: the pages are not looked at")
    # Playwright's event loop runs in this thread, and the tests read the database beside it.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def a_page(chromium: Browser, live_server: LiveServer) -> Iterator[Callable[[Role], Page]]:
    """Make a page in which a person of a role is signed in; it fails the test when a script of the page fails."""
    contexts, complaints = [], []

    def make(role: Role) -> Page:
        context = chromium.new_context(viewport=DESK, base_url=live_server.url)  # type: ignore[arg-type]
        cookie = signed_in(role).cookies[settings.SESSION_COOKIE_NAME]
        context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": live_server.url}])
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        contexts.append(context)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not complaints, complaints
