"""A budget of 100 credits a day with marks at 50, 80 and 100 %, from one midnight past the next.

A reply costs 10 credits. The forecast is what the day comes to at its pace so far; the first tenth (2.4 hours) says nothing.

    time   replies  spent  pace to midnight       what is told
    02:00        1     10  (too early)            -
    06:00        1     20  20 / 6 h  * 24 =  80   -
    10:00        3     50  50 / 10 h * 24 = 120   50 % reached; heading over the limit, at 20:00
    16:00        1     60  60 / 16 h * 24 =  90   (not heading over it any more)
    18:00        4    100                         80 % and 100 % reached
    20:00        1    110                         -
    00:00                                         (the day is over: all alerts are)
    09:00        5     50  50 / 9 h * 24 = 133.3  50 % reached; heading over the limit, at 18:00
"""

from datetime import UTC, datetime, timedelta

import pytest

from billing.budgeting import Action
from billing.models import Alert, AlertState, Budget
from billing.queries import alert_words
from billing.services import budget_evaluation, charging
from tests.billing.budgeting import a_budget
from tests.billing.factories import a_caller, a_price, a_wallet, an_event

MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.mark.django_db(transaction=True)
class TestADay:
    def test_tells_each_mark_once_and_ends_with_the_day(self) -> None:
        a_price("10")
        caller = a_caller()
        a_wallet(caller, credits="1000")
        self.budget = a_budget("100", name="Support", action=Action.ALERT, thresholds=(50, 80, 100), now=MIDNIGHT)

        def told(hour: int, replies: int) -> list[str]:
            now = MIDNIGHT + timedelta(hours=hour)
            charging.charge([an_event(caller) for _ in range(replies)], now=now)
            raised = [budget_evaluation.evaluate(now=now + timedelta(seconds=seconds)) for seconds in (0, 30, 60)]
            assert raised[1:] == [0, 0], "looking again tells nothing again"
            return marks(Alert.objects.filter(raised_at=now))

        assert told(2, 1) == []
        assert told(6, 1) == []
        assert told(10, 3) == ["50", "forecast"]
        assert told(16, 1) == []
        assert standing(self.budget) == ["50"]
        assert told(18, 4) == ["80", "100"]
        assert told(20, 1) == []
        assert standing(self.budget) == ["50", "80", "100"]
        assert told(24, 0) == []
        assert standing(self.budget) == []
        assert told(24 + 9, 5) == ["50", "forecast"]
        assert Alert.objects.count() == 6

        half, heading, _, full, *_ = Alert.objects.order_by("pk")
        assert alert_words.sentence(half) == (
            "The budget Support has spent 50 of 100 credits (50 %) in the day 2026-11-20, and so reached its mark of 50 %."
        )
        assert alert_words.sentence(heading) == (
            "The budget Support has spent 50 of 100 credits in the day 2026-11-20, and comes to 120 credits by its end if it goes on at "
            "the pace of this window so far. The limit is met at 2026-11-20 20:00 UTC."
        )
        assert alert_words.next_step(full).startswith("Nothing is refused: spending goes on until somebody acts.")


def marks(alerts: object) -> list[str]:
    """Name alerts by their per cent, or as forecasts."""
    found = sorted(alerts, key=lambda alert: (alert.kind == "forecast", alert.threshold))  # type: ignore[call-overload]
    return ["forecast" if alert.kind == "forecast" else str(alert.threshold) for alert in found]


def standing(budget: Budget) -> list[str]:
    """Name what of a budget is not over."""
    return marks(budget.alerts.exclude(state=AlertState.RESOLVED))
