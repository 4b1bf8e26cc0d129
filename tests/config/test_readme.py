"""What the README tells strangers to set up is what the code works with."""

import re

from django.conf import settings

from billing.services import inbox, stripe_gateway

README = (settings.BASE_DIR / "README.md").read_text()


def test_names_the_events_that_the_inbox_works_off() -> None:
    found = re.search(r"<!-- stripe-events -->(.*)<!-- /stripe-events -->", README, re.DOTALL)
    assert found
    assert set(re.findall(r"[a-z_]+\.[a-z_.]+", found[1])) == set(inbox.HANDLERS)


def test_names_the_version_of_stripes_api() -> None:
    assert f"API version `{stripe_gateway.API_VERSION}`" in README
