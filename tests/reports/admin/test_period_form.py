"""The period before: whole months before whole months, else as many days."""

from datetime import date

import pytest

from reports.admin.period_form import Period


@pytest.mark.parametrize(
    ("first", "last", "before"),
    [
        ("2026-03-01", "2026-03-31", "2026-02-01 to 2026-02-28"),
        ("2026-01-01", "2026-01-31", "2025-12-01 to 2025-12-31"),
        ("2026-01-01", "2026-12-31", "2025-01-01 to 2025-12-31"),
        ("2025-11-01", "2026-01-31", "2025-08-01 to 2025-10-31"),
        ("2026-03-10", "2026-03-10", "2026-03-09 to 2026-03-09"),
        ("2026-03-02", "2026-03-31", "2026-01-31 to 2026-03-01"),
        ("2026-03-01", "2026-03-30", "2026-01-30 to 2026-02-28"),
    ],
)
def test_ends_where_the_period_begins(first: str, last: str, before: str) -> None:
    assert str(Period(date.fromisoformat(first), date.fromisoformat(last)).before) == before
