"""Unpriced usage and re-ratings in the admin: the queue, the dialogs, what changed, and who may do what."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from billing.models import CostAdjustment, Rerating, UnpricedGroup, UsageRecord
from billing.services import charging, rerating, unpriced
from config.roles import Role
from pricing.models import ProviderModel, ProviderRate
from pricing.units import Usage
from tests.billing.admin.dialogs import HTMX, address, opened, send, went_through
from tests.billing.factories import a_caller, a_price, a_wallet, an_event
from tests.people import a_person, signed_in
from tests.pricing.factories import ProviderModelFactory

pytestmark = pytest.mark.django_db

RERATE, ADD, NAME, ASSIGN = (f"billing_unpricedgroup_{name}" for name in ("rerate_now", "add_rates", "add_name", "assign_group"))
QUEUE = "admin:billing_unpricedgroup_changelist"
PRICES = {"price_input": "3", "price_output": "15", "price_cache_read": "", "source": "invoice", "source_detail": "", "currency": "usd"}


@pytest.fixture
def group() -> UnpricedGroup:
    """Two records of a model that nobody knows."""
    now = timezone.now()
    caller = a_caller()
    a_price("4")
    a_wallet(caller, credits="100", now=now)
    usage = Usage("acme", "nova-2", input_tokens=1_000, cache_read_tokens=600, output_tokens=200)
    charging.charge([an_event(caller, usage=usage, occurred_at=now - timedelta(hours=hour)) for hour in (1, 2)], now=now)
    unpriced.count(now=now)
    return UnpricedGroup.objects.get()


@pytest.fixture
def finance(db: None) -> Client:
    return signed_in(Role.FINANCE)


def add_rates(browser: Client, group: UnpricedGroup, **fields: str) -> bool:
    since = (timezone.localtime(group.first_seen_at) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M")
    named = {"provider": "acme", "model": "nova-2", "effective_from": since}
    return went_through(send(browser, ADD, group, **(named | PRICES | fields)))


def rerate(browser: Client, group: UnpricedGroup) -> Rerating:
    """Send the dialog twice, as people do, and let the worker do it."""
    shown = send(browser, RERATE, group, reason="Rates added").content.decode()
    seen, once = (shown.split(f'name="{name}" value="')[1].split('"')[0].replace("&#x27;", "'") for name in ("seen", "once"))
    sent = browser.post(address(RERATE, group), {"once": once, "seen": seen, "reason": "Rates added"}, headers=HTMX)
    assert went_through(sent)
    row = Rerating.objects.latest("pk")
    rerating.run(rerating_id=row.pk, clock=timezone.now)
    unpriced.count(now=timezone.now())
    return row


class TestTheQueue:
    def test_says_what_is_missing_and_what_it_comes_to(self, finance: Client, group: UnpricedGroup) -> None:
        page = finance.get(reverse(QUEUE)).content.decode()
        for words in ("acme/nova-2", "anything it used", "No model of the catalogue has this name"):
            assert words in page
        page = finance.get(reverse("admin:billing_unpricedgroup_change", args=(group.pk,))).content.decode()
        for words in ("input, cache read, output", f"evt_{group.first_record_id}", "0.08 USD", "Add its rates"):
            assert words in page

    def test_says_how_its_figures_and_the_overviews_hang_together(self, finance: Client, group: UnpricedGroup) -> None:
        said = (
            "Counted over all records that are kept, whenever they occurred. Of the last 30 days, as the overview counts them, there are 2."
        )
        assert said in " ".join(finance.get(reverse(QUEUE)).content.decode().split())

    def test_leaves_out_what_is_settled_until_asked(self, finance: Client, group: UnpricedGroup) -> None:
        UnpricedGroup.objects.update(records=0)
        assert "acme/nova-2" not in finance.get(reverse(QUEUE)).content.decode()
        assert "acme/nova-2" in finance.get(reverse(QUEUE), {"shows": "settled"}).content.decode()

    def test_is_divided_among_people(self, finance: Client, group: UnpricedGroup) -> None:
        vera = a_person(Role.PRODUCT_MANAGER, name="vera")
        assert went_through(send(finance, ASSIGN, group, owner=str(vera.pk), note="Asked", reason="Knows acme"))
        group.refresh_from_db()
        assert (group.owner, group.note) == (vera, "Asked")
        browser = Client()
        browser.force_login(vera, backend="django.contrib.auth.backends.ModelBackend")
        for shows, is_there in (("mine", True), ("nobodys", False)):
            assert ("acme/nova-2" in browser.get(reverse(QUEUE), {"shows": shows}).content.decode()) is is_there
        assert "Knows acme" in finance.get(reverse("admin:billing_unpricedgroup_history", args=(group.pk,))).content.decode()

    def test_is_where_the_overview_leads(self, finance: Client, group: UnpricedGroup) -> None:
        assert f'href="{reverse(QUEUE)}"' in finance.get("/admin/").content.decode()

    def test_costs_the_same_few_statements_for_a_page_of_groups(
        self, finance: Client, group: UnpricedGroup, django_assert_max_num_queries: object
    ) -> None:
        for number in range(20):
            group.pk, group.model = None, f"nova-{number + 10}"
            group.save(force_insert=True)
        with django_assert_max_num_queries(30):  # type: ignore[operator]
            assert finance.get(reverse(QUEUE)).status_code == 200


class TestAddRates:
    def test_is_filled_in_with_what_the_group_lacks(self, finance: Client, group: UnpricedGroup) -> None:
        shown = opened(finance, ADD, group)
        for words in ('value="acme"', 'value="nova-2"', "Price of 1,000,000 input tokens", "Empty: charged as input.", 'value="USD"'):
            assert words in shown

    def test_adds_them_to_the_catalogue(self, finance: Client, group: UnpricedGroup) -> None:
        assert add_rates(finance, group)
        found = {(str(rate.series), rate.price, rate.currency, str(rate.verified_by)) for rate in ProviderRate.objects.all()}
        assert found == {("acme/nova-2 input", Decimal(3), "USD", "finance"), ("acme/nova-2 output", Decimal(15), "USD", "finance")}
        page = finance.get(reverse(QUEUE)).content.decode()
        assert "The catalogue has a rate now" in page

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"price_input": "", "price_output": ""}, "at least one price"),
            ({"currency": "US$"}, "three letters"),
            ({"price_input": "-1"}, "greater than or equal to 0"),
            ({"source": ""}, "required"),
        ],
    )
    def test_refuses_what_is_no_rate(self, finance: Client, group: UnpricedGroup, fields: dict[str, str], words: str) -> None:
        typed = {"provider": "acme", "model": "nova-2", "effective_from": "2026-01-01T00:00"} | PRICES | fields
        assert words in send(finance, ADD, group, **typed).content.decode()
        assert not ProviderRate.objects.exists()

    def test_no_model_is_chosen_for_the_person(self, finance: Client, group: UnpricedGroup) -> None:
        ProviderModelFactory.create(provider="acme", name="nova")
        assert '<option value="" selected>Choose the model</option>' in opened(finance, NAME, group)
        assert "required" in send(finance, NAME, group, model="", reason="Renamed").content.decode()

    def test_another_name_is_enough_where_the_model_is_known(self, finance: Client, group: UnpricedGroup) -> None:
        model = ProviderModelFactory.create(provider="acme", name="nova")
        assert went_through(send(finance, NAME, group, model=str(model.pk), reason="Renamed"))
        assert ProviderModel.objects.get().aliases == ["nova-2"]


class TestRerate:
    def test_shows_what_it_would_find_before_it_does_it(self, finance: Client, group: UnpricedGroup) -> None:
        add_rates(finance, group)
        shown = send(finance, RERATE, group, reason="Rates added").content.decode()
        assert "Of 2 records" in shown
        assert "0.012 USD" in shown
        assert not Rerating.objects.exists()

    def test_prices_the_records_and_says_so_on_every_page(self, finance: Client, group: UnpricedGroup) -> None:
        add_rates(finance, group)
        row = rerate(finance, group)
        assert (row.actor, row.reason) == ("user:finance", "Rates added")
        page = finance.get(reverse("admin:billing_rerating_change", args=(row.pk,))).content.decode()
        for words in ("100.0\N{NO-BREAK SPACE}% (2 of 2), 2 of them newly", "0.012 USD", "acme/nova-2", "Every record has a rate."):
            assert words in page
        record = UsageRecord.objects.get(pk=group.first_record_id)
        page = finance.get(reverse("admin:billing_usagerecord_change", args=(record.pk,))).content.decode()
        for words in ("0.006 USD", "Priced", "Rates added"):
            assert words in page
        listed = finance.get(reverse("admin:billing_usagerecord_changelist"), {"cost_status__exact": "unpriced"}).content.decode()
        assert f"/usagerecord/{record.pk}/change/" not in listed
        assert "acme/nova-2" not in finance.get(reverse(QUEUE)).content.decode()

    def test_leads_to_the_page_of_the_run(self, finance: Client, group: UnpricedGroup) -> None:
        add_rates(finance, group)
        row = rerate(finance, group)
        told = finance.get(reverse(QUEUE)).content.decode()
        page = reverse("admin:billing_rerating_change", args=(row.pk,))
        assert re.search(rf'<a class="md-link" href="{page}">Re-rating {row.pk}</a> (has begun|is waiting)', told)

    def test_asks_for_the_price_of_an_hour_in_the_cache(self, finance: Client, group: UnpricedGroup) -> None:
        UnpricedGroup.objects.update(units=["input", "cache_write_1h", "output"])
        group.refresh_from_db()
        shown = finance.get(address(ADD, group), headers=HTMX).content.decode()
        for words in ("Price of 1,000,000 one-hour cache write tokens", "but unpriced where other cache writes have a price"):
            assert words in shown
        assert add_rates(finance, group, price_cache_write_1h="6")
        assert ProviderRate.objects.get(series__unit_kind="cache_write_1h").price == 6

    def test_is_drawn_as_files(self, finance: Client, group: UnpricedGroup) -> None:
        add_rates(finance, group)
        row = rerate(finance, group)
        files = {
            name: b"".join(finance.get(reverse(f"admin:billing_rerating_{name}", args=(row.pk,))).streaming_content).decode()  # type: ignore[attr-defined]
            for name in ("models", "adjustments")
        }
        assert "acme,nova-2,USD,2,2,2,0,0,0.012,0.012," in files["models"]
        assert files["adjustments"].count("0.006,0.006,USD") == 2
        assert finance.get(reverse("admin:billing_rerating_models", args=(row.pk + 1,))).status_code == 404

    def test_of_a_corrected_rate_is_filled_in_with_it(self, finance: Client, group: UnpricedGroup) -> None:
        add_rates(finance, group)
        rerate(finance, group)
        rate = ProviderRate.objects.get(series__unit_kind="input")
        correction = {"price": "2", "per": "1000000", "since": "", "source": "invoice", "reason": "Typed wrong"}
        assert went_through(send(finance, "pricing_providerrate_correct_rate", rate, **correction))
        page = finance.get(reverse("admin:pricing_providerrate_change", args=(rate.pk,))).content.decode()
        where = f"{reverse('admin:billing_rerating_changelist')}?rate={rate.pk}"
        assert where in page
        assert finance.get(where).status_code == 200
        headers = HTMX | {"HX-Current-URL": f"http://testserver{where}"}
        shown = finance.get(address("billing_rerating_rerate"), headers=headers).content.decode()
        assert f'name="rates" value="{rate.pk}"' in shown
        fields = {"basis": "rates", "rates": str(rate.pk), "reason": "Corrected", "since": "", "until": "", "provider": "", "model": ""}
        assert "-0.002 USD" in send(finance, "billing_rerating_rerate", None, **fields).content.decode()

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"basis": "rates", "rates": "12, x"}, "numbers of rates"),
            ({"basis": "rates", "rates": "999"}, "no rate 999"),
            ({"basis": "rates"}, "Name rates"),
            ({"basis": "all"}, "Say since when"),
            ({"basis": "unpriced", "since": "2030-01-01T00:00"}, "ends before it begins"),
            ({"basis": "unpriced", "until": "2099-01-01T00:00", "since": "2026-01-01T00:00"}, "in the future"),
        ],
    )
    def test_asks_for_a_scope_that_makes_sense(self, finance: Client, group: UnpricedGroup, fields: dict[str, str], words: str) -> None:
        assert words in send(finance, "billing_rerating_rerate", None, **({"reason": "x"} | fields)).content.decode()
        assert not Rerating.objects.exists()


class TestWhoMay:
    @pytest.mark.parametrize("role", [Role.PRODUCT_MANAGER, Role.SUPPORT, Role.ENGINEER])
    def test_settle_costs_is_finance_and_administrators_alone(self, role: Role, group: UnpricedGroup) -> None:
        browser = signed_in(role)
        for action in (RERATE, ADD, NAME):
            assert browser.post(address(action, group), {"reason": "x"}, headers=HTMX).status_code == 403
        assert browser.post(address("billing_rerating_rerate"), {"reason": "x"}, headers=HTMX).status_code == 403
        assert not Rerating.objects.exists()
        assert not CostAdjustment.objects.exists()

    @pytest.mark.parametrize("role", [Role.SUPPORT, Role.ENGINEER])
    def test_look_is_whoever_reviews_costs(self, role: Role, finance: Client, group: UnpricedGroup) -> None:
        add_rates(finance, group)
        row = rerate(finance, group)
        browser = signed_in(role)
        assert browser.get(reverse("admin:billing_rerating_adjustments", args=(row.pk,))).status_code == 403
        assert browser.post(address(ASSIGN, group), {"reason": "x"}, headers=HTMX).status_code == 403

    def test_correct_a_rate_is_finance_and_administrators_alone(self, finance: Client, group: UnpricedGroup) -> None:
        add_rates(finance, group)
        rate = ProviderRate.objects.first()
        assert rate
        sent = signed_in(Role.PRODUCT_MANAGER).post(address("pricing_providerrate_correct_rate", rate), {"reason": "x"}, headers=HTMX)
        assert sent.status_code == 403
        assert User.objects.filter(username="product_manager").exists()
