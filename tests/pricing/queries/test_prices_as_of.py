"""What did we charge in April? Three versions of everyone's price, one of a customer's, and the instants between them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

from pricing.models import PriceRule, Segment
from pricing.queries import prices_as_of
from pricing.queries.prices_as_of import PriceAsOf
from tests.pricing.factories import A_MOMENT, EventTypeFactory, PriceRuleFactory, PriceVersionFactory

pytestmark = pytest.mark.django_db

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
CUSTOMER_FROM, CUSTOMER_TO = datetime(2026, 4, 10, tzinfo=UTC), datetime(2026, 5, 10, tzinfo=UTC)


def a_story() -> PriceRule:
    """Publish 3, 4 and 5 credits for everyone from March, April and June on, and 2 for a customer for one month."""
    everyone = PriceRuleFactory.create(event_type__name="chat.reply", event_type__label="Chat reply")
    ann, ben = User.objects.create(username="ann"), User.objects.create(username="ben")
    for number, (starts, ends) in enumerate([(MARCH, APRIL), (APRIL, JUNE), (JUNE, None)], 1):
        PriceVersionFactory.create(
            rule=everyone,
            number=number,
            credits_per_event=Decimal(number + 2),
            effective_from=starts,
            effective_to=ends,
            reason=f"=Reason {number}",
            created_by=ann,
            approved_by=ben,
        )
    customer = PriceRuleFactory.create(event_type=everyone.event_type, segment=Segment.CUSTOMER, segment_key="app/user_42")
    PriceVersionFactory.create(rule=customer, credits_per_event=Decimal(2), effective_from=CUSTOMER_FROM, effective_to=CUSTOMER_TO)
    return everyone


def numbers(at: datetime) -> list[int | None]:
    return [row.stop.number if row.stop else None for row in prices_as_of.prices_as_of(at=at).rows]


class TestStory:
    @pytest.fixture(autouse=True)
    def story(self) -> PriceRule:
        return a_story()

    @pytest.mark.parametrize(
        ("at", "expected"),
        [
            (MARCH - A_MOMENT, [None, None]),
            (MARCH, [1, None]),
            (APRIL - A_MOMENT, [1, None]),
            (APRIL, [2, None]),
            (CUSTOMER_FROM - A_MOMENT, [2, None]),
            (CUSTOMER_FROM, [2, 1]),
            (CUSTOMER_TO - A_MOMENT, [2, 1]),
            (CUSTOMER_TO, [2, None]),
            (JUNE - A_MOMENT, [2, None]),
            (JUNE, [3, None]),
        ],
    )
    def test_a_version_holds_from_its_first_instant_until_just_before_its_last(self, at: datetime, expected: list[int | None]) -> None:
        assert numbers(at) == expected

    def test_a_row_tells_the_price_and_who_decided_it(self) -> None:
        row = prices_as_of.prices_as_of(at=APRIL).rows[0]
        assert row.stop is not None
        assert (row.event_type, row.segment, row.rule) == ("chat.reply", Segment.DEFAULT, "chat.reply/default")
        assert (row.stop.sentence, row.stop.effective_from, row.stop.effective_to) == ("4 credits per chat.reply", APRIL, JUNE)
        assert (row.stop.created_by, row.stop.approved_by, row.stop.reason) == ("ann", "ben", "=Reason 2")

    def test_a_rule_without_a_price_tells_what_was_before_and_comes_next(self) -> None:
        def customer(at: datetime) -> PriceAsOf:
            return prices_as_of.prices_as_of(at=at).rows[1]

        assert (customer(APRIL).ended_at, customer(APRIL).starts_at) == (None, CUSTOMER_FROM)
        assert (customer(JUNE).ended_at, customer(JUNE).starts_at) == (CUSTOMER_TO, None)
        assert (customer(CUSTOMER_FROM).ended_at, customer(CUSTOMER_FROM).starts_at) == (None, None)
        assert prices_as_of.prices_as_of(at=JUNE).unpriced_count == 1

    def test_another_moment_marks_what_differs(self) -> None:
        answer = prices_as_of.prices_as_of(at=CUSTOMER_FROM, other=JUNE)
        assert [(row.compared.number if row.compared else None, row.differs) for row in answer.rows] == [(3, True), (None, True)]
        assert prices_as_of.prices_as_of(at=APRIL, other=JUNE - A_MOMENT).differing_count == 0
        assert prices_as_of.prices_as_of(at=APRIL).differing_count == 0

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ({"event": "T.REP"}, 2),
            ({"event": "chat reply"}, 2),
            ({"event": "image"}, 0),
            ({"rule": "chat.reply/customer/app/user_42"}, 1),
            ({"rule": "chat.reply/default"}, 1),
            ({"rule": "chat.reply"}, 0),
            ({"event": "image", "rule": "chat.reply/default"}, 0),
        ],
    )
    def test_is_narrowed_by_event_type_and_rule(self, asked: dict[str, Any], found: int) -> None:
        assert len(prices_as_of.prices_as_of(at=APRIL, **asked).rows) == found

    def test_names_of_rules_are_known(self) -> None:
        assert prices_as_of.known_rules(at_most=1) == ("chat.reply/customer/app/user_42",)
        assert prices_as_of.is_known("chat.reply/default")
        assert not prices_as_of.is_known("chat.reply/customer/app")


class TestAnyNumberOfRules:
    def test_takes_three_statements(self, django_assert_num_queries: Any) -> None:
        for _ in range(30):
            PriceVersionFactory.create(created_by=User.objects.get_or_create(username="ann")[0])
        with django_assert_num_queries(3):
            assert len(prices_as_of.prices_as_of(at=APRIL, other=JUNE, event="chat").rows) == 30

    def test_the_widest_rule_comes_first(self) -> None:
        event_type = EventTypeFactory.create()
        for segment, key in ((Segment.CUSTOMER, "app/a"), (Segment.PLAN, "pro"), (Segment.DEFAULT, ""), (Segment.PLAN, "business")):
            PriceRuleFactory.create(event_type=event_type, segment=segment, segment_key=key)
        assert [row.segment_key for row in prices_as_of.prices_as_of(at=APRIL).rows] == ["", "business", "pro", "app/a"]
