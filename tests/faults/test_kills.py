"""Killed web workers and a crashing database under load: nothing is lost, nothing is charged twice."""

import time

import pytest

from tests.faults.conftest import Site, prove
from tests.faults.load import Load

pytestmark = pytest.mark.slow


class TestUnderLoad:
    def test_killed_web_workers_lose_and_double_nothing(self, site: Site) -> None:
        with site.web(workers=2) as web:
            with Load(web.port, site.fill(), threads=48, prefix="kill") as load:
                for _ in range(3):
                    time.sleep(7)  # granian takes two deaths within 5.5 s for a crash loop and ends
                    web.kill_workers()
                time.sleep(7)
            print("workers killed 3 times:", load.summary())
        assert load.failures, "the kills were not felt"
        assert not load.gave_up
        prove(load.sent)

    def test_a_crashing_database_loses_and_doubles_nothing(self, site: Site) -> None:
        with site.web(workers=2) as web:
            with Load(web.port, site.fill(), threads=48, prefix="crash") as load:
                for _ in range(3):
                    time.sleep(2)
                    site.crash_database()
                time.sleep(3)
                answered = len(load.sent)
                time.sleep(1)
                assert len(load.sent) > answered, "metering did not come back"
            print("database crashed 3 times:", load.summary())
        assert load.failures.keys() <= {"503"}, load.failures
        assert load.failures, "the crashes were not felt"
        assert not load.gave_up
        prove(load.sent)
