"""The launch calendar: made, changed and ended with a reason, by product managers."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from billing.models import Launch
from config.roles import Role
from tests.billing.admin.dialogs import HTMX, address, send, went_through
from tests.people import signed_in

pytestmark = pytest.mark.django_db
LIST, ADD = reverse("admin:billing_launch_changelist"), reverse("admin:billing_launch_add")
FORM = {"name": "Autumn campaign", "kind": "launch", "starts_at": "2026-11-20T08:00", "ends_at": "2026-12-01T00:00"}


@pytest.fixture
def product() -> Client:
    return signed_in(Role.PRODUCT_MANAGER)


def change(row: Launch) -> str:
    return reverse("admin:billing_launch_change", args=(row.pk,))


def a_launch(starts: int = -1, ends: int = 1, **fields: Any) -> Launch:
    """Plan something from and until so many days from now."""
    now = timezone.now()
    facts = {"name": "Autumn campaign", "starts_at": now + timedelta(days=starts), "ends_at": now + timedelta(days=ends)}
    return Launch.objects.create(**(facts | fields))


class TestALaunch:
    def test_is_entered_by_a_product_manager(self, product: Client) -> None:
        assert product.post(ADD, FORM).status_code == 302
        row = Launch.objects.get()
        assert (row.name, row.project, row.environment) == ("Autumn campaign", None, "")
        assert "Everything" in product.get(LIST).content.decode()

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"ends_at": "2026-11-20T08:00"}, "must end after it starts"),
            ({"ends_at": ""}, "required"),
            ({"starts_at": "9999-12-31T00:00"}, "Choose a time"),
            ({"kind": "war"}, "valid choice"),
            ({"environment": "moon"}, "valid choice"),
            ({"project": "999"}, "valid choice"),
            ({"name": "a\0b"}, "Null characters"),
        ],
    )
    def test_makes_sense(self, product: Client, fields: dict[str, str], words: str) -> None:
        sent = product.post(ADD, FORM | fields)
        assert sent.status_code == 200
        assert words in sent.content.decode()
        assert Launch.objects.count() == 0

    def test_is_changed_with_a_reason(self, product: Client) -> None:
        row = a_launch()
        assert product.post(change(row), FORM | {"change_reason": ""}).status_code == 200
        assert product.post(change(row), FORM | {"change_reason": "Put off", "name": "Later"}).status_code == 302
        last = Launch.history.latest()
        assert (last.name, last.history_change_reason, last.history_user.username) == ("Later", "Put off", "product_manager")

    def test_is_ended_with_a_reason(self, product: Client) -> None:
        row = a_launch()
        assert not went_through(send(product, "billing_launch_end", row, reason=""))
        assert went_through(send(product, "billing_launch_end", row, reason="Called in"))
        row.refresh_from_db()
        assert row.ends_at <= timezone.now()
        assert Launch.history.latest().history_change_reason == "Called in"
        refused = product.post(address("billing_launch_end", row), {"reason": "again"}, headers=HTMX)
        assert "It is over already" in refused.content.decode()

    def test_that_has_not_begun_leaves_the_calendar(self, product: Client) -> None:
        row = a_launch(1, 2)
        assert went_through(send(product, "billing_launch_end", row, reason="Not this year"))
        assert Launch.objects.count() == 0
        last = Launch.history.latest()
        assert (last.history_type, last.history_change_reason) == ("-", "Not this year")

    def test_is_looked_at_by_the_others(self) -> None:
        row = a_launch()
        for role in (Role.FINANCE, Role.ENGINEER, Role.SUPPORT):
            browser = signed_in(role)
            assert browser.get(change(row)).status_code == 200
            assert browser.post(change(row), FORM).status_code == 403
            assert browser.post(ADD, FORM).status_code == 403
            assert browser.post(address("billing_launch_end", row), {"reason": "x"}, headers=HTMX).status_code == 403


def test_the_list_says_when(product: Client) -> None:
    now, later, over = a_launch(), a_launch(2, 3), a_launch(-3, -2)
    rows = list(product.get(LIST).context["cl"].result_list)
    assert rows == [later, now, over]
    for when, row in (("now", now), ("later", later), ("over", over)):
        assert list(product.get(f"{LIST}?when={when}").context["cl"].result_list) == [row]
