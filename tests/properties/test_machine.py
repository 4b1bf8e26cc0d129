"""Every command in any order: the database and the wallets on paper agree, entry by entry, after each step."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.machine import Machine

pytestmark = pytest.mark.django_db

PROFILE = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    # A failure is told at once; let the longer profile make it small.
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def test_the_company_and_its_books_on_paper_agree() -> None:
    run_state_machine_as_test(Machine, settings=PROFILE)


@pytest.mark.slow
def test_the_same_for_longer_and_at_random() -> None:
    longer = settings(PROFILE, max_examples=60, stateful_step_count=50, derandomize=False, phases=[Phase.generate, Phase.shrink])
    run_state_machine_as_test(Machine, settings=longer)
