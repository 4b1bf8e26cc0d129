"""A simulation beside the desk, or for as long as history is made."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import RequestFactory
from pytest_django import Settings

from billing.services import stripe_gateway
from config import navigation
from config.demo.stripe import KEY, running
from tests.stripe_desk import StripeDesk


class TestForHistory:
    def test_runs_for_as_long_and_leaves_the_settings_as_they_were(self, tmp_path: Path, settings: Settings) -> None:
        settings.STRIPE_API_KEY, settings.STRIPE_API_BASE = "", ""
        with running.for_history(tmp_path) as bank:
            assert bank is not None
            bank.do("clock", at=1_760_000_000)
            assert stripe_gateway.gateway().create_customer({"name": "Ann"}, key="customer-7")["created"] == 1_760_000_000
        assert not bank.answers()
        assert not stripe_gateway.is_set_up()
        assert '"customer"' in (tmp_path / "stripe" / "simulation.json").read_text()

    def test_uses_the_one_beside_the_desk_and_lets_its_clock_go(self, tmp_path: Path, stripe_desk: StripeDesk) -> None:
        with running.for_history(tmp_path) as bank:
            assert bank is not None
            assert bank.base == stripe_desk.base
            bank.do("clock", at=1_760_000_000)
        assert stripe_gateway.gateway().create_customer({"name": "Ann"}, key="customer-7")["created"] > 1_790_000_000
        assert list(tmp_path.iterdir()) == []

    def test_nothing_is_invented_at_stripe_itself(self, tmp_path: Path, settings: Settings) -> None:
        settings.STRIPE_API_KEY = "sk_test_real"
        with running.for_history(tmp_path) as bank:
            assert bank is None
        assert list(tmp_path.iterdir()) == []


class TestPointHere:
    @pytest.fixture(autouse=True)
    def _environment(self) -> Iterator[None]:
        before = dict(os.environ)
        yield
        os.environ.clear()
        os.environ.update(before)

    def test_reaches_this_process_and_those_that_it_starts(self, settings: Settings) -> None:
        settings.STRIPE_API_KEY, settings.STRIPE_API_BASE, settings.STRIPE_WEBHOOK_SECRETS = "", "", []
        running.point_here("http://127.0.0.1:1")
        assert running.is_simulated()
        assert (os.environ["STRIPE_API_KEY"], os.environ["STRIPE_API_BASE"]) == (KEY, "http://127.0.0.1:1")
        assert [os.environ["STRIPE_WEBHOOK_SECRET"]] == settings.STRIPE_WEBHOOK_SECRETS


@pytest.mark.django_db
def test_the_admin_says_that_payments_are_simulated(rf: RequestFactory, settings: Settings) -> None:
    settings.STRIPE_API_KEY = "sk_test_real"
    assert navigation.environment(rf.get("/")) is None
    settings.STRIPE_API_KEY = KEY
    assert navigation.environment(rf.get("/")) == ["Payments are simulated", "warning"]
