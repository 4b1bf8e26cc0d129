"""Sending dialogs as the page does: open it, fill it in, send it."""

import re
from typing import Any, Final

from django.db.models import Model
from django.test import Client
from django.urls import reverse

HTMX: Final = {"HX-Request": "true"}


def address(action: str, row: Model | None = None) -> str:
    """Return where a button leads, such as `billing_customer_grant_credits`."""
    return reverse(f"admin:{action}", args=(row.pk,) if row else ())


def opened(browser: Client, action: str, row: Model | None = None) -> str:
    """Open the dialog and return its HTML."""
    response = browser.get(address(action, row), headers=HTMX)
    assert response.status_code == 200
    return response.content.decode()


def send(browser: Client, action: str, row: Model | None = None, /, **fields: Any) -> Any:
    """Open the dialog and send it with `fields`."""
    once = re.search(r'name="once" value="([^"]+)"', opened(browser, action, row))
    assert once
    return browser.post(address(action, row), {"once": once[1], **fields}, headers=HTMX)


def went_through(response: Any) -> bool:
    """Say whether the page is loaded anew, which is what success does."""
    return response.status_code == 200 and "HX-Redirect" in response.headers
