from typing import Any

import pytest
from django.db import IntegrityError

from pricing.models import PriceRule, Segment
from tests.pricing.factories import EventTypeFactory, PriceRuleFactory

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", ["chat.reply", "image", "agent_2.run.step"])
def test_names_are_words_joined_by_dots(name: str) -> None:
    EventTypeFactory.create(name=name)


@pytest.mark.parametrize("name", ["Chat.reply", "chat..reply", ".chat", "chat.", "chat reply", "", "chat-reply", "a\n"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(IntegrityError, match="event_type_name_is_dotted"):
        EventTypeFactory.create(name=name)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"segment": Segment.DEFAULT, "segment_key": "pro"}, "price_rule_default_has_no_key"),
        ({"segment": Segment.PLAN}, "price_rule_default_has_no_key"),
        ({"segment": "team", "segment_key": "x"}, "price_rule_segment_known"),
    ],
)
def test_a_rule_has_a_key_unless_it_is_for_everyone(change: dict[str, Any], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        PriceRuleFactory.create(**change)


def test_a_rule_exists_once() -> None:
    rule = PriceRuleFactory.create(segment=Segment.PLAN, segment_key="pro")
    PriceRuleFactory.create(event_type=rule.event_type)
    with pytest.raises(IntegrityError, match="price_rule_is_one"):
        PriceRule.objects.create(event_type=rule.event_type, segment=Segment.PLAN, segment_key="pro")


def test_a_name_is_given_once() -> None:
    EventTypeFactory.create(name="chat.reply")
    with pytest.raises(IntegrityError, match="pricing_eventtype_name_key"):
        EventTypeFactory.create(name="chat.reply")
