import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from config.roles import Role
from pricing.models import PriceRule, PriceVersion, Proposal, Workspace
from pricing.price import Component, Tier
from pricing.services import prices
from tests import people
from tests.pricing.admin.proposal_pages import words
from tests.pricing.factories import LAST_YEAR, PriceRuleFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def rule() -> PriceRule:
    return PriceRuleFactory.create(event_type__name="chat.reply")


@pytest.fixture
def _no_approval() -> None:
    """Let a price in force be published as a first one is."""
    Workspace.objects.update(prices_need_approval=False)


@pytest.fixture
def priced(rule: PriceRule) -> PriceRule:
    """Be a rule with a price."""
    prices.publish_version(
        rule=rule, credits_per_event=Decimal(4), effective_from=LAST_YEAR, reason="First", actor=None, now=timezone.now()
    )
    return rule


@pytest.fixture
def manager() -> Client:
    return people.signed_in(Role.PRODUCT_MANAGER)


def address(rule: PriceRule) -> str:
    return reverse("admin:pricing_pricerule_publish", args=[rule.pk])


def tomorrow() -> datetime:
    return (timezone.now() + timedelta(days=1)).replace(second=0, microsecond=0)


def a_form(*, components: int = 0, tiers: int = 0, **typed: Any) -> dict[str, Any]:
    """Fill in a flat price of 5; rows are given as `components-0-credits` and so on."""
    return {
        "credits_per_event": "5",
        "minimum": "0",
        "rounding_step": "0.000001",
        "rounding_mode": "half_up",
        "effective_from": f"{tomorrow():%Y-%m-%dT%H:%M}",
        "reason": "Costs rose",
        "components-TOTAL_FORMS": components,
        "components-INITIAL_FORMS": 0,
        "tiers-TOTAL_FORMS": tiers,
        "tiers-INITIAL_FORMS": 0,
        **{key.replace("__", "-"): value for key, value in typed.items()},
    }


class TestPublishing:
    def test_writes_what_was_typed(self, manager: Client, rule: PriceRule) -> None:
        form = a_form(
            components=2,
            tiers=1,
            minimum="1",
            rounding_step="0.5",
            rounding_mode="up",
            components__0__unit="output",
            components__0__credits="0.5",
            components__0__per="1000",
            components__1__unit="output",
            components__1__credits="2",
            components__1__per="1000",
            components__1__model_class="large",
            components__1__models="claude-opus-*, gpt-5",
            tiers__0__from_quantity="10",
            tiers__0__credits_per_event="4",
        )
        response = manager.post(address(rule), form)
        assert response.headers["Location"] == reverse("admin:pricing_pricerule_change", args=[rule.pk])
        version = PriceVersion.objects.get()
        price = version.as_price()
        assert price.components == (
            Component("output", Decimal("0.5"), 1000),
            Component("output", Decimal(2), 1000, "large", ("claude-opus-*", "gpt-5")),
        )
        assert price.tiers == (Tier(Decimal(10), Decimal(4)),)
        assert (price.minimum, price.rounding_step, price.rounding_mode) == (Decimal(1), Decimal("0.5"), "up")
        assert (version.effective_from, version.reason) == (tomorrow(), "Costs rose")
        assert version.created_by is not None
        assert version.created_by.username == "product_manager"

    @pytest.mark.usefixtures("_no_approval")
    def test_ends_the_version_before(self, manager: Client, rule: PriceRule) -> None:
        prices.publish_version(
            rule=rule, credits_per_event=Decimal(4), effective_from=LAST_YEAR, reason="First", actor=None, now=timezone.now()
        )
        manager.post(address(rule), a_form())
        first, second = rule.versions.order_by("number")
        assert (first.effective_to, second.credits_per_event) == (tomorrow(), Decimal(5))

    def test_times_are_typed_in_the_workspace_zone(self, manager: Client, rule: PriceRule) -> None:
        Workspace.objects.update(time_zone="Europe/Vienna")
        manager.post(address(rule), a_form(effective_from="2030-01-10T09:00"))
        assert PriceVersion.objects.get().effective_from.isoformat() == "2030-01-10T08:00:00+00:00"

    @pytest.mark.usefixtures("_no_approval")
    def test_an_emptied_row_is_gone(self, manager: Client, rule: PriceRule) -> None:
        component = Component("output", Decimal("0.5"), 1000)
        prices.publish_version(
            rule=rule,
            credits_per_event=Decimal(4),
            components=[component],
            effective_from=LAST_YEAR,
            reason="First",
            actor=None,
            now=timezone.now(),
        )
        form = a_form(components=1, components__0__unit="output", components__0__credits="", components__0__per="1000")
        assert manager.post(address(rule), form | {"components-INITIAL_FORMS": 1}).status_code == 302
        assert rule.versions.order_by("number").last().components == []  # type: ignore[union-attr]

    def test_starts_from_what_is_in_force(self, manager: Client, rule: PriceRule) -> None:
        prices.publish_version(
            rule=rule,
            credits_per_event=Decimal("4.50"),
            components=[Component("output", Decimal("0.5"), 1000)],
            effective_from=LAST_YEAR,
            reason="First",
            actor=None,
            now=timezone.now(),
        )
        page = manager.get(address(rule)).content.decode()
        assert 'value="4.5"' in page
        assert 'name="components-0-credits" value="0.5"' in page


class TestProposing:
    def test_waits_for_a_decision_and_changes_nothing(self, manager: Client, priced: PriceRule) -> None:
        page = manager.get(address(priced)).content.decode()
        assert "another person approves what you propose here" in page
        assert 'name="publish"' not in page
        assert manager.post(address(priced), a_form() | {"propose": "1"}).status_code == 302
        proposal = Proposal.objects.get()
        assert (proposal.state, proposal.source, proposal.reason, proposal.effective_from) == (
            "proposed",
            "person",
            "Costs rose",
            tomorrow(),
        )
        assert proposal.created_by is not None
        assert proposal.created_by.username == "product_manager"
        assert proposal.as_definition().credits_per_event == 5
        assert priced.versions.count() == 1

    def test_a_form_made_for_publishing_proposes_as_well(self, manager: Client, priced: PriceRule) -> None:
        """Sent from a page that was opened before the rule had a price, or before approval was asked for."""
        manager.post(address(priced), a_form() | {"publish": "1"})
        assert (priced.versions.count(), Proposal.objects.get().state) == (1, "proposed")

    def test_keeps_a_draft(self, manager: Client, priced: PriceRule) -> None:
        manager.post(address(priced), a_form(effective_from="") | {"draft": "1"})
        proposal = Proposal.objects.get()
        assert (proposal.state, proposal.effective_from) == ("draft", None)

    def test_a_second_one_is_refused_and_nothing_typed_is_lost(self, manager: Client, priced: PriceRule) -> None:
        manager.post(address(priced), a_form())
        asked = manager.get(address(priced)).content.decode()
        proposal = Proposal.objects.get()
        assert f'href="{reverse("admin:pricing_proposal_change", args=[proposal.pk])}">{proposal}</a>' in asked
        assert "by product_manager waits for a decision already" in words(asked)
        assert 'name="propose"' not in asked
        assert 'name="draft"' in asked
        again = manager.post(address(priced), a_form(credits_per_event="7", reason="Another idea"))
        assert "waits for a decision: edit, decide or withdraw that one first" in again.context["form"].non_field_errors()[0]
        page = again.content.decode()
        assert "Nothing was proposed" in page
        assert "Another idea" in page
        assert Proposal.objects.count() == 1

    def test_a_start_that_is_gone_stands_at_its_field(self, manager: Client, priced: PriceRule) -> None:
        response = manager.post(address(priced), a_form(effective_from="2026-01-01T09:00"))
        assert "let the new version start at" in response.context["form"].errors["effective_from"][0]
        assert not Proposal.objects.exists()

    def test_the_same_price_is_no_proposal(self, manager: Client, priced: PriceRule) -> None:
        response = manager.post(address(priced), a_form(credits_per_event="4"))
        assert "is this very price already" in response.context["form"].non_field_errors()[0]

    def test_stands_on_the_time_line_of_the_rule(self, manager: Client, priced: PriceRule) -> None:
        manager.post(address(priced), a_form(reason="<Costs> rose"))
        page = manager.get(reverse("admin:pricing_pricerule_change", args=[priced.pk])).content.decode()
        assert set(re.findall(r"(?:New|Propose a|Publish a) price", page)) == {"Propose a price"}
        proposed = page.index("5 credits per chat.reply")
        assert proposed < page.index("4 credits per chat.reply", proposed)
        assert '<span class="desk-tag desk-tag-next">proposed</span>' in page
        assert "&lt;Costs&gt; rose" in page

    def test_asks_for_its_own_permission(self, priced: PriceRule) -> None:
        person = people.a_person(name="ann")
        names = ["view_pricerule", "publish_price"]
        person.user_permissions.set(Permission.objects.filter(codename__in=names))
        client = Client()
        client.force_login(person, backend=people.BACKEND)
        assert client.post(address(priced), a_form()).status_code == 403
        person.user_permissions.add(Permission.objects.get(codename="propose_price"))
        assert client.post(address(priced), a_form()).status_code == 302


class TestPreview:
    def test_says_what_it_would_charge_and_writes_nothing(self, manager: Client, rule: PriceRule) -> None:
        response = manager.post(address(rule), a_form(rounding_step="0.5", rounding_mode="up") | {"preview": "1"})
        page = response.content.decode()
        assert "5 credits per chat.reply, rounded up to half credits" in page
        assert "Costs rose" in page
        assert not PriceVersion.objects.exists()


class TestRefusals:
    @pytest.mark.parametrize(
        ("typed", "place", "message"),
        [
            ({"credits_per_event": "0.0000001"}, "credits_per_event", "at most 6 decimal places"),
            ({"credits_per_event": "-1"}, "credits_per_event", "greater than or equal to 0"),
            ({"credits_per_event": ""}, "credits_per_event", "required"),
            ({"credits_per_event": "NaN"}, "credits_per_event", "Enter a number"),
            ({"rounding_step": "0"}, "rounding_step", "must be more than 0"),
            ({"minimum": "0.3", "rounding_step": "0.5"}, "minimum", "multiple of the rounding step"),
            ({"reason": " "}, "reason", "required"),
            ({"effective_from": "soon"}, "effective_from", "valid date"),
        ],
    )
    def test_stand_at_their_field(self, typed: dict[str, str], place: str, message: str, manager: Client, rule: PriceRule) -> None:
        response = manager.post(address(rule), a_form() | typed)
        assert response.status_code == 200
        assert message in " ".join(response.context["form"].errors[place])
        assert not PriceVersion.objects.exists()

    def test_stand_at_their_row_though_rows_between_are_empty(self, manager: Client, rule: PriceRule) -> None:
        form = a_form(
            components=3,
            components__0__unit="output",
            components__0__credits="1",
            components__0__per="1000",
            components__2__unit="output",
            components__2__credits="7",
            components__2__per="1000",
        )
        response = manager.post(address(rule), form)
        rows = response.context["form"].components.forms
        assert rows[2].errors["unit"] == ["This has a general component already; only one can apply."]
        assert rows[0].errors == {}
        assert 'value="7"' in response.content.decode()
        assert response.context["form"].components.shown_count == 3

    def test_are_told_all_at_once(self, manager: Client, rule: PriceRule) -> None:
        form = manager.post(address(rule), a_form(credits_per_event="0.0000001", reason="")).context["form"]
        assert set(form.errors) == {"credits_per_event", "reason"}

    def test_a_row_needs_its_credits(self, manager: Client, rule: PriceRule) -> None:
        form = a_form(components=1, components__0__unit="output", components__0__per="1000", components__0__models="gpt-5")
        response = manager.post(address(rule), form)
        assert "credits" in response.context["form"].components.forms[0].errors

    @pytest.mark.usefixtures("_no_approval")
    def test_a_start_too_soon_or_before_a_scheduled_one(self, manager: Client, rule: PriceRule) -> None:
        prices.publish_version(
            rule=rule, credits_per_event=Decimal(4), effective_from=LAST_YEAR, reason="First", actor=None, now=timezone.now()
        )
        response = manager.post(address(rule), a_form(effective_from=f"{timezone.now():%Y-%m-%dT%H:%M}"))
        assert "let the new version start at" in response.context["form"].errors["effective_from"][0]
        form = a_form()  # one for both: the minute may change in between
        manager.post(address(rule), form)
        again = manager.post(address(rule), form)
        assert "is scheduled for" in again.context["form"].errors["effective_from"][0]
        assert "Costs rose" in again.content.decode()
        assert rule.versions.count() == 2

    def test_a_look_publishes_nothing(self, manager: Client, rule: PriceRule) -> None:
        assert manager.get(address(rule), a_form()).status_code == 200
        assert not PriceVersion.objects.exists()
        assert Client(enforce_csrf_checks=True).post(address(rule), a_form()).status_code in {302, 403}
