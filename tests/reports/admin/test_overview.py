from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.events import Charged
from billing.models import CheckRun, Dispute, Project, StripeEvent
from billing.queries import alert_words
from billing.services import charging, withdrawals
from billing.services.withdrawals import Back
from config.base.admin import moment
from config.roles import Role
from pricing.models import PriceRule, SpentRefundPolicy
from reports.admin.overview import Tone
from tests import desk, people
from tests.billing.alerting import an_alert
from tests.billing.factories import a_caller, a_wallet, an_event
from tests.billing.topups import a_paid_topup
from tests.pricing.proposals import a_rule, an_advised_proposal

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _no_kept_badges() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def a_check(*, broken: int = 0, age: timedelta = timedelta()) -> None:
    rules = [{"rule": f"rule {n}", "break_count": 1} for n in range(broken)]
    CheckRun.objects.create(
        started_at=timezone.now() - age, duration_ms=1, entry_count=1, is_clean=not broken, rules=rules, actor="system:tests"
    )


class TestEmptyDesk:
    def test_tells_the_first_steps(self) -> None:
        page = people.signed_in(Role.ADMINISTRATOR).get("/admin/").content.decode()
        assert "Four steps to the first charge" in page
        assert "curl http://testserver/api/v1/events" in page
        assert "All is well" not in page


class TestDeskWithUsage:
    @pytest.fixture
    def finance(self) -> Client:
        desk.a_company(timezone.now())
        return people.signed_in(Role.FINANCE)

    def test_says_that_all_is_well(self, finance: Client) -> None:
        a_check()
        page = finance.get("/admin/")
        assert page.context["tone"] is Tone.CALM
        assert "All is well" in page.content.decode()

    @pytest.mark.parametrize(
        ("check", "tone", "figure"),
        [
            ({"broken": 2}, Tone.BAD, "2 broken"),
            ({"age": timedelta(days=2)}, Tone.WARN, "Out of date"),
            (None, Tone.WARN, "Not run yet"),
        ],
    )
    def test_says_what_is_wrong(self, check: dict[str, timedelta | int] | None, tone: Tone, figure: str, finance: Client) -> None:
        if check is not None:
            a_check(**check)  # type: ignore[arg-type]
        page = finance.get("/admin/")
        assert page.context["tone"] is tone
        assert figure in page.content.decode()

    def test_every_tile_leads_somewhere_that_opens(self, finance: Client) -> None:
        a_check()
        tiles = finance.get("/admin/").context["tiles"]
        assert {tile.title: finance.get(tile.href, follow=True).status_code for tile in tiles} == {tile.title: 200 for tile in tiles}

    def test_leads_to_the_prices_that_wait_for_a_decision(self, finance: Client) -> None:
        a_check()
        assert "No price waits for a decision." in finance.get("/admin/").content.decode()
        proposal = an_advised_proposal(PriceRule.objects.get())
        page = finance.get("/admin/")
        assert page.context["tone"] is Tone.WARN
        [row] = page.context["undecided"]
        assert (row["rule"], row["change"]) == ("chat.reply/default", "4 → 4.5 per event (+12.5\N{NO-BREAK SPACE}%)")
        assert f'href="/admin/pricing/proposal/{proposal.pk}/change/"' in page.content.decode()

    def test_says_that_more_wait_than_it_names(self, finance: Client) -> None:
        a_check()
        rules = [PriceRule.objects.get(), *(a_rule(f"extra.action{number}") for number in range(5))]
        for rule in rules[:5]:
            an_advised_proposal(rule)
        assert "These wait longest" not in finance.get("/admin/").content.decode()
        cache.clear()
        an_advised_proposal(rules[5])
        assert "These wait longest" in finance.get("/admin/").content.decode()

    def test_says_what_money_waits_for(self) -> None:
        desk.everything()
        now = timezone.now()
        StripeEvent.objects.update(state="dead")
        dispute = {"topup_id": Dispute.objects.get().topup_id, "amount_minor": 850, "currency": "USD", "state": "open"}
        times = {"opened_at": now, "changed_at": now, "told_at": now}
        Dispute.objects.create(stripe_id="dp_asked", stripe_status="needs_response", evidence_due_at=now, **dispute, **times)
        Dispute.objects.create(stripe_id="dp_answered", stripe_status="under_review", evidence_due_at=now - DAY, **dispute, **times)
        finance = people.signed_in(Role.FINANCE)
        page = finance.get("/admin/")
        found = {tile.title: tile for tile in page.context["concerns"]}
        waits = {
            "Open disputes": "2",
            "Refunds to decide": "1",
            "Requests to decide": "1",
            "Breaks with Stripe": "1",
            "Dead Stripe events": "1",
        }
        assert {title: found[title].figure for title in waits} == waits
        assert found["Open disputes"].sentence.startswith(f"Evidence was due {moment(now)}.")
        assert {finance.get(found[title].href).status_code for title in waits} == {200}
        assert page.context["tone"] is Tone.BAD

    def test_says_what_was_paid_back(self, finance: Client) -> None:
        assert "left again" not in finance.get("/admin/").content.decode()
        now = timezone.now()
        bought = a_paid_topup(a_wallet(a_caller(Project.objects.get()), customer="acme-2", now=now), now=now)
        assert bought.payment
        with transaction.atomic():
            withdrawals.withdraw(
                payment=bought.payment,
                back=Back(500, 500),
                policy=SpentRefundPolicy.RECEIVABLE,
                reason="Back",
                actor="system:tests",
                now=now,
            )
        assert "500 left again with 5.00 USD of refunds and disputes." in finance.get("/admin/").content.decode()

    def test_says_what_budgets_and_wallets_told(self, finance: Client) -> None:
        a_check()
        alert = an_alert()
        [tile] = finance.get("/admin/").context["concerns"]
        assert (tile.title, tile.figure, tile.sentence) == ("Open alerts", "1", alert_words.sentence(alert))
        assert finance.get(tile.href).status_code == 200

    def test_names_an_action_that_cost_far_more_than_its_price(self, finance: Client) -> None:
        a_check()
        dear = an_event(a_caller(Project.objects.get()), provider_cost=Decimal(508))
        [result] = charging.charge([dear], now=timezone.now())
        assert isinstance(result, Charged)
        page = finance.get("/admin/")
        [tile] = page.context["concerns"]
        assert (tile.title, tile.figure, tile.href) == ("Dearest action", "508", f"/admin/billing/usagerecord/{result.record_id}/change/")
        assert finance.get(tile.href).status_code == 200

    def test_costs_few_queries(self, finance: Client) -> None:
        finance.get("/admin/")
        with CaptureQueriesContext(connection) as queries:
            finance.get("/admin/")
        assert len(queries) <= 33


class TestRoles:
    @pytest.mark.parametrize(
        ("role", "titles"),
        [
            (Role.ENGINEER, ["Unpriced records"]),
            (
                Role.SUPPORT,
                [
                    "Credits out",
                    "Credits in",
                    "Low wallets",
                    "Wallets in debt",
                    "Frozen wallets",
                    "Unpriced records",
                    "Open holds",
                    "Open proposals",
                ],
            ),
        ],
    )
    def test_see_the_figures_that_are_theirs(self, role: Role, titles: list[str]) -> None:
        desk.a_company(timezone.now())
        page = people.signed_in(role).get("/admin/")
        assert [tile.title for tile in page.context["tiles"]] == titles
        assert ("Credits out by event" in page.content.decode()) is (role is Role.SUPPORT)
