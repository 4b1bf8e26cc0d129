from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from config.base.admin import Moment
from config.roles import Role
from pricing.models import EventType, PriceRule, PriceVersion, Workspace
from pricing.queries import timeline
from pricing.queries.timeline import Phase, Stop
from pricing.services import proposals
from tests import people
from tests.pricing.admin import proposal_pages
from tests.pricing.factories import (
    LAST_YEAR,
    EventTypeFactory,
    PriceRuleFactory,
    PriceVersionFactory,
    ProviderRateFactory,
    RateSeriesFactory,
)
from tests.pricing.proposals import an_advised_proposal

pytestmark = pytest.mark.django_db


@pytest.fixture
def finance() -> Client:
    return people.signed_in(Role.FINANCE)


class TestTimeLine:
    @pytest.fixture
    def rule(self) -> PriceRule:
        rule = PriceRuleFactory.create(event_type__name="chat.reply")
        now = timezone.now()
        ann, ben = User.objects.create(username="ann"), User.objects.create(username="ben")
        PriceVersionFactory.create(rule=rule, number=1, effective_to=now - timedelta(days=1))
        PriceVersionFactory.create(
            rule=rule,
            number=2,
            credits_per_event=Decimal(5),
            effective_from=now - timedelta(days=1),
            effective_to=now + timedelta(days=1),
            reason="Costs rose",
            created_by=ann,
            approved_by=ben,
        )
        PriceVersionFactory.create(rule=rule, number=3, credits_per_event=Decimal(6), effective_from=now + timedelta(days=1))
        return rule

    def test_tells_what_was_is_and_will_be(self, rule: PriceRule) -> None:
        stops = [stop for stop in timeline.of_rule(rule, now=timezone.now()) if isinstance(stop, Stop)]
        assert [(stop.number, stop.phase) for stop in stops] == [(3, Phase.SCHEDULED), (2, Phase.ACTIVE), (1, Phase.RETIRED)]
        assert (stops[1].sentence, stops[1].reason, stops[1].created_by, stops[1].approved_by) == (
            "5 credits per chat.reply",
            "Costs rose",
            "ann",
            "ben",
        )

    def test_periods_are_half_open(self, rule: PriceRule) -> None:
        second = rule.versions.get(number=2)
        assert timeline.phase(second, now=second.effective_from) is Phase.ACTIVE
        assert second.effective_to is not None
        assert timeline.phase(second, now=second.effective_to) is Phase.RETIRED

    def test_is_on_the_page_of_the_rule(self, rule: PriceRule) -> None:
        page = people.signed_in(Role.SUPPORT).get(reverse("admin:pricing_pricerule_change", args=[rule.pk])).content.decode()
        assert page.index("6 credits per chat.reply") < page.index("5 credits per chat.reply") < page.index("4 credits per chat.reply")
        assert "approved by ben" in page
        assert "Publish a price" not in page
        assert "Propose a price" not in page

    def test_the_list_says_the_price_in_force_and_the_next(self, rule: PriceRule, finance: Client) -> None:
        page = finance.get(reverse("admin:pricing_pricerule_changelist")).content.decode()
        assert "5 credits per chat.reply" in page
        assert "v3 from" in page
        assert "4 credits per chat.reply" not in page


class TestPriceRules:
    def test_a_new_rule_leads_to_its_first_version(self, finance: Client) -> None:
        event_type = EventTypeFactory.create()
        form = {"event_type": event_type.pk, "segment": "plan", "segment_key": "pro"}
        response = finance.post(reverse("admin:pricing_pricerule_add"), form)
        rule = PriceRule.objects.get()
        assert response.headers["Location"] == reverse("admin:pricing_pricerule_publish", args=[rule.pk])
        assert rule.history.get().history_user.username == "finance"

    def test_a_segment_without_its_key_is_refused(self, finance: Client) -> None:
        form = {"event_type": EventTypeFactory.create().pk, "segment": "plan", "segment_key": ""}
        assert finance.post(reverse("admin:pricing_pricerule_add"), form).status_code == 200
        assert not PriceRule.objects.exists()

    def test_a_rule_that_is_not_made_yet_has_no_time_line(self, finance: Client) -> None:
        assert "Time line" not in finance.get(reverse("admin:pricing_pricerule_add")).content.decode()

    def test_one_without_a_version_says_so(self, finance: Client) -> None:
        rule = PriceRuleFactory.create()
        assert "has no price yet" in finance.get(reverse("admin:pricing_pricerule_change", args=[rule.pk])).content.decode()

    def test_the_list_takes_as_many_queries_for_many_rules(self, finance: Client, django_assert_max_num_queries: object) -> None:
        for _ in range(20):
            PriceVersionFactory.create()
        with django_assert_max_num_queries(25):  # type: ignore[operator]
            assert finance.get(reverse("admin:pricing_pricerule_changelist")).status_code == 200


class TestEventTypes:
    def test_the_name_is_chosen_once(self, finance: Client) -> None:
        event_type = EventTypeFactory.create(name="chat.reply")
        form = {"name": "chat.answer", "label": "Answer", "unit_name": "answer", "is_active": "on", "change_reason": "Clearer"}
        assert finance.post(reverse("admin:pricing_eventtype_change", args=[event_type.pk]), form).status_code == 302
        event_type.refresh_from_db()
        assert (event_type.name, event_type.label) == ("chat.reply", "Answer")
        assert event_type.history.latest().history_change_reason == "Clearer"

    def test_one_is_made_with_a_dotted_name(self, finance: Client) -> None:
        form = {"name": "Chat Reply", "label": "x", "unit_name": "event"}
        assert finance.post(reverse("admin:pricing_eventtype_add"), form).status_code == 200
        assert finance.post(reverse("admin:pricing_eventtype_add"), form | {"name": "chat.reply"}).status_code == 302
        assert EventType.objects.get().name == "chat.reply"

    def test_one_leads_to_its_price_rules(self, finance: Client) -> None:
        rule = PriceRuleFactory.create(event_type__name="chat.reply")
        PriceRuleFactory.create(event_type__name="image.generate")
        href = f"{reverse('admin:pricing_pricerule_changelist')}?event_type__id__exact={rule.event_type_id}"
        for address in (
            reverse("admin:pricing_eventtype_changelist"),
            reverse("admin:pricing_eventtype_change", args=[rule.event_type_id]),
        ):
            assert f'href="{href}"' in finance.get(address).content.decode()
        assert list(finance.get(href).context["cl"].result_list) == [rule]
        assert "then add a price rule" in finance.get(reverse("admin:pricing_eventtype_add")).content.decode()


class TestPriceVersions:
    def test_name_the_advisor_and_lead_to_the_proposal(self, finance: Client) -> None:
        proposal = an_advised_proposal()
        decider = User.objects.create(username="ben")
        start = timezone.now() + timedelta(days=1)
        version = proposals.approve(proposal=proposal, effective_from=start, reason="Yes", actor=decider, now=timezone.now())
        page = finance.get(reverse("admin:pricing_priceversion_change", args=[version.pk])).content.decode()
        assert "Pricing Advisor" in page
        assert f'href="{reverse("admin:pricing_proposal_change", args=[proposal.pk])}"' in page
        assert "Pricing Advisor" in finance.get(reverse("admin:pricing_priceversion_changelist")).content.decode()


class TestInForceAt:
    def test_answers_what_was_charged_on_a_day(self, finance: Client) -> None:
        rule = PriceRuleFactory.create(event_type__name="chat.reply")
        change = LAST_YEAR + timedelta(days=30)
        PriceVersionFactory.create(rule=rule, number=1, effective_to=change)
        PriceVersionFactory.create(rule=rule, number=2, effective_from=change)
        found = {
            day: [version.number for version in self._list(finance, "priceversion", day)]
            for day in ("2024-12-31", "2025-01-01", f"{change:%Y-%m-%d}")
        }
        assert found == {"2024-12-31": [], "2025-01-01": [1], f"{change:%Y-%m-%d}": [2]}

    def test_a_moment_will_do(self, finance: Client) -> None:
        PriceVersionFactory.create()
        assert len(self._list(finance, "priceversion", "2025-06-01T10:00:00Z")) == 1

    @pytest.mark.parametrize("text", ["yesterday", "2025-13-01", "2025-02-30"])
    def test_what_is_no_day_is_no_failure(self, text: str, finance: Client) -> None:
        PriceVersionFactory.create()
        response = finance.get(reverse("admin:pricing_priceversion_changelist"), {"in_force_at": text})
        assert response.status_code == 302

    def _list(self, client: Client, model: str, day: str) -> list[PriceVersion]:
        page = client.get(reverse(f"admin:pricing_{model}_changelist"), {"in_force_at": day})
        return list(page.context["cl"].result_list)


class TestProviderRates:
    def test_are_found_by_provider_model_unit_and_source(self, finance: Client) -> None:
        series = RateSeriesFactory.create(provider_model__name="claude-sonnet", provider_model__provider="anthropic", unit_kind="input")
        wanted = ProviderRateFactory.create(series=series, source="invoice")
        ProviderRateFactory.create(series__provider_model__provider="openai")
        for query in (
            {"provider": "anthropic", "model": "claude-s"},
            {"source": "invoice"},
            {"q": "claude-s"},
            {"series__unit_kind__exact": "input", "provider": "anthropic"},
        ):
            page = finance.get(reverse("admin:pricing_providerrate_changelist"), query)
            assert [rate.pk for rate in page.context["cl"].result_list] == [wanted.pk]

    def test_show_price_unit_and_source(self, finance: Client) -> None:
        rate = ProviderRateFactory.create(source="invoice", source_detail="No. 17")
        page = finance.get(reverse("admin:pricing_providerrate_change", args=[rate.pk])).content.decode()
        assert "3.00 USD</span> per 1,000,000 tokens" in page
        assert "3 USD per 1,000,000" in str(rate)
        assert "No. 17" in page


class TestWorkspace:
    ADDRESS = "/admin/pricing/workspace/1/change/"

    def _form(self, **typed: str) -> dict[str, str]:
        return {
            "name": "Acme",
            "currency": "EUR",
            "time_zone": "Europe/Vienna",
            "credit_value": "0.02",
            "target_margin": "0.7",
            "margin_tolerance": "0.03",
            "advisor_max_step": "0.2",
            "advisor_window_days": "28",
            "advisor_cooldown_days": "14",
            "advisor_minimum_events": "100",
            "advisor_max_unpriced": "0.05",
            "prices_need_approval": "on",
            "approval_limit_credits": "500",
            "refund_limit": "100",
            "spent_refund_policy": "receivable",
            "usage_retention_months": "12",
            "change_reason": "We moved",
            **typed,
        }

    def test_its_list_is_its_page(self, finance: Client) -> None:
        assert finance.get("/admin/pricing/workspace/").headers["Location"] == self.ADDRESS

    def test_a_change_is_kept_with_its_reason(self, finance: Client) -> None:
        assert finance.post(self.ADDRESS, self._form()).status_code == 302
        row = Workspace.objects.get()
        assert (row.name, row.currency, row.credit_value) == ("Acme", "EUR", Decimal("0.02"))
        last = row.history.latest()
        assert (last.history_change_reason, last.history_user.username) == ("We moved", "finance")

    def test_says_which_figure_has_which_bound(self, finance: Client) -> None:
        page = finance.post(self.ADDRESS, self._form(target_margin="1", advisor_window_days="0", advisor_max_step="1.5")).content.decode()
        for words in ("Must be below 1: 0.6 stands for 60 %.", "Must be at least 1 day.", "Must be at most 1, which stands for 100 %."):
            assert words in page
        assert "Constraint" not in page

    @pytest.mark.parametrize("typed", [{"change_reason": ""}, {"time_zone": "Mars/Olympus"}, {"currency": "euro"}, {"target_margin": "1"}])
    def test_refuses_what_makes_no_sense(self, typed: dict[str, str], finance: Client) -> None:
        assert finance.post(self.ADDRESS, self._form(**typed)).status_code == 200
        assert Workspace.objects.get().name == "Meterdesk"

    def test_figures_are_written_as_people_do(self, finance: Client) -> None:
        page = people.signed_in(Role.ADMINISTRATOR).get(self.ADDRESS).content.decode()
        assert 'value="0.01"' in page
        assert 'value="10000"' in page

    def test_whoever_moves_money_does_not_set_the_limits(self, finance: Client) -> None:
        assert finance.post(self.ADDRESS, self._form(approval_limit_credits="999999", refund_limit="999999")).status_code == 302
        row = Workspace.objects.get()
        assert (row.name, row.approval_limit_credits, row.refund_limit) == ("Acme", Decimal(10_000), Decimal(100))

    def test_figures_to_read_only_are_written_so_as_well(self) -> None:
        client = people.signed_in(Role.PRODUCT_MANAGER)
        for address in (self.ADDRESS, self._state()):
            text = proposal_pages.words(client.get(address).content.decode())
            assert "Credit value 0.01 What one credit is worth" in text
            assert "Approval limit credits 10000 What one person may move" in text

    def _state(self) -> str:
        """Return the address of an earlier state."""
        row = Workspace.objects.get()
        row.save()
        return f"/admin/pricing/workspace/1/history/{row.history.latest().pk}/"

    def test_a_product_manager_sets_the_pricing_policy_and_nothing_else(self) -> None:
        client = people.signed_in(Role.PRODUCT_MANAGER)
        assert 'name="currency"' not in client.get(self.ADDRESS).content.decode()
        form = self._form()
        del form["prices_need_approval"]  # as one sends who switches it off
        assert client.post(self.ADDRESS, form).status_code == 302
        row = Workspace.objects.get()
        assert (row.target_margin, row.advisor_max_step, row.advisor_minimum_events) == (Decimal("0.7"), Decimal("0.2"), 100)
        assert (row.name, row.currency, row.credit_value, row.prices_need_approval) == ("Meterdesk", "USD", Decimal("0.01"), True)
        assert row.history.latest().history_change_reason == "We moved"

    def test_support_does_not_see_it(self) -> None:
        assert people.signed_in(Role.SUPPORT).post(self.ADDRESS, self._form()).status_code == 403


class TestTimesThatNobodyMeans:
    """PostgreSQL keeps years that Python cannot read; one of them would stop whoever reads the row."""

    @pytest.mark.parametrize(
        "typed", ["0001-01-01T00:00", "0001-01-01T00:00+14:00", "9999-12-31T23:59", "9999-12-31T23:59-14:00", "1999-12-31T23:59"]
    )
    def test_are_refused_at_the_field(self, typed: str) -> None:
        with pytest.raises(ValidationError, match=r"Choose a time from 2000 to 2199|cannot be"):
            Moment().clean(typed)

    def test_are_refused_by_the_database(self) -> None:
        with pytest.raises(IntegrityError, match="price_version_is_in_range"), transaction.atomic():
            PriceVersionFactory.create(effective_from=datetime(1999, 12, 31, tzinfo=UTC))
        with pytest.raises(IntegrityError, match="provider_rate_is_in_range"), transaction.atomic():
            ProviderRateFactory.create(effective_from=datetime(2200, 1, 1, tzinfo=UTC))

    def test_a_rule_that_is_not_there_is_not_found(self, finance: Client) -> None:
        assert finance.get("/admin/pricing/pricerule/abc/publish/").status_code == 404
