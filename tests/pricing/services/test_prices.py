from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection

from config.base.exact import Rounding
from pricing.locks import share_prices_lock_sql
from pricing.models import PriceRule, PriceVersion, Segment
from pricing.price import Component, Tier
from pricing.services import prices
from pricing.services.refusals import InvalidPriceError, LaterVersionError, RuleEndedLaterError, StartsTooSoonError
from tests.pricing.factories import A_MOMENT, LAST_YEAR, NOW, EventTypeFactory, PriceRuleFactory, PriceVersionFactory

pytestmark = pytest.mark.django_db
TOMORROW = NOW + timedelta(days=1)


@pytest.fixture
def rule() -> PriceRule:
    return PriceRuleFactory.create(event_type__name="chat.reply")


def publish(rule: PriceRule, start: datetime, **change: Any) -> PriceVersion:
    decisions: dict[str, Any] = {"credits_per_event": Decimal(5), "reason": "Costs rose", "actor": None, "now": NOW}
    return prices.publish_version(rule=rule, effective_from=start, **decisions | change)


class TestPublishVersion:
    def test_the_first_may_start_in_the_past(self, rule: PriceRule) -> None:
        version = publish(rule, LAST_YEAR)
        assert (version.number, version.effective_from, version.effective_to) == (1, LAST_YEAR, None)

    def test_the_next_ends_the_one_before_where_it_starts(self, rule: PriceRule) -> None:
        publish(rule, LAST_YEAR)
        second = publish(rule, TOMORROW)
        first = PriceVersion.objects.get(rule=rule, number=1)
        assert first.effective_to == TOMORROW
        assert (second.number, second.effective_to) == (2, None)

    def test_keeps_every_decision(self, rule: PriceRule) -> None:
        ann, ben = User.objects.create(username="ann"), User.objects.create(username="ben")
        component, tier = Component("output", Decimal("0.5"), 1000), Tier(Decimal(10), Decimal(3))
        version = publish(
            rule,
            NOW,
            components=[component],
            tiers=[tier],
            minimum=Decimal(1),
            rounding_step=Decimal("0.5"),
            rounding_mode=Rounding.UP,
            actor=ann,
            approved_by=ben,
        )
        stored = PriceVersion.objects.get(pk=version.pk)
        price = stored.as_price()
        assert price.components == (component,)
        assert price.tiers == (tier,)
        assert price.minimum == 1
        assert (price.rounding_step, price.rounding_mode) == (Decimal("0.5"), Rounding.UP)
        assert (stored.created_by, stored.approved_by, stored.created_at) == (ann, ben, NOW)

    def test_it_may_not_start_where_events_may_be_charged_already(self, rule: PriceRule) -> None:
        publish(rule, LAST_YEAR)
        for start in (LAST_YEAR + A_MOMENT, NOW, NOW + prices.LEAD_TIME - A_MOMENT):
            with pytest.raises(StartsTooSoonError, match="start at 2026-11-20T10:01:00"):
                publish(rule, start)
        publish(rule, NOW + prices.LEAD_TIME + timedelta(seconds=5))

    def test_it_may_not_start_before_a_scheduled_one(self, rule: PriceRule) -> None:
        publish(rule, LAST_YEAR)
        publish(rule, TOMORROW)
        for start in (TOMORROW - timedelta(hours=1), TOMORROW):
            with pytest.raises(LaterVersionError, match=r"chat.reply/default v2 is scheduled"):
                publish(rule, start)
        assert publish(rule, TOMORROW + timedelta(hours=1)).number == 3

    def test_it_may_not_start_before_an_end_that_is_set(self, rule: PriceRule) -> None:
        PriceVersionFactory.create(rule=rule, effective_to=TOMORROW)
        with pytest.raises(RuleEndedLaterError, match="valid until 2026-11-21"):
            publish(rule, TOMORROW - A_MOMENT)
        publish(rule, TOMORROW)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"credits_per_event": Decimal("0.0000001")}, "credits_per_event"),
            ({"components": [Component("input", Decimal(1), 3)]}, "components.0.per"),
            ({"tiers": [Tier(Decimal(0), Decimal(3))]}, "tiers.0.from_quantity"),
            ({"reason": " "}, "reason"),
        ],
    )
    def test_refuses_what_is_not_exact_or_not_explained(self, rule: PriceRule, change: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidPriceError, match=field) as refused:
            publish(rule, LAST_YEAR, **change)
        assert refused.value.code == "invalid_price"
        assert [name for name, _ in refused.value.problems] == [field]
        assert not PriceVersion.objects.exists()


class TestChargesInFlight:
    @pytest.fixture
    def charge(self) -> Iterator[psycopg.Connection]:
        """Be a charge of another process, in the middle of its transaction."""
        settings = connection.get_connection_params()
        keys = ("dbname", "host", "port", "user", "password")
        with psycopg.connect(**{key: settings[key] for key in keys if settings.get(key)}) as other:
            other.execute(share_prices_lock_sql)
            yield other

    @pytest.mark.usefixtures("charge")
    def test_hold_a_publication_up(self, rule: PriceRule) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '200ms'")
        with pytest.raises(OperationalError, match="lock timeout"):
            publish(rule, LAST_YEAR)

    def test_do_not_once_they_are_done(self, rule: PriceRule, charge: psycopg.Connection) -> None:
        charge.commit()
        assert publish(rule, LAST_YEAR).number == 1

    @pytest.mark.usefixtures("charge")
    def test_share_the_lock_with_each_other(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '200ms'")
            cursor.execute(share_prices_lock_sql)


class TestCreating:
    def test_an_event_type_remembers_who(self) -> None:
        ann = User.objects.create(username="ann")
        event = prices.create_event_type(name="chat.reply", label="Chat reply", unit_name="reply", actor=ann)
        assert event.history.get().history_user == ann

    @pytest.mark.parametrize("name", ["Chat Reply", "taken"])
    def test_refuses_a_name_that_is_odd_or_taken(self, name: str) -> None:
        EventTypeFactory.create(name="taken")
        with pytest.raises(InvalidPriceError, match="name: ") as refused:
            prices.create_event_type(name=name, label="x", actor=None)
        assert {field for field, _ in refused.value.problems} >= {"name"}

    def test_a_rule_for_a_plan(self) -> None:
        event = EventTypeFactory.create(name="chat.reply")
        made = prices.create_rule(event_type=event, segment=Segment.PLAN, segment_key="pro", actor=None)
        assert str(made) == "chat.reply/plan/pro"

    def test_refuses_a_rule_that_exists_or_has_no_key(self, rule: PriceRule) -> None:
        with pytest.raises(InvalidPriceError):
            prices.create_rule(event_type=rule.event_type, actor=None)
        with pytest.raises(InvalidPriceError):
            prices.create_rule(event_type=rule.event_type, segment=Segment.PLAN, actor=None)
