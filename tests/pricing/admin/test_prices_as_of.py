import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from openpyxl import load_workbook

from config.base.export import cell
from config.roles import Role
from pricing.models import Workspace
from tests import people
from tests.pricing.factories import PriceRuleFactory, PriceVersionFactory
from tests.pricing.queries.test_prices_as_of import a_story

pytestmark = pytest.mark.django_db
PAGE = "/admin/pricing/priceversion/as-of/"


@pytest.fixture
def finance() -> Client:
    return people.signed_in(Role.FINANCE)


def shown(client: Client, **asked: str) -> list[tuple[str, int | None]]:
    rows = client.get(PAGE, asked).context["answer"].rows
    return [(row.rule, row.stop.number if row.stop else None) for row in rows]


def csv_rows(client: Client, address: str) -> list[list[str]]:
    response = client.get(address)
    assert response.status_code == 200
    return list(csv.reader(io.StringIO(b"".join(response.streaming_content).decode("utf-8-sig"))))  # type: ignore[attr-defined]


class TestPage:
    def test_tells_price_period_decision_and_where_to_read_on(self, finance: Client) -> None:
        rule = a_story()
        response = finance.get(PAGE, {"at": "2026-04-01"})
        page = response.content.decode()
        for text in (
            "4 credits per chat.reply",
            "2026-04-01 00:00:00",
            "2026-06-01 00:00:00",
            "=Reason 2",
            "Published by ann, approved by ben",
        ):
            assert text in page
        assert reverse("admin:pricing_pricerule_change", args=[rule.pk]) in page
        assert reverse("admin:pricing_priceversion_change", args=[rule.versions.get(number=2).pk]) in page
        assert "1 without a price in force" in page
        assert "The first one starts" in page

    def test_is_about_now_unless_a_moment_is_asked_for(self, finance: Client) -> None:
        rule = PriceRuleFactory.create(event_type__name="chat.reply")
        now = timezone.now()
        PriceVersionFactory.create(rule=rule, number=1, effective_to=now - timedelta(hours=1))
        PriceVersionFactory.create(rule=rule, number=2, effective_from=now - timedelta(hours=1), effective_to=now + timedelta(hours=1))
        PriceVersionFactory.create(rule=rule, number=3, effective_from=now + timedelta(hours=1))
        assert shown(finance) == [("chat.reply/default", 2)]

    def test_speaks_the_time_of_the_workspace(self, finance: Client) -> None:
        a_story()
        Workspace.objects.update(time_zone="Europe/Vienna")  # two hours ahead of UTC in April: the day begins in March
        assert shown(finance, at="2026-04-01")[0] == ("chat.reply/default", 1)
        assert shown(finance, at="2026-04-01T02:00")[0] == ("chat.reply/default", 2)
        assert shown(finance, at="2026-04-01T00:00:00Z")[0] == ("chat.reply/default", 2)

    def test_marks_what_another_date_had_differently(self, finance: Client) -> None:
        a_story()
        page = finance.get(PAGE, {"at": "2026-03-15", "compare": "2026-06-01"}).content.decode()
        assert "1 differs" in page
        assert "5 credits per chat.reply" in page

    @pytest.mark.parametrize("name", ["at", "compare"])
    @pytest.mark.parametrize(
        "text", ["yesterday", "2026-02-30", "2026-13-01", "0001-01-01", "9999-12-31T23:59", "2026-04-01T99:00", "\0", "<b>", "9" * 500]
    )
    def test_what_is_no_date_is_told(self, name: str, text: str, finance: Client) -> None:
        a_story()
        response = finance.get(PAGE, {name: text})
        assert response.status_code == 200
        if text != "\0":  # nothing is left of it, and nothing means now
            assert "is no date" in response.content.decode()
            assert "answer" not in response.context
        assert finance.get(f"{PAGE}csv/", {name: text}).status_code in {200, 302}

    @pytest.mark.parametrize("asked", [{"event": "\0%_'"}, {"event": "x" * 300}, {"rule": "a/b/c/d"}, {"rule": "\0"}, {"page": "x"}])
    def test_odd_words_are_no_failure(self, asked: dict[str, str], finance: Client) -> None:
        a_story()
        assert finance.get(PAGE, asked).status_code == 200

    def test_an_unknown_rule_is_told(self, finance: Client) -> None:
        assert "There is no price rule" in finance.get(PAGE, {"rule": "no.such/default"}).content.decode()

    def test_an_empty_desk_says_so(self, finance: Client) -> None:
        assert "There are no price rules yet" in finance.get(PAGE).content.decode()
        assert "Nothing matches" in finance.get(PAGE, {"event": "chat"}).content.decode()

    def test_takes_as_many_queries_for_many_rules(self, finance: Client, django_assert_max_num_queries: Any) -> None:
        for _ in range(40):
            PriceVersionFactory.create()
        with django_assert_max_num_queries(20):
            finance.get(PAGE)

    def test_many_rules_come_in_pages(self, finance: Client) -> None:
        rule = PriceRuleFactory.create()
        for n in range(200):
            PriceRuleFactory.create(event_type=rule.event_type, segment="customer", segment_key=f"app/{n:03}")
        assert "Rules 1 to 200; the files have all 201." in finance.get(PAGE).content.decode()
        assert "app/199" in finance.get(PAGE, {"page": "2"}).content.decode()


class TestFiles:
    def files(self, client: Client, **asked: str) -> tuple[Any, dict[str, str]]:
        page = client.get(PAGE, asked)
        return page.context["answer"], dict(page.context["files"])

    def test_the_csv_is_the_page(self, finance: Client) -> None:
        a_story()
        answer, files = self.files(finance, at="2026-04-15", event="chat")
        rows = csv_rows(finance, files["CSV"])
        head = {row[0]: row[1] for row in rows if len(row) == 2}
        assert (head["As of"], head["Filter: event type"], head["Drawn by"]) == ("2026-04-15T00:00:00+00:00", "chat", "finance")
        headings, *body = rows[rows.index([]) + 1 :]
        assert len(body) == len(answer.rows) == 2
        for found, row in zip((dict(zip(headings, line, strict=True)) for line in body), answer.rows, strict=True):
            assert (found["Rule"], found["Segment"]) == (row.rule, row.segment.label)
            assert (found["Version"], found["Price"], found["Reason"]) == (str(row.stop.number), row.stop.sentence, cell(row.stop.reason))
            assert (found["Valid from"], found["Valid to"]) == (cell(row.stop.effective_from), cell(row.stop.effective_to))
            assert found["Approved by"] == row.stop.approved_by
        assert body[0][headings.index("Reason")] == "'=Reason 2"

    def test_a_rule_without_a_price_is_in_it(self, finance: Client) -> None:
        a_story()
        rows = csv_rows(finance, f"{PAGE}csv/?at=2026-06-01&compare=2026-04-15")
        found = dict(zip(*[rows[rows.index([]) + 1], rows[-1]], strict=True))
        assert (found["Version"], found["Price"], found["Reason"]) == ("", "No price in force", "The last one ended 2026-05-10 00:00:00")
        assert (found["Version compared with"], found["Differs"]) == ("1", "yes")

    def test_the_workbook_has_the_cells_of_the_csv(self, finance: Client) -> None:
        a_story()
        _, files = self.files(finance, at="2026-04-15", compare="2026-06-01")
        response = finance.get(files["XLSX"])
        sheet = load_workbook(io.BytesIO(response.content)).active
        assert sheet is not None
        cells = [["" if value is None else str(value) for value in row] for row in sheet.iter_rows(values_only=True)]
        rows = csv_rows(finance, files["CSV"])
        start = rows.index([]) + 1
        assert cells[start:] == rows[start:]
        assert "f" not in {one.data_type for row in sheet.iter_rows() for one in row}

    def test_now_is_the_moment_of_the_page(self, finance: Client) -> None:
        a_story()
        page = finance.get(PAGE)
        rows = csv_rows(finance, dict(page.context["files"])["CSV"])
        assert dict(row for row in rows if len(row) == 2)["As of"] == page.context["at"].isoformat()

    def test_a_question_that_cannot_be_read_leads_back_to_the_page(self, finance: Client) -> None:
        assert finance.get(f"{PAGE}csv/?at=soon").headers["Location"] == f"{PAGE}?at=soon"
        assert finance.get(f"{PAGE}pdf/").headers["Location"].startswith(PAGE)


class TestPermission:
    @pytest.mark.parametrize("address", [PAGE, f"{PAGE}csv/", f"{PAGE}xlsx/"])
    @pytest.mark.parametrize("role", [*Role, None])
    def test_is_that_of_price_versions(self, role: Role | None, address: str) -> None:
        client = people.signed_in(role)
        assert client.get(address).status_code == (403 if role in {Role.ENGINEER, None} else 200)
        assert client.post(address).status_code == 403

    def test_somebody_unknown_is_sent_to_the_door(self, client: Client) -> None:
        assert client.get(PAGE).status_code == 302

    def test_the_menu_marks_this_page_alone(self, finance: Client) -> None:
        groups = finance.get(PAGE).context["sidebar_navigation"]
        assert [item["title"] for group in groups for item in group["items"] if item["active"]] == ["Prices as of a date"]
