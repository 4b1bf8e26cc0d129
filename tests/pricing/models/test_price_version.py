"""What PostgreSQL itself refuses about price versions; raw SQL, so that no Python stands in the way."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from pricing.models import PriceVersion
from tests.pricing.factories import A_MOMENT, LAST_YEAR, NOW, PriceRuleFactory, PriceVersionFactory

pytestmark = pytest.mark.django_db


def run(sql: str, *params: int | datetime | None) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, params)


class TestImmutable:
    @pytest.mark.parametrize(
        "change",
        [
            "credits_per_event = 5",
            "components = '[1]'",
            "tiers = '[1]'",
            "minimum = 1",
            "rounding_step = 1",
            "rounding_mode = 'up'",
            "effective_from = effective_from + interval '1 day'",
            "reason = 'other'",
            "number = 7",
            "created_at = now()",
            "credits_per_event = 5, effective_to = now()",
            "effective_to = NULL",
        ],
    )
    def test_no_column_can_be_changed(self, change: str) -> None:
        version = PriceVersionFactory.create()
        with pytest.raises(IntegrityError, match="never changes"):
            run(f"UPDATE pricing_priceversion SET {change} WHERE id = %s", version.pk)

    def test_it_cannot_be_deleted(self) -> None:
        version = PriceVersionFactory.create()
        with pytest.raises(IntegrityError, match="Publish a new version of the rule instead"):
            run("DELETE FROM pricing_priceversion WHERE id = %s", version.pk)

    def test_it_can_be_ended_once(self) -> None:
        version = PriceVersionFactory.create()
        end = "UPDATE pricing_priceversion SET effective_to = %s WHERE id = %s"
        run(end, NOW, version.pk)
        version.refresh_from_db()
        assert version.effective_to == NOW
        for other in (NOW + timedelta(days=1), None):
            with pytest.raises(IntegrityError, match="only its open end may be set, once"):
                run(end, other, version.pk)

    def test_it_cannot_end_before_it_starts(self) -> None:
        version = PriceVersionFactory.create()
        with pytest.raises(IntegrityError, match="price_version_ends_after_start"):
            run("UPDATE pricing_priceversion SET effective_to = %s WHERE id = %s", version.effective_from, version.pk)


class TestOverlap:
    def test_two_versions_of_a_rule_are_never_valid_together(self) -> None:
        version = PriceVersionFactory.create(effective_to=NOW)
        for start, end in [(NOW - A_MOMENT, None), (LAST_YEAR - A_MOMENT, LAST_YEAR + A_MOMENT), (LAST_YEAR, NOW)]:
            with pytest.raises(IntegrityError, match="price_version_no_overlap"), transaction.atomic():
                PriceVersionFactory.create(rule=version.rule, number=2, effective_from=start, effective_to=end)

    def test_the_next_may_start_where_the_last_ends(self) -> None:
        version = PriceVersionFactory.create(effective_to=NOW)
        PriceVersionFactory.create(rule=version.rule, number=2, effective_from=NOW)

    def test_rules_do_not_stand_in_each_others_way(self) -> None:
        for _ in range(2):
            PriceVersionFactory.create(rule=PriceRuleFactory.create())


class TestChecks:
    @pytest.mark.parametrize(
        ("change", "constraint"),
        [
            ({"credits_per_event": Decimal(-1)}, "price_version_credits_not_negative"),
            ({"minimum": Decimal(-1)}, "price_version_credits_not_negative"),
            ({"rounding_step": Decimal(-1)}, "price_version_step_positive"),
            ({"minimum": Decimal("0.7"), "rounding_step": Decimal("0.5")}, "price_version_minimum_is_a_step"),
            ({"rounding_mode": "sideways"}, "price_version_mode_known"),
            ({"number": 0}, "price_version_number_positive"),
            ({"reason": ""}, "price_version_has_a_reason"),
            ({"effective_to": LAST_YEAR}, "price_version_ends_after_start"),
        ],
    )
    def test_refuse_what_makes_no_price(self, change: dict[str, Any], constraint: str) -> None:
        with pytest.raises(IntegrityError, match=constraint):
            PriceVersionFactory.create(**change)

    def test_nobody_approves_their_own(self) -> None:
        ann, ben = User.objects.create(username="ann"), User.objects.create(username="ben")
        PriceVersionFactory.create(created_by=ann, approved_by=ben)
        with pytest.raises(IntegrityError, match="price_version_approver_differs"):
            PriceVersionFactory.create(created_by=ann, approved_by=ann)

    def test_a_number_is_given_once_per_rule(self) -> None:
        version = PriceVersionFactory.create(effective_to=NOW)
        with pytest.raises(IntegrityError, match="price_version_number_is_one"):
            PriceVersionFactory.create(rule=version.rule, effective_from=NOW)


def test_is_called_by_its_rule_and_number() -> None:
    version = PriceVersionFactory.create(rule__event_type__name="chat.reply", number=3)
    assert str(PriceVersion.objects.get(pk=version.pk)) == "chat.reply/default v3"
