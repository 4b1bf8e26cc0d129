"""A proof is worth what it would notice: each planted bug must make the machine fail, and no other way than by that."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from billing.services.charging import KeyTaken
from tests.properties.machine import Machine
from tests.properties.planted_bugs import BUGS, Bug
from tests.properties.test_machine import PROFILE, follow

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_machine_notices(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    bug.plant(monkeypatch)
    with pytest.raises(Exception) as failure:  # noqa: PT011 - which one is told apart below
        _run(bug)
    assert isinstance(failure.value, AssertionError | KeyTaken) or _is_refusal(failure.value), failure.value


def _run(bug: Bug) -> None:
    if bug.script:
        follow(bug.script)
    else:
        run_state_machine_as_test(Machine, settings=settings(PROFILE, max_examples=150, stateful_step_count=40, print_blob=False))


def _is_refusal(error: BaseException) -> bool:
    """Say whether the database refused a row: a constraint (class 23) or a trigger's RAISE (P0001), not a broken statement."""
    state = getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None) or ""
    return state == "P0001" or state.startswith("23")
