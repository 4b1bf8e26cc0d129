"""What never arrived is asked for; what did is not asked for twice."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.errors import StripeUnavailable
from billing.models import EventOrigin, EventState, EventSweep, StripeEvent
from billing.services import inbox, stripe_gateway
from config.demo.stripe import KEY
from tests.billing.stripe_inbox import arrived, handled_by, noting, post
from tests.stripe_desk import StripeDesk

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def happen(desk: StripeDesk, *, at: datetime = NOW, times: int = 1) -> list[dict[str, object]]:
    """Have something happen at Stripe: each customer that is made is an event."""
    desk.set_clock(int(at.timestamp()))
    for _ in range(times):
        stripe_gateway.gateway().create_customer({"name": "Ann"}, key=f"customer-{at.timestamp()}-{desk.port}-{_}")
    return desk.events()


class TestASweep:
    def test_finds_what_did_not_arrive(self, stripe_desk: StripeDesk) -> None:
        first, second, third = (happen(stripe_desk, at=NOW - minutes * MINUTE)[-1] for minutes in (3, 2, 1))
        post(second, now=NOW)
        assert inbox.sweep(now=NOW) == 2
        found = list(StripeEvent.objects.order_by("happened_at").values_list("event_id", "origin", "state"))
        assert found == [
            (first["id"], EventOrigin.SWEEPER, EventState.DUE),
            (second["id"], EventOrigin.WEBHOOK, EventState.DUE),
            (third["id"], EventOrigin.SWEEPER, EventState.DUE),
        ]
        assert StripeEvent.objects.get(event_id=third["id"]).object == third["data"]["object"]  # type: ignore[index]
        assert inbox.sweep(now=NOW) == 0
        assert post(third, now=NOW).is_new is False

    def test_has_the_oldest_worked_off_first(self, stripe_desk: StripeDesk) -> None:
        """Stripe lists the newest first; worked off like that, refunds would come before what they refund."""
        ids = [happen(stripe_desk, at=NOW - minutes * MINUTE)[-1]["id"] for minutes in range(30, 0, -1)]
        inbox.sweep(now=NOW)
        seen: list[str] = []
        with handled_by(noting(seen), "customer.created"):
            inbox.work_off(now=NOW)
        assert seen == ids

    def test_reads_page_after_page(self, stripe_desk: StripeDesk) -> None:
        assert len(happen(stripe_desk, times=230)) == 230
        assert inbox.sweep(now=NOW + MINUTE) == 230

    def test_asks_from_where_the_last_one_ended_however_much_arrived_meanwhile(self, stripe_desk: StripeDesk) -> None:
        assert inbox.sweep(now=NOW) == 0
        missed = happen(stripe_desk, at=NOW + 60 * MINUTE)[-1]
        arrived = happen(stripe_desk, at=NOW + 300 * MINUTE)[-1]
        post(arrived, now=NOW + 300 * MINUTE)
        assert inbox.sweep(now=NOW + 301 * MINUTE) == 1
        assert StripeEvent.objects.get(origin=EventOrigin.SWEEPER).event_id == missed["id"]

    def test_asks_for_a_little_again_since_stripe_may_show_an_event_late(self, stripe_desk: StripeDesk) -> None:
        inbox.sweep(now=NOW)
        happen(stripe_desk, at=NOW - 29 * MINUTE)
        assert inbox.sweep(now=NOW + 10 * MINUTE) == 1

    def test_goes_back_30_days_at_most(self, stripe_desk: StripeDesk) -> None:
        happen(stripe_desk, at=NOW - timedelta(days=31))
        recent = happen(stripe_desk, at=NOW - timedelta(days=29))[-1]
        assert inbox.sweep(now=NOW) == 1
        assert StripeEvent.objects.get().event_id == recent["id"]
        EventSweep.objects.update(reached_at=NOW - timedelta(days=400))
        assert inbox.sweep(now=NOW) == 0
        assert [call["params"]["created[gte]"] for call in stripe_desk.calls() if call["path"] == "/v1/events"] == [
            str(int((NOW - timedelta(days=30)).timestamp()))
        ] * 2

    @pytest.mark.parametrize(("is_live", "state"), [(False, EventState.DUE), (True, EventState.IGNORED)])
    def test_takes_up_again_what_met_the_other_key(self, stripe_desk: StripeDesk, settings: Any, is_live: bool, state: str) -> None:
        """The test key was away; what came meanwhile was put aside. What is of the live mode stays aside."""
        inbox.sweep(now=NOW)
        settings.STRIPE_API_KEY = f"sk_{'test' if is_live else 'live'}_x"
        aside = arrived("payment_intent.succeeded", now=NOW + MINUTE, livemode=is_live)
        other = arrived("customer.created", now=NOW + MINUTE, livemode=not is_live)
        inbox.work_off(now=NOW + MINUTE)
        settings.STRIPE_API_KEY = KEY
        assert inbox.sweep(now=NOW + timedelta(days=9)) == (not is_live)
        aside.refresh_from_db()
        other.refresh_from_db()
        assert (aside.state, aside.attempts, other.state) == (state, 0 if state == EventState.DUE else 1, EventState.IGNORED)

    def test_that_is_cut_off_begins_again_where_it_began(self, stripe_desk: StripeDesk) -> None:
        happen(stripe_desk)
        stripe_desk.fail_next("500", times=2)  # the call, and its second try
        with pytest.raises(StripeUnavailable):
            inbox.sweep(now=NOW + MINUTE)
        assert not EventSweep.objects.exists()
        assert inbox.sweep(now=NOW + MINUTE) == 1
