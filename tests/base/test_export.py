"""Exports: nothing in them runs as a formula, a million rows need no more memory than a thousand, the filters are named."""

import csv
import io
import tracemalloc
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import LedgerEntry
from billing.services import ledger
from config.base.export import cell, lines
from config.roles import Role
from tests.billing.factories import NOW, a_caller, a_wallet
from tests.people import signed_in


class TestCell:
    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
    def test_is_never_a_formula(self, text: str) -> None:
        assert cell(text) == f"'{text}"

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (Decimal("-4.500000"), "-4.5"),
            (-3, "-3"),
            (None, ""),
            ("user_42", "user_42"),
            (datetime(2026, 11, 20, 10, tzinfo=UTC), "2026-11-20T10:00:00+00:00"),
        ],
    )
    def test_keeps_figures_and_times_as_they_are(self, value: Any, text: str) -> None:
        assert cell(value) == text


def peak_bytes(rows: int) -> int:
    numbers = ([number] * 10 for number in range(rows))
    tracemalloc.start()
    for _ in lines(numbers, ["Number"] * 10, {"File": "Numbers"}):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_rows() -> None:
    assert peak_bytes(60_000) < peak_bytes(2_000) * 1.5


@pytest.mark.django_db
class TestLedgerExport:
    @pytest.fixture
    def entries(self) -> None:
        wallet = a_wallet(a_caller(), "=cmd|calc", credits="10")
        ledger.grant(wallet_id=wallet.pk, credits=Decimal("1.5"), reason="@sum", actor="user:=x", now=NOW)

    def rows(self, browser: Client, query: str = "") -> list[list[str]]:
        response = browser.get(reverse("admin:billing_ledgerentry_export") + query)
        assert response.status_code == 200
        text = b"".join(response.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
        return list(csv.reader(io.StringIO(text)))

    def test_has_the_rows_of_the_list_under_its_filters_and_names_them(self, entries: None) -> None:
        rows = self.rows(signed_in(Role.FINANCE), "?kind__exact=grant&recorded_at_from=2026-11-01")
        head = {row[0]: row[1] for row in rows if len(row) == 2}
        assert head["Filter: kind"] == "Grant"
        assert head["Filter: recorded at from"] == "2026-11-01"
        assert (head["Drawn by"], head["Time zone"]) == ("finance", "UTC")
        body = rows[rows.index([]) + 1 :]
        assert len(body) == 2
        entry = dict(zip(*body, strict=True))
        assert (entry["Kind"], entry["Credits"], entry["Reason"]) == ("Grant", "1.5", "'@sum")
        assert (entry["Customer"], entry["Debit"], entry["Credit"]) == ("'=cmd|calc", "promotional credits", "deferred revenue")

    def test_has_every_row_and_the_sums_of_the_ledger(self, entries: None) -> None:
        rows = self.rows(signed_in(Role.FINANCE))
        column = rows[rows.index([]) + 1].index("Credits")
        figures = [Decimal(row[column]) for row in rows[rows.index([]) + 2 :]]
        assert sum(figures) == sum(LedgerEntry.objects.values_list("credits", flat=True)) == Decimal("11.5")

    def test_is_only_for_who_may_view_the_ledger(self, entries: None) -> None:
        where = reverse("admin:billing_ledgerentry_export")
        assert signed_in(Role.ENGINEER).get(where).status_code == 403
        assert signed_in(Role.FINANCE).post(where).status_code == 403
