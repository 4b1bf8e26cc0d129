"""A new version is taken up under load: the master gets SIGHUP, workers are replaced one by one, no call fails."""

import os
import signal
import time

import pytest

from tests.faults.conftest import RESPAWN_SECONDS, Site, prove
from tests.faults.load import Load

pytestmark = pytest.mark.slow


class TestAReloadUnderLoad:
    @pytest.mark.parametrize("workers", [1, 2])
    @pytest.mark.parametrize("keep_alive", [True, False])
    def test_fails_no_call(self, site: Site, workers: int, keep_alive: bool) -> None:
        with site.web(workers=workers) as web:
            before = web.workers()
            load = Load(web.port, site.fill(), threads=32, retries=False, keep_alive=keep_alive, prefix=f"reload-{workers}-{keep_alive}")
            with load:
                time.sleep(1)
                assert web.process.pid is not None
                os.kill(web.process.pid, signal.SIGHUP)
                time.sleep((RESPAWN_SECONDS + 1) * workers + 2)
            print(f"A reload, {workers} workers, keep-alive {keep_alive}:", load.summary())
            assert not set(before) & set(web.workers()), "no worker was replaced"
        prove(load.sent)
        assert not load.failures
