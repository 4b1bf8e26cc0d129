import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from config.roles import Role
from pricing.models import PriceRule, ProviderModel, Workspace
from pricing.price import Component
from pricing.services import prices
from pricing.units import Usage
from tests import people
from tests.pricing.factories import LAST_YEAR, PriceRuleFactory, ProviderModelFactory, ProviderRateFactory

pytestmark = pytest.mark.django_db
PAGE = "/admin/pricing/priceversion/simulator/"
PASTE = f"{PAGE}paste/"
PRICED = {Role.FINANCE, Role.PRODUCT_MANAGER, Role.ADMINISTRATOR}


@pytest.fixture
def manager() -> Client:
    return people.signed_in(Role.PRODUCT_MANAGER)


def a_model(name: str = "claude-sonnet-4-5", provider: str = "anthropic", **rates: str) -> ProviderModel:
    model = ProviderModelFactory.create(provider=provider, name=name)
    for unit, price in ({"input": "3", "output": "15"} | rates).items():
        ProviderRateFactory.create(series__provider_model=model, series__unit_kind=unit, price=Decimal(price))
    return model


def a_rule(**terms: Any) -> PriceRule:
    rule = PriceRuleFactory.create(event_type__name="chat.reply")
    now = timezone.now()
    prices.publish_version(
        rule=rule, **{"credits_per_event": Decimal(4)} | terms, effective_from=LAST_YEAR, reason="First", actor=None, now=now
    )
    return rule


def live(client: Client, **asked: str) -> Any:
    """Ask as the page does with each key."""
    response = client.get(PAGE, {"model": "anthropic/claude-sonnet-4-5"} | asked, headers={"HX-Request": "true"})
    assert response.status_code == 200
    return response


def cost(response: Any) -> str:
    """The figure without its markup."""
    return strip_tags(response.context["outcome"].cost)


def errors(response: Any) -> dict[str, list[str]]:
    return dict(response.context["form"].errors)


class TestOutcome:
    def test_of_the_worked_example(self, manager: Client) -> None:
        """As in tests/pricing/test_simulation.py: 0.007221 USD for a call, 4 credits of a cent to keep 80 %."""
        a_model()
        response = manager.get(PAGE, {"model": "anthropic/claude-sonnet-4-5", "target_margin": "80"})
        page = response.content.decode()
        for text in (
            "4 credits",
            "0.007221 USD",
            "81.9 %",
            "75.9\N{NO-BREAK SPACE}%",
            "below target",
            "This pricing is strong, but may feel expensive unless",
        ):
            assert text in page
        assert "&lt;" not in page
        assert "<noscript>" in page

    def test_starts_with_what_the_workspace_decided(self, manager: Client) -> None:
        a_model()
        Workspace.objects.update(target_margin=Decimal("0.5"), credit_value=Decimal("0.002"))
        told = live(manager).context["outcome"]
        assert (told.credits, told.margin) == ("8 credits", "54.9 %")  # 0.014442 USD are 7.221 credits

    def test_typed_prices_win_over_the_catalogue(self, manager: Client) -> None:
        a_model()
        response = live(manager, output_price="30", calls="2", retries="50")
        assert cost(response) == "0.035703 USD"  # three calls of 0.002541 + 0.00936
        told = response.context["outcome"]
        assert told.hints["output_price"] == "Catalogue: 15 USD per 1,000,000"
        assert told.hints["cache_read_price"] == "Catalogue: 3 USD per 1,000,000"  # as any input

    def test_prices_alone_are_enough(self, manager: Client) -> None:
        assert cost(live(manager, model="", input_price="3", output_price="15")) == "0.007221 USD"

    def test_a_large_request_has_its_own_rates(self, manager: Client) -> None:
        model = a_model()
        ProviderRateFactory.create(series__provider_model=model, series__context_threshold=200_001, price=Decimal(6))
        assert cost(live(manager, input_tokens="200000", output_tokens="0")) == "0.60 USD"
        assert cost(live(manager, input_tokens="300000", output_tokens="0")) == "1.80 USD"

    def test_without_a_model_or_prices_says_what_to_do(self, manager: Client) -> None:
        a_model()
        page = manager.get(PAGE).content.decode()
        assert "Choose a model, or type what its input and output cost." in page

    def test_without_any_rate_leads_to_where_they_come_from(self, manager: Client) -> None:
        page = manager.get(PAGE).content.decode()
        assert "The catalogue has no provider rate yet." in page
        assert f'href="{reverse("admin:pricing_rateimport_changelist")}">Compare it with the installed feed' in page

    def test_a_credits_value_names_its_currency(self, manager: Client) -> None:
        Workspace.objects.update_or_create(pk=1, defaults={"currency": "EUR"})
        assert "Credit value, EUR" in manager.get(PAGE).content.decode()

    def test_a_name_with_slashes_and_an_alias_are_found(self, manager: Client) -> None:
        a_model("meta-llama/llama-4", "groq")
        ProviderModel.objects.update(aliases=["llama-latest"])
        for name in ("groq/meta-llama/llama-4", "meta-llama/llama-4", "groq/llama-latest", "llama-latest"):
            assert live(manager, model=name).context["outcome"].model == "meta-llama/llama-4"

    def test_takes_few_queries(self, manager: Client, django_assert_max_num_queries: Any) -> None:
        a_model()
        a_rule()
        live(manager)
        with django_assert_max_num_queries(12):
            live(manager, rule="chat.reply/default")


class TestFaults:
    @pytest.mark.parametrize(
        ("typed", "place", "message"),
        [
            ({"output_tokens": "many"}, "output_tokens", "whole number"),
            ({"input_tokens": "-1"}, "input_tokens", "greater than or equal to 0"),
            ({"input_tokens": "0", "output_tokens": ""}, "input_tokens", "must consume something"),
            ({"cache_share": "101"}, "cache_share", "less than or equal to 100"),
            ({"cache_share": "60", "cache_write_share": "60"}, "cache_write_share", "more than the whole input"),
            ({"cache_write_1h_share": "100.1"}, "cache_write_1h_share", "less than or equal to 100"),
            (
                {"cache_write_price": "3.75", "cache_write_share": "50", "cache_write_1h_share": "50"},
                "cache_write_1h_price",
                "There is no price for one-hour cache write tokens.",
            ),
            ({"audio_input_tokens": "900"}, "audio_input_tokens", "together more than it"),
            ({"reasoning_tokens": "313"}, "reasoning_tokens", "together more than it"),
            ({"audio_input_tokens": "5"}, "model", "There is no price for audio input tokens."),
            ({"calls": "0"}, "calls", "at least a part of a call"),
            ({"calls": ""}, "calls", "required"),
            ({"retries": "NaN"}, "retries", "Enter a number"),
            ({"target_margin": "100"}, "target_margin", "99.99"),
            ({"credit_value": "0"}, "credit_value", "greater than or equal to"),
            ({"credit_value": "0.000000000001", "calls": "10000", "input_price": "1000000"}, "credit_value", "more credits than"),
            ({"step": "0.0000001"}, "step", "6 decimal places"),
            ({"rule": "no.such/default"}, "rule", "There is no price rule"),
            ({"model": "nobody/knows"}, "model", "is no model of the catalogue"),
            ({"model": "", "output_price": "3"}, "input_price", "There is no price for input tokens."),
            ({"input_price": "1e9"}, "input_price", "less than or equal to 1000000"),
        ],
    )
    def test_stand_at_their_field(self, typed: dict[str, str], place: str, message: str, manager: Client) -> None:
        a_model()
        response = live(manager, **typed)
        assert list(errors(response)) == [place]
        assert message in " ".join(errors(response)[place])
        assert message in response.content.decode()

    def test_silence_only_what_depends_on_them(self, manager: Client) -> None:
        a_model()
        response = live(manager, target_margin="x", output_tokens="600")
        assert (cost(response), response.context["outcome"].suggestion) == ("0.011541 USD", None)
        assert live(manager, rule="no.such/default").context["outcome"].credits == "2 credits"

    def test_a_model_whose_rates_have_ended_or_are_in_other_money(self, manager: Client) -> None:
        ProviderModelFactory.create(provider="anthropic", name="old")
        assert "has no price that holds now" in errors(live(manager, model="anthropic/old"))["model"][0]
        ProviderRateFactory.create(series__provider_model=ProviderModel.objects.get(), series__unit_kind="input")
        assert errors(live(manager, model="anthropic/old"))["model"] == ["There is no price for output tokens."]
        a_model()
        Workspace.objects.update(currency="EUR")
        assert "type its prices instead" in errors(live(manager))["model"][0]

    @pytest.mark.parametrize("text", ["\0", "<script>", "9" * 400, "١٢", "1e400", "-0", "0x1f", "{{", "%"])
    def test_odd_words_are_no_failure(self, text: str, manager: Client) -> None:
        a_model()
        fields = set(manager.get(PAGE).context["form"].fields)
        for names in (fields, fields - {"model"}, {"model"}, {"rule"}):
            assert "<script>" not in live(manager, **dict.fromkeys(names, text)).content.decode()


class TestAddress:
    def test_keeps_the_inputs(self, manager: Client) -> None:
        a_model()
        a_rule()
        asked = {"output_tokens": "600", "cache_share": "25", "calls": "3", "target_margin": "", "rule": "chat.reply/default"}
        address = live(manager, **asked).headers["HX-Replace-Url"]
        again = manager.get(address)
        shown = {name: again.context["form"].data[name] for name in asked}
        assert shown == asked
        assert urlsplit(address).path == PAGE

    def test_is_no_longer_than_needed(self, manager: Client) -> None:
        address = live(manager, step="").headers["HX-Replace-Url"]
        assert parse_qs(urlsplit(address).query).keys() == {
            *("model", "input_tokens", "output_tokens", "calls", "target_margin", "credit_value")
        }


class TestRule:
    def test_shows_what_it_charges_now_and_leads_to_its_next_price(self, manager: Client) -> None:
        a_model()
        rule = a_rule(rounding_step=Decimal("0.5"))
        response = live(manager, rule="chat.reply/default")
        told = response.context["outcome"]
        assert told.credits == "2 credits"  # 1.80525 up to halves
        assert (told.rows[-1].name, strip_tags(told.rows[-1].credits), told.rows[-1].margin) == (
            "In force, v1",
            "4",
            "81.9\N{NO-BREAK SPACE}%",
        )
        assert "Propose this price" in response.content.decode()
        page = manager.get(told.propose)
        assert urlsplit(told.propose).path == reverse("admin:pricing_pricerule_publish", args=[rule.pk])
        assert page.context["form"]["credits_per_event"].value() == "2"
        assert (
            page.context["form"]["reason"]
            .value()
            .startswith(
                "Simulated: 1 call of anthropic/claude-sonnet-4-5, 847 input and 312 output tokens each, cost 0.007221 USD per action;"
            )
        )

    def test_that_does_not_round_gets_whole_credits(self, manager: Client) -> None:
        a_model()
        a_rule()
        assert live(manager, rule="chat.reply/default").context["outcome"].credits == "2 credits"

    def test_its_step_rounds_unless_one_is_typed(self, manager: Client) -> None:
        a_model()
        a_rule(rounding_step=Decimal("0.1"))
        assert live(manager, rule="chat.reply/default").context["outcome"].credits == "1.9 credits"
        assert live(manager, rule="chat.reply/default", step="0.01").context["outcome"].credits == "1.81 credits"

    def test_that_charges_for_consumption_comes_with_a_caution(self, manager: Client) -> None:
        a_model()
        a_rule(components=[Component("output", Decimal(1), 1000)])
        response = live(manager, rule="chat.reply/default")
        assert strip_tags(response.context["outcome"].rows[-1].credits) == "4.312"
        assert "look at its components" in response.content.decode()

    def test_without_a_price_says_so(self, manager: Client) -> None:
        a_model()
        PriceRuleFactory.create(event_type__name="chat.reply")
        assert "no price in force" in live(manager, rule="chat.reply/default").content.decode()

    def test_what_the_next_price_is_given_is_only_a_start(self, manager: Client) -> None:
        rule = a_rule()
        address = reverse("admin:pricing_pricerule_publish", args=[rule.pk])
        form = manager.get(address, {"credits_per_event": "<b>", "minimum": "9"}).context["form"]
        assert (form["credits_per_event"].value(), form["minimum"].value()) == ("<b>", "0")
        assert rule.versions.count() == 1


class TestPaste:
    BODY = {
        "model": "claude-sonnet-4-5",
        "usage": {"input_tokens": 3, "cache_read_input_tokens": 9511, "cache_creation_input_tokens": 1956, "output_tokens": 44},
    }

    def pasted(self, client: Client, text: str, asked: str = "") -> Any:
        return client.post(PASTE, {"body": text, "asked": asked})

    def test_leads_to_the_simulation_of_its_tokens(self, manager: Client) -> None:
        a_model()
        response = self.pasted(manager, json.dumps(self.BODY), "calls=3&target_margin=70")
        page = manager.get(response.headers["Location"])
        form = page.context["form"]
        assert form.usage() == Usage(input_tokens=11470, output_tokens=44, cache_read_tokens=9511, cache_write_tokens=1956)
        assert (form["model"].value(), form["calls"].value(), form["target_margin"].value()) == ("anthropic/claude-sonnet-4-5", "3", "70")

    def test_keeps_the_lifetimes_of_the_cache_apart(self, manager: Client) -> None:
        a_model()
        written = {"ephemeral_5m_input_tokens": 956, "ephemeral_1h_input_tokens": 1000}
        body = self.BODY | {"usage": self.BODY["usage"] | {"cache_creation": written}}  # type: ignore[operator]
        page = manager.get(self.pasted(manager, json.dumps(body)).headers["Location"])
        usage = page.context["form"].usage()
        assert (usage.cache_write_tokens, usage.cache_write_1h_tokens) == (1956, 1000)
        assert not page.context["messages"]

    @pytest.mark.parametrize("tokens", [3, 999_999_937])
    def test_a_share_gives_back_each_token(self, tokens: int, manager: Client) -> None:
        for cached in (1, tokens // 3, tokens - 1, tokens):
            body = {"prompt_tokens": tokens, "prompt_tokens_details": {"cached_tokens": cached}}
            page = manager.get(self.pasted(manager, json.dumps(body)).headers["Location"])
            assert page.context["form"].usage().cache_read_tokens == cached

    def test_of_a_model_of_many_providers_stays_with_the_chosen_one(self, manager: Client) -> None:
        a_model()
        a_model(provider="aws")
        response = self.pasted(manager, json.dumps(self.BODY), "model=aws/claude-3")
        assert "model=aws%2Fclaude-sonnet-4-5" in response.headers["Location"]
        page = manager.get(self.pasted(manager, json.dumps(self.BODY)).headers["Location"])
        assert "choose the model yourself" in page.content.decode()

    def test_tells_what_it_leaves_out(self, manager: Client) -> None:
        body = {"usage": {"input_tokens": 9, "server_tool_use": {"web_search_requests": 2}}}
        page = manager.get(self.pasted(manager, json.dumps(body)).headers["Location"])
        assert "2 web search requests are left out." in page.content.decode()

    @pytest.mark.parametrize(
        "text", ["", "no JSON", "{}", "[1]", '{"usage": 3}', "x" * 200_000, '{"prompt_tokens": 1, "completion_tokens": -1}']
    )
    def test_that_cannot_be_read_loses_nothing(self, text: str, manager: Client) -> None:
        response = self.pasted(manager, text, "calls=3")
        assert response.status_code == 200
        assert response.context["paste"].errors["body"]
        assert response.context["form"]["calls"].value() == "3"

    def test_is_a_post_with_its_token(self, manager: Client) -> None:
        assert manager.get(PASTE).headers["Location"] == PAGE
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = manager.cookies
        assert strict.post(PASTE, {"body": "{}"}).status_code == 403


class TestPermission:
    @pytest.mark.parametrize("role", [*Role, None])
    def test_is_for_those_who_see_prices_and_rates(self, role: Role | None) -> None:
        client = people.signed_in(role)
        expected = 200 if role in PRICED else 403
        assert client.get(PAGE).status_code == expected
        assert client.post(PASTE, {"body": ""}).status_code == expected
        assert client.post(PAGE).status_code == 403
        links = [item["title"] for group in client.get("/admin/").context["sidebar_navigation"] for item in group["items"]]
        assert ("Simulator" in links) is (role in PRICED)

    def test_somebody_unknown_is_sent_to_the_door(self, client: Client) -> None:
        assert client.get(PAGE).status_code == 302
        assert client.post(PASTE).status_code == 302
