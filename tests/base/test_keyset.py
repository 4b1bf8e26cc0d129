"""Lists without end: each row is on exactly one page, forwards and backwards, and the count never reads the table."""

import re
from datetime import timedelta
from html import unescape
from itertools import chain

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.models import LedgerEntry, UsageRecord
from billing.services import charging, ledger
from config.base.admin import keyset
from tests.billing.factories import NOW, a_caller, a_price, a_wallet, an_event

pytestmark = pytest.mark.django_db

LEDGER = "admin:billing_ledgerentry_changelist"
USAGE = "admin:billing_usagerecord_changelist"


@pytest.fixture
def usage() -> None:
    """123 records, many of the same moment, some of other days and months."""
    caller = a_caller()
    a_price("4")
    a_wallet(caller, credits="1000")
    times = [NOW - timedelta(seconds=number // 40, days=30 * (number % 3 == 0)) for number in range(123)]
    charging.charge([an_event(caller, occurred_at=time) for time in times], now=NOW)


@pytest.fixture
def entries() -> None:
    wallet = a_wallet(a_caller())
    for number in range(123):
        ledger.grant(wallet_id=wallet.pk, credits=1, reason=f"Gift {number}", actor="system:tests", now=NOW)  # type: ignore[arg-type]


def ids(page: str, model: str) -> list[int]:
    return [int(pk) for pk in re.findall(rf'<th[^>]*>\s*<a href="/admin/billing/{model}/(\d+)/change/', page)]


def walk(browser: Client, start: str, relation: str, model: str) -> list[list[int]]:
    """Follow `next` or `prev` links to the end; return the ids of each page."""
    pages, address = [], start
    while address:
        page = browser.get(address).content.decode()
        pages.append(ids(page, model))
        found = re.search(rf'rel="{relation}" href="([^"]+)"', page)
        address = start.partition("?")[0] + unescape(found[1]) if found else ""
        last = page
    walk.last = last  # type: ignore[attr-defined]
    return pages


def last_address(browser: Client, start: str) -> str:
    address = start
    while found := re.search(r'rel="next" href="([^"]+)"', browser.get(address).content.decode()):
        address = start.partition("?")[0] + unescape(found[1])
    return address


class TestPaging:
    @pytest.mark.parametrize(("name", "model", "rows"), [(LEDGER, LedgerEntry, "entries"), (USAGE, UsageRecord, "usage")])
    def test_shows_every_row_once_in_both_directions(
        self, admin_client: Client, request: pytest.FixtureRequest, name: str, model: type[LedgerEntry], rows: str
    ) -> None:
        request.getfixturevalue(rows)
        order = ("-occurred_at", "-pk") if model is UsageRecord else ("-pk",)
        expected = list(model.objects.order_by(*order).values_list("pk", flat=True))
        start, noun = reverse(name), model._meta.model_name or ""
        forwards = walk(admin_client, start, "next", noun)
        assert list(chain(*forwards)) == expected
        assert [len(page) for page in forwards[:2]] == [50, 50]
        backwards = walk(admin_client, last_address(admin_client, start), "prev", noun)
        assert list(chain(*reversed(backwards))) == expected

    def test_never_skips_rows_of_a_list(self, admin_client: Client, entries: None) -> None:
        address = last_address(admin_client, reverse(LEDGER))
        with CaptureQueriesContext(
            connection,
        ) as queries:
            admin_client.get(address)
        assert not any("OFFSET" in query["sql"] for query in queries)

    def test_starts_anew_when_the_filter_changes(self, admin_client: Client, entries: None) -> None:
        page = admin_client.get(last_address(admin_client, reverse(LEDGER))).content.decode()
        form = page[page.index('id="filter-form"') :]
        assert "older_than" not in form[: form.index("</form>")]

    @pytest.mark.parametrize("cursor", ["older_than=x", "newer_than=1~2", "older_than=9e99", "older_than="])
    def test_refuses_a_cursor_that_it_did_not_make(self, admin_client: Client, cursor: str) -> None:
        response = admin_client.get(f"{reverse(LEDGER)}?{cursor}")
        assert response.status_code == 302
        assert response.headers["Location"].endswith("?e=1")


class TestCount:
    def test_is_exact_where_rows_are_few(self, entries: None) -> None:
        assert keyset.count(LedgerEntry.objects.all()) == 123

    def test_is_what_the_planner_believes_where_they_are_many(self, entries: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keyset, "COUNTED", 100)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE billing_ledgerentry")
        with CaptureQueriesContext(connection) as queries:
            assert keyset.count(LedgerEntry.objects.all()) >= 101
        assert all(query["sql"].startswith("EXPLAIN") for query in queries)
