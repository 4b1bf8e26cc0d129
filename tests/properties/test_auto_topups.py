"""Auto top-up over random days: spending, failing banks, lost answers, other terms, workers in any number. Never above a cap."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.errors import StripeUnavailable
from billing.models import TopUpStatus, Wallet
from billing.services import auto_topup_terms, ledger
from pricing.models import Workspace
from tests.billing import saving
from tests.billing.factories import a_caller, a_wallet
from tests.stripe_desk import StripeDesk

pytestmark = pytest.mark.django_db
# Summer time ends in Vienna on the 25th, and the month with it a week later.
BEGIN = datetime(2026, 10, 23, 12, tzinfo=UTC)
ZONE = ZoneInfo("Europe/Vienna")
STEPS = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 40)),  # hours
    st.tuples(st.just("spend"), st.integers(1, 3000)),
    st.tuples(st.just("fault"), st.sampled_from(["lost", "500", "429"])),
    st.tuples(st.just("hear"), st.just(0)),
    st.tuples(st.just("card"), st.sampled_from(["visa", "fails_later", "bank"])),
    st.tuples(st.just("start"), st.just(0)),
    st.tuples(st.just("caps"), st.integers(1, 4)),
)


@pytest.fixture
def wallet(db: None) -> Wallet:
    Workspace.objects.update(time_zone=ZONE.key)
    return a_wallet(a_caller())


class Story:
    """What happens to one wallet, and the largest caps that held on each day and in each month, in minor units."""

    def __init__(self, desk: StripeDesk, wallet: Wallet) -> None:
        desk.forget()
        self.desk, self.wallet, self.now, self.cap = desk, wallet, BEGIN, 3000
        self.days: dict[str, int] = {}
        self.months: dict[str, int] = {}
        self.agree()
        saving.save_card(desk, wallet, now=self.now)

    def agree(self) -> None:
        caps = {"day_cap": Decimal(self.cap) / 100, "month_cap": Decimal(self.cap) / 50}
        saving.an_auto_topup(self.wallet, now=self.now, threshold=Decimal(2500), **caps)

    def take(self, what: str, how: Any) -> None:
        self.now += timedelta(minutes=2)
        match what:
            case "wait":
                self.now += timedelta(hours=how)
            case "spend":
                self.wallet.refresh_from_db()
                if spent := min(Decimal(how), self.wallet.balance):
                    ledger.adjust(wallet_id=self.wallet.pk, credits=-spent, reason="spent", actor="system:tests", now=self.now)
            case "fault":
                self.desk.fail_next(how, times=2)
            case "card":
                with suppress(StripeUnavailable):
                    saving.save_card(self.desk, self.wallet, card=how, now=self.now)
            case "start":
                auto_topup_terms.start_again(wallet_id=self.wallet.pk, reason="x", now=self.now)
            case "caps":
                self.cap = 1000 * how
                self.agree()
            case "hear":
                saving.hear(self.desk, now=self.now)
        # An order counts for the day on which it was made, with the caps that held then.
        day = self.now.astimezone(ZONE).date().isoformat()
        self.days[day] = max(self.days.get(day, 0), self.cap)
        self.months[day[:7]] = max(self.months.get(day[:7], 0), 2 * self.cap)
        saving.run(self.now)

    def check(self) -> None:
        """Nothing above a cap, by our orders and by what Stripe took; nothing taken twice; and each payment deposited."""
        charged = self.desk.do("events")
        taken = [one["data"]["object"] for one in charged if one["type"] == "payment_intent.succeeded"]
        orders = {str(topup.pk): topup for topup in saving.orders(self.wallet)}
        assert len({one["metadata"]["topup"] for one in taken}) == len(taken)
        for periods, length in ((self.days, 10), (self.months, 7)):
            sums: dict[str, int] = {}
            for one in taken:
                made = orders[one["metadata"]["topup"]].created_at.astimezone(ZONE).date().isoformat()[:length]
                sums[made] = sums.get(made, 0) + one["amount"]
            assert all(total <= periods[period] for period, total in sums.items()), (sums, periods)
        paid = {pk for pk, topup in orders.items() if topup.status == TopUpStatus.PAID}
        assert paid == {one["metadata"]["topup"] for one in taken}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12, deadline=None)
@given(st.lists(STEPS, max_size=14))
def test_caps_hold_and_nothing_is_charged_twice_or_lost(stripe_desk: StripeDesk, wallet: Wallet, steps: list[tuple[str, Any]]) -> None:
    with transaction.atomic():
        story = Story(stripe_desk, wallet)
        for what, how in steps:
            story.take(what, how)
        for _ in range(3):  # whatever was asked to fail has failed by now
            story.take("hear", 0)
        story.check()
        transaction.set_rollback(True)
