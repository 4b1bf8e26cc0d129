"""A proof is worth what it would notice: each planted bug must make its steps fail, and no other way than by that."""

import pytest

from billing.services.charging import KeyTaken
from tests.properties.planted_bugs import BUGS, Bug
from tests.properties.scripts import follow

pytestmark = [pytest.mark.django_db, pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)]


def test_the_steps_notice(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    bug.plant(monkeypatch)
    with pytest.raises(Exception) as failure:  # noqa: PT011 - told apart below
        follow(bug.script)
    refused = _is_refused(failure.value)
    assert refused == bug.refused_by_database, failure.value
    assert refused or isinstance(failure.value, AssertionError), failure.value


def test_the_same_steps_go_through_where_no_bug_is_planted(bug: Bug) -> None:
    follow(bug.script)


def _is_refused(error: BaseException) -> bool:
    """Say whether the database refused a row: a constraint (class 23) or a trigger's RAISE (P0001), not a broken statement."""
    state = getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None) or ""
    return isinstance(error, KeyTaken) or state == "P0001" or state.startswith("23")
