"""Who decides on which price, where tests do not say otherwise."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import User

from pricing.models import PriceRule
from pricing.services import prices
from tests.pricing.factories import LAST_YEAR, NOW, PriceRuleFactory


@pytest.fixture
def ann() -> User:
    return User.objects.create(username="ann")


@pytest.fixture
def ben() -> User:
    return User.objects.create(username="ben")


@pytest.fixture
def rule() -> PriceRule:
    made: PriceRule = PriceRuleFactory.create(event_type__name="chat.reply")
    prices.publish_version(rule=made, credits_per_event=Decimal(4), effective_from=LAST_YEAR, reason="Opening", actor=None, now=NOW)
    return made
