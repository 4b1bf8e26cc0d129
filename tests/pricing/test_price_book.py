from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from pytest_django.fixtures import DjangoAssertNumQueries

from config.base.exact import Rounding
from pricing import price_book
from pricing.models import EventType, PriceRule, Segment, Workspace
from pricing.price import Component, Price, Tier
from tests.pricing.factories import (
    A_MOMENT,
    LAST_YEAR,
    NOW,
    EventTypeFactory,
    PriceRuleFactory,
    PriceVersionFactory,
    ProviderModelFactory,
    ProviderRateFactory,
    RateSeriesFactory,
)

pytestmark = pytest.mark.django_db


def price(rule: PriceRule, credits: int, *, number: int = 1, start: datetime = LAST_YEAR, end: datetime | None = None) -> None:
    PriceVersionFactory.create(rule=rule, number=number, credits_per_event=Decimal(credits), effective_from=start, effective_to=end)


def applied(event: EventType, *, customer: str | None = None, plan: str = "", at: datetime = NOW) -> int | None:
    found = price_book.current().price_for(event_type_id=event.pk, customer_key=customer, plan=plan, at=at)
    return int(found.credits_per_event) if found else None


class TestPriceFor:
    def test_resolves_customer_then_plan_then_default(self) -> None:
        event = EventTypeFactory.create()
        price(PriceRuleFactory.create(event_type=event), 4)
        price(PriceRuleFactory.create(event_type=event, segment=Segment.PLAN, segment_key="pro"), 3)
        price(PriceRuleFactory.create(event_type=event, segment=Segment.CUSTOMER, segment_key="app/user_42"), 2)
        assert applied(event, customer="app/user_42", plan="pro") == 2
        assert applied(event, customer="app/user_1", plan="pro") == 3
        assert applied(event, customer="app/user_1", plan="free") == 4
        assert applied(event) == 4

    def test_a_plan_named_like_a_customer_is_not_that_customer(self) -> None:
        event = EventTypeFactory.create()
        price(PriceRuleFactory.create(event_type=event, segment=Segment.PLAN, segment_key="app/user_42"), 3)
        assert applied(event, customer="app/user_42") is None

    def test_a_rule_without_a_valid_version_gives_way(self) -> None:
        event = EventTypeFactory.create()
        price(PriceRuleFactory.create(event_type=event), 4)
        deal = PriceRuleFactory.create(event_type=event, segment=Segment.CUSTOMER, segment_key="app/user_42")
        price(deal, 2, start=NOW, end=NOW + timedelta(days=1))
        assert applied(event, customer="app/user_42", at=NOW - A_MOMENT) == 4
        assert applied(event, customer="app/user_42", at=NOW) == 2
        assert applied(event, customer="app/user_42", at=NOW + timedelta(days=1)) == 4

    def test_a_version_is_valid_from_its_start_up_to_its_end(self) -> None:
        rule = PriceRuleFactory.create()
        price(rule, 4, end=NOW)
        price(rule, 5, number=2, start=NOW)
        assert applied(rule.event_type, at=LAST_YEAR - A_MOMENT) is None
        assert applied(rule.event_type, at=LAST_YEAR) == 4
        assert applied(rule.event_type, at=NOW - A_MOMENT) == 4
        assert applied(rule.event_type, at=NOW) == 5

    def test_no_rule_is_no_price(self) -> None:
        assert applied(EventTypeFactory.create()) is None

    def test_gives_the_whole_version(self) -> None:
        event = EventTypeFactory.create(name="chat.reply")
        rule = PriceRuleFactory.create(event_type=event, segment=Segment.PLAN, segment_key="pro")
        component, tier = (
            Component("output", Decimal("0.5"), 1000, "premium", ("claude-*",)),
            Tier(Decimal(10), Decimal(3)),
        )
        version = PriceVersionFactory.create(
            rule=rule,
            number=3,
            components=[component.as_json()],
            tiers=[tier.as_json()],
            minimum=Decimal(1),
            rounding_step=Decimal("0.5"),
            rounding_mode=Rounding.UP.value,
        )
        found = price_book.current().price_for(event_type_id=event.pk, customer_key=None, plan="pro", at=NOW)
        assert found == Price(
            rule_id=rule.pk,
            version_id=version.pk,
            rule="chat.reply/plan/pro",
            version=3,
            event="chat.reply",
            credits_per_event=Decimal(4),
            components=(component,),
            tiers=(tier,),
            minimum=Decimal(1),
            rounding_step=Decimal("0.5"),
            rounding_mode=Rounding.UP,
        )


class TestContents:
    def test_event_types_and_workspace(self) -> None:
        event = EventTypeFactory.create(name="chat.reply", is_active=False)
        Workspace.objects.update(currency="EUR", credit_value=Decimal("0.02"))
        book = price_book.current()
        assert book.event_types == {"chat.reply": price_book.EventTypeRow(event.pk, "chat.reply", is_active=False)}
        assert book.workspace == price_book.WorkspaceFigures("EUR", Decimal("0.02"))

    def test_rates_come_with_their_model_series_and_period(self) -> None:
        model = ProviderModelFactory.create(name="claude-sonnet-4-5", aliases=["claude-sonnet-4-5-*"])
        batch = RateSeriesFactory.create(provider_model=model, is_batch=True, context_threshold=1000)
        row = ProviderRateFactory.create(series=batch, price=Decimal("1.5"), effective_to=NOW)
        find = price_book.current().rates_for

        def ask(*, tokens: int = 1000, is_batch: bool = True, at: datetime = LAST_YEAR) -> list[int]:
            rates = find(
                provider="anthropic",
                model="claude-sonnet-4-5-20250929",
                service_tier="",
                is_batch=is_batch,
                input_tokens=tokens,
                at=at,
            )
            return [rate.id for rate in rates.values()]

        assert ask() == [row.pk]
        assert ask(tokens=999) == []
        assert ask(is_batch=False) == []
        assert ask(at=NOW) == []


class TestCaching:
    def test_a_warm_book_costs_one_query(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        book = price_book.current()
        with django_assert_num_queries(1):
            assert price_book.current() is book

    def test_loading_takes_a_fixed_number_of_queries(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        for _ in range(3):
            PriceVersionFactory.create()
            ProviderRateFactory.create()
        with django_assert_num_queries(5):
            price_book.load(1)

    def test_a_change_is_seen_at_once(self) -> None:
        rule = PriceRuleFactory.create()
        assert applied(rule.event_type) is None
        price(rule, 4)
        assert applied(rule.event_type) == 4

    def test_a_known_generation_costs_no_query(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        book = price_book.current()
        with django_assert_num_queries(0):
            assert price_book.at_generation(book.generation) is book

    def test_another_generation_is_loaded(self) -> None:
        book = price_book.current()
        newer = price_book.at_generation(book.generation + 1)
        assert newer is not book
        assert newer.generation == book.generation + 1
