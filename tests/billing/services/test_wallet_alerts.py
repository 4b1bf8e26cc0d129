"""Alerts of wallets: once for each episode, and gone with it."""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest

from billing.models import Alert, Wallet
from billing.queries import alert_words
from billing.services import alerts, charging, wallet_alerts
from config.roles import Role
from tests.billing.factories import NOW, a_caller, a_deposit, a_price, a_wallet, an_event
from tests.billing.services.rivals import at_once
from tests.people import a_person

pytestmark = pytest.mark.django_db(transaction=True)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def states(kind: str) -> list[str]:
    return list(Alert.objects.filter(kind=kind).order_by("pk").values_list("state", flat=True))


def a_low_wallet(customer: str = "user_42") -> Wallet:
    wallet = a_wallet(a_caller(), customer, credits="5")
    Wallet.objects.filter(pk=wallet.pk).update(low_balance_threshold=Decimal(10))
    return wallet


class TestLow:
    def test_each_episode_once_by_however_many(self) -> None:
        wallet = a_low_wallet()
        results = at_once([partial(wallet_alerts.evaluate, now=NOW)] * 8)
        assert sum(result for result in results if isinstance(result, int)) == 1, results
        [alert] = Alert.objects.all()
        assert alert.project_id == wallet.customer.project_id
        assert "user_42 (" in alert_words.sentence(alert)
        assert "has 5 credits available, below the mark of 10 credits" in alert_words.sentence(alert)
        a_deposit(wallet, "100")
        assert wallet_alerts.evaluate(now=NOW) == 0
        assert states("wallet_low") == ["resolved"]
        Wallet.objects.filter(pk=wallet.pk).update(low_balance_threshold=Decimal(1000))
        assert [wallet_alerts.evaluate(now=NOW + after * wallet_alerts.QUIET_FOR) for after in (0, 1, 2)] == [0, 1, 0]
        assert states("wallet_low") == ["resolved", "open"]

    def test_people_cannot_end_what_is_still_so(self) -> None:
        a_low_wallet()
        wallet_alerts.evaluate(now=NOW)
        ann = a_person(Role.FINANCE)
        assert alerts.resolve(alerts=Alert.objects.all(), by=ann, now=NOW) == 0
        assert alerts.acknowledge(alerts=Alert.objects.all(), by=ann, note="Asked them", now=NOW) == 1
        assert wallet_alerts.evaluate(now=NOW + DAY) == 0


class TestFrozen:
    def test_each_episode_once(self) -> None:
        wallet = a_wallet(a_caller(), credits="5")
        for times in (1, 2):
            Wallet.objects.filter(pk=wallet.pk).update(status="frozen")
            assert [wallet_alerts.evaluate(now=NOW + times * DAY) for _ in range(2)] == [1, 0]
            Wallet.objects.filter(pk=wallet.pk).update(status="active")
            assert wallet_alerts.evaluate(now=NOW + times * DAY) == 0
        assert states("wallet_frozen") == ["resolved", "resolved"]


class TestExpiring:
    def test_once_for_each_date_within_seven_days(self) -> None:
        a_price("4")
        caller = a_caller()
        wallet = a_wallet(caller)
        soon = datetime.combine((NOW + 5 * DAY).date(), datetime.min.time(), NOW.tzinfo)
        for at, credits in ((soon + HOUR, "2"), (soon + 2 * HOUR, "2"), (soon + DAY, "6"), (soon + 9 * DAY, "100")):
            a_deposit(wallet, credits, expires_at=at)
        assert [wallet_alerts.evaluate_expiring(now=NOW) for _ in range(2)] == [2, 0]
        first, second = Alert.objects.order_by("pk")
        assert [alert.facts["credits"] for alert in (first, second)] == ["4", "6"]
        assert "4 credits of user_42 (" in alert_words.sentence(first)
        assert "expire on 2026-11-25 01:00 UTC unless" in alert_words.sentence(first)
        charging.charge([an_event(caller)], now=NOW)  # spends what expires first
        wallet_alerts.evaluate_expiring(now=NOW)
        assert states("credits_expire") == ["resolved", "open"]
        wallet_alerts.evaluate_expiring(now=soon + DAY)
        assert states("credits_expire")[:2] == ["resolved", "resolved"]
