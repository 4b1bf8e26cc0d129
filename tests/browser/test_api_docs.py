"""The API's own page, as its readers see it."""

import pytest
from playwright.sync_api import Browser, expect
from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)


def _luminance(colour: str) -> int:
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_follows_the_readers_light_or_dark(scheme: str, chromium: Browser, live_server: LiveServer) -> None:
    with chromium.new_context(color_scheme=scheme, viewport={"width": 390, "height": 800}) as context:  # type: ignore[arg-type]
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(f"{live_server.url}/api/v1/docs")
        expect(page.get_by_text("/api/v1/events/batch")).to_be_visible(timeout=20_000)
        background = page.evaluate("getComputedStyle(document.querySelector('.swagger-ui')).backgroundColor")
        text = page.evaluate("getComputedStyle(document.querySelector('.swagger-ui .opblock-summary-path')).color")
        is_dark_text = _luminance(text) < 3 * 128
        assert is_dark_text == (scheme == "light")
        assert background == ("rgba(0, 0, 0, 0)" if scheme == "light" else "rgb(28, 32, 34)")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert not complaints
