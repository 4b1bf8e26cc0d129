from decimal import Decimal
from pathlib import Path

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from billing.queries import badges
from config.roles import Role
from pricing.feeds import files
from pricing.models import ChangeState, ProviderRate, RateChange, RateImport
from pricing.services import rate_imports
from tests import people
from tests.billing.admin.dialogs import HTMX, address, opened, send, went_through
from tests.pricing.factories import NOW, RateChangeFactory, RateImportFactory

pytestmark = pytest.mark.django_db

GUARDED = [{"guard": "zero", "sentence": "The feed states 0."}]
ACCEPT, REJECT = "pricing_ratechange_accept_line", "pricing_ratechange_reject_line"
AGAIN = "pricing_rateimport_compare_again"
SAMPLES = Path(__file__).parents[2] / "samples" / "feeds"
ACCEPT_ALL, REJECT_ALL = "pricing_rateimport_accept_all", "pricing_rateimport_reject_all"


@pytest.fixture
def made() -> RateImport:
    """An import of three lines, one of them behind a guard."""
    made = RateImportFactory.create(counts={"new": 3, "guarded": 1, "agree": 7, "rejected_before": 0, "left_out": 1})
    RateChangeFactory.create(rate_import=made, model="nimbus")
    RateChangeFactory.create(rate_import=made, model="nimbus", unit_kind="output", price=Decimal(9))
    RateChangeFactory.create(rate_import=made, model="stratus", provider="google", price=Decimal(0), guards=GUARDED)
    return made


@pytest.fixture
def finance() -> Client:
    return people.signed_in(Role.FINANCE)


def page(browser: Client, made: RateImport, **query: str) -> str:
    response = browser.get(reverse("admin:pricing_rateimport_change", args=[made.pk]), query)
    assert response.status_code == 200
    return response.content.decode()


def shown(html: str) -> set[str]:
    """Return the models whose lines the page shows."""
    return {model for model in ("anthropic/nimbus", "google/stratus") if f">{model}</strong>" in html}


def states() -> list[str]:
    return list(RateChange.objects.order_by("id").values_list("state", flat=True))


class TestDiffPage:
    def test_shows_lines_by_model_with_their_guards(self, finance: Client, made: RateImport) -> None:
        html = page(finance, made)
        assert shown(html) == {"anthropic/nimbus", "google/stratus"}
        assert "Price of 0" in html
        assert "The feed states 0." in html
        assert "3 lines" in html
        assert "9 USD per 1,000,000 tokens" in html
        assert "7 prices agree" in html
        assert 'href="?state=pending">3 waiting for a decision</a>' in html

    @pytest.mark.parametrize(
        ("query", "models"),
        [
            ({"guard": "any"}, {"google/stratus"}),
            ({"guard": "none"}, {"anthropic/nimbus"}),
            ({"guard": "zero"}, {"google/stratus"}),
            ({"guard": "jump"}, set()),
            ({"provider": "google"}, {"google/stratus"}),
            ({"kind": "changed"}, set()),
            ({"state": "accepted"}, set()),
            ({"model": "IMB"}, {"anthropic/nimbus"}),
            ({"guard": "nonsense", "page": "-3"}, {"anthropic/nimbus", "google/stratus"}),
            ({"page": "x"}, {"anthropic/nimbus", "google/stratus"}),
            ({"model": "nul\x00"}, {"anthropic/nimbus", "google/stratus"}),
        ],
    )
    def test_is_filtered(self, finance: Client, made: RateImport, query: dict[str, str], models: set[str]) -> None:
        assert shown(page(finance, made, **query)) == models

    def test_pages_by_model(self, finance: Client, made: RateImport) -> None:
        for n in range(25):
            RateChangeFactory.create(rate_import=made, provider="azure", model=f"m{n}")
        first, second = page(finance, made), page(finance, made, page="2")
        assert "Models 1 to 25 of 27" in first
        assert "Models 26 to 27 of 27" in second
        assert shown(first) | shown(second) == {"anthropic/nimbus", "google/stratus"}
        assert not shown(first) & shown(second)

    def test_says_so_where_nothing_differs(self, finance: Client) -> None:
        assert "there is nothing to decide" in page(finance, RateImportFactory.create())

    def test_a_product_manager_looks_and_decides_nothing(self, made: RateImport) -> None:
        browser = people.signed_in(Role.PRODUCT_MANAGER)
        html = page(browser, made)
        assert shown(html)
        assert "accept-line" not in html
        line = made.changes.first()
        assert line is not None
        for action, row in ((ACCEPT, line), (REJECT, line), (ACCEPT_ALL, made), (REJECT_ALL, made), (AGAIN, made)):
            assert browser.get(address(action, row), headers=HTMX).status_code == 403
            assert browser.post(address(action, row), {"reason": "x"}, headers=HTMX).status_code == 403
        assert browser.post(address("pricing_rateimport_compare_installed"), headers=HTMX).status_code == 403
        assert states() == ["pending"] * 3

    def test_support_does_not_see_it(self, made: RateImport) -> None:
        browser = people.signed_in(Role.SUPPORT)
        assert browser.get(reverse("admin:pricing_rateimport_change", args=[made.pk]), follow=True).status_code == 403


class TestDeciding:
    def test_a_line_is_accepted(self, finance: Client, made: RateImport) -> None:
        line = made.changes.get(unit_kind="output")
        assert went_through(send(finance, ACCEPT, line))
        line.refresh_from_db()
        assert line.rate is not None
        assert (line.rate.price, str(line.rate.series)) == (Decimal(9), "anthropic/nimbus output")
        assert line.decided_by is not None
        assert line.decided_by.username == "finance"

    def test_a_guarded_line_asks_why(self, finance: Client, made: RateImport) -> None:
        line = made.changes.get(model="stratus")
        assert "The feed states 0." in opened(finance, ACCEPT, line)
        assert not went_through(send(finance, ACCEPT, line, reason=" "))
        assert went_through(send(finance, ACCEPT, line, reason="It is free until spring"))
        line.refresh_from_db()
        assert (line.state, line.decision_reason) == (ChangeState.ACCEPTED, "It is free until spring")

    def test_all_unguarded_are_accepted(self, finance: Client, made: RateImport) -> None:
        assert went_through(send(finance, ACCEPT_ALL, made, reason="Monthly review"))
        assert states() == ["accepted", "accepted", "pending"]
        assert ProviderRate.objects.count() == 2

    def test_a_line_is_rejected_with_a_reason(self, finance: Client, made: RateImport) -> None:
        line = made.changes.get(model="stratus")
        assert not went_through(send(finance, REJECT, line))
        assert went_through(send(finance, REJECT, line, reason="Nobody gives it away"))
        line.refresh_from_db()
        assert (line.state, line.decision_reason) == (ChangeState.REJECTED, "Nobody gives it away")

    def test_all_that_wait_are_rejected(self, finance: Client, made: RateImport) -> None:
        assert went_through(send(finance, REJECT_ALL, made, reason="The wrong file"))
        assert states() == ["rejected"] * 3

    def test_a_line_that_was_decided_is_refused(self, finance: Client, made: RateImport) -> None:
        line = made.changes.get(model="stratus")
        send(finance, REJECT, line, reason="No")
        response = send(finance, ACCEPT, line, reason="Yes")
        assert "is rejected already" in response.content.decode()

    def test_the_installed_feed_is_compared(self, finance: Client) -> None:
        assert went_through(send(finance, "pricing_rateimport_compare_installed"))
        assert went_through(send(finance, "pricing_rateimport_compare_installed"))
        assert [made.source for made in RateImport.objects.all()] == ["genai-prices"]
        assert not ProviderRate.objects.exists()


class TestComparingAgain:
    def test_leads_to_the_new_comparison(self, finance: Client) -> None:
        feed = files.from_file(SAMPLES / "litellm_1.json")
        first = rate_imports.import_feed(feed=feed, as_of=NOW, actor=None, now=NOW).rate_import
        assert "says the same as before" in self.told(finance, first)
        RateChange.objects.filter(rate_import=first).update(state=ChangeState.SUPERSEDED, decided_at=NOW)
        assert "compared again: 14 lines wait" in self.told(finance, first)
        newest = RateImport.objects.latest("id")
        assert reverse("admin:pricing_rateimport_change", args=[newest.pk]) in page(finance, first)
        assert "compared again" in page(finance, newest)
        assert "was compared later" not in page(finance, newest)

    def told(self, finance: Client, made: RateImport) -> str:
        assert went_through(send(finance, AGAIN, made))
        return page(finance, made)

    def test_says_what_to_do_where_the_release_was_not_kept(self, finance: Client, made: RateImport) -> None:
        assert "--again" in send(finance, AGAIN, made).content.decode()


class TestLists:
    def test_imports_say_what_waits(self, finance: Client, made: RateImport) -> None:
        html = finance.get(reverse("admin:pricing_rateimport_changelist")).content.decode()
        assert "3 waiting" in html
        assert "1 by a guard" in html
        assert "3 new" in html

    def test_an_empty_list_says_where_imports_come_from(self, finance: Client) -> None:
        assert "No feed was compared yet" in finance.get(reverse("admin:pricing_rateimport_changelist")).content.decode()

    def test_a_line_tells_its_whole_story(self, finance: Client, made: RateImport) -> None:
        line = made.changes.get(model="stratus")
        html = finance.get(reverse("admin:pricing_ratechange_change", args=[line.pk])).content.decode()
        assert "Price of 0. The feed states 0." in html
        assert "Waiting for a decision" in html

    def test_the_badge_counts_imports_that_wait(self, finance: Client, made: RateImport) -> None:
        cache.clear()
        assert badges.pending_rate_imports() == "1"
        send(finance, REJECT_ALL, made, reason="No")
        cache.clear()
        assert badges.pending_rate_imports() == ""
