"""Filters by time: the last day is inside, in the workspace's zone."""

from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from billing.services import ledger
from pricing.models import Workspace
from tests.billing.factories import a_caller, a_wallet

pytestmark = pytest.mark.django_db


@pytest.fixture
def _entries() -> None:
    """Four entries in Vienna (UTC+1): midnight and the last second of the 19th, and either side of it."""
    Workspace.objects.update_or_create(pk=1, defaults={"time_zone": "Europe/Vienna"})
    wallet = a_wallet(a_caller())
    for hour, minute, day, reason in ((22, 59, 18, "before"), (23, 0, 18, "midnight"), (22, 59, 19, "evening"), (23, 0, 19, "after")):
        now = datetime(2026, 11, day, hour, minute, 59 if minute else 0, tzinfo=UTC)
        ledger.grant(wallet_id=wallet.pk, credits=1, reason=f"gift-{reason}", actor="system:tests", now=now)  # type: ignore[arg-type]


def shown(browser: Client, query: str) -> set[str]:
    response = browser.get(f"{reverse('admin:billing_ledgerentry_changelist')}?{query}")
    assert response.status_code == 200
    return {reason for reason in ("before", "midnight", "evening", "after") if f"gift-{reason}" in response.content.decode()}


@pytest.mark.usefixtures("_entries")
class TestDays:
    def test_include_the_last_one_to_its_end(self, admin_client: Client) -> None:
        assert shown(admin_client, "recorded_at_from=2026-11-19&recorded_at_to=2026-11-19") == {"midnight", "evening"}
        assert shown(admin_client, "recorded_at_to=2026-11-18") == {"before"}
        assert shown(admin_client, "occurred_at_from=2026-11-20") == {"after"}

    def test_may_be_moments(self, admin_client: Client) -> None:
        assert shown(admin_client, "recorded_at_from=2026-11-19T00:00&recorded_at_to=2026-11-19T23:59") == {"midnight"}

    @pytest.mark.parametrize("text", ["yesterday", "2026-13-45", "2026-11-19T99:00", "\x00"])
    def test_that_are_none_show_everything_and_say_so(self, admin_client: Client, text: str) -> None:
        response = admin_client.get(reverse("admin:billing_ledgerentry_changelist"), {"recorded_at_from": text})
        assert response.status_code == 302
        assert response.headers["Location"].endswith("?e=1")
