"""Days and months by the workspace's clock, pauses, and answers after which a card is left alone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from billing import auto_charges

VIENNA = ZoneInfo("Europe/Vienna")


class TestPeriods:
    @pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
    def test_a_day_is_as_long_as_its_clock_says(self, day: str, hours: int) -> None:
        period = auto_charges.day_of(datetime.fromisoformat(f"{day}T12:00+00:00"), VIENNA)
        assert period.end - period.start == timedelta(hours=hours)
        assert period.start.astimezone(VIENNA).isoformat()[:19] == f"{day}T00:00:00"

    def test_an_instant_before_midnight_is_of_the_day_before(self) -> None:
        midnight = datetime(2026, 10, 24, 22, tzinfo=UTC)  # in Vienna, of the day on which summer time ends
        today = auto_charges.day_of(midnight, VIENNA)
        assert (today.start, today.end) == (midnight, datetime(2026, 10, 25, 23, tzinfo=UTC))
        assert auto_charges.day_of(midnight - timedelta(microseconds=1), VIENNA).end == midnight

    @pytest.mark.parametrize(
        ("now", "start", "end"),
        [
            ("2026-03-31T21:59:59+00:00", "2026-02-28T23:00+00:00", "2026-03-31T22:00+00:00"),
            ("2026-12-31T23:00:00+00:00", "2026-12-31T23:00+00:00", "2027-01-31T23:00+00:00"),
        ],
    )
    def test_a_month_begins_and_ends_at_its_own_midnights(self, now: str, start: str, end: str) -> None:
        month = auto_charges.month_of(datetime.fromisoformat(now), VIENNA)
        assert (month.start, month.end) == (datetime.fromisoformat(start), datetime.fromisoformat(end))

    def test_a_day_whose_midnight_does_not_exist_follows_the_day_before(self) -> None:
        zone = ZoneInfo("America/Santiago")  # summer time begins at midnight
        before = auto_charges.day_of(datetime(2026, 9, 5, 12, tzinfo=UTC), zone)
        after = auto_charges.day_of(datetime(2026, 9, 6, 12, tzinfo=UTC), zone)
        assert before.end == after.start
        assert after.end - after.start == timedelta(hours=23)


class TestDeclines:
    def test_pause_longer_each_time_and_stop(self) -> None:
        pauses = [auto_charges.pause_after(failures) for failures in (1, 2, 3, 4)]
        assert pauses == [timedelta(hours=1), timedelta(hours=6), timedelta(hours=24), None]

    @pytest.mark.parametrize(
        ("code", "decline_code", "is_for_good"),
        [
            ("card_declined", "insufficient_funds", False),
            ("card_declined", "generic_decline", False),
            ("card_declined", "lost_card", True),
            ("card_declined", "stolen_card", True),
            ("card_declined", "do_not_honor", True),
            ("expired_card", "", True),
            ("authentication_required", "authentication_required", True),
            ("", "", False),
        ],
    )
    def test_are_for_good_or_for_now(self, code: str, decline_code: str, *, is_for_good: bool) -> None:
        assert auto_charges.is_for_good(code=code, decline_code=decline_code) == is_for_good
