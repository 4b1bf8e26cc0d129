"""Probes: whether the process lives, whether it can serve, what it counts."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.api.client import Api
from tests.api.conftest import an_event
from tests.billing.stripe_inbox import TEST_KEY, arrived
from tests.stripe_objects import SECRET


class TestProbes:
    def test_need_no_key_and_no_host_name(self, api: Api) -> None:
        probe = Api("", headers={"Host": "10.1.2.3:8000"})
        assert probe.get("/healthz").json() == {"status": "ok"}
        answer = probe.get("/readyz")
        checks = {"database": "ok", "redis": "ok", "deposits": "ok", "stripe": "ok"}
        assert (answer.status, answer.json()) == (200, {"status": "ok", "checks": checks})

    def test_name_a_queue_that_nobody_works_off(self, api: Api, settings: Any) -> None:
        settings.STRIPE_API_KEY, settings.STRIPE_WEBHOOK_SECRETS = TEST_KEY, [SECRET]
        arrived(now=timezone.now() - timedelta(seconds=150))
        answer = Api("").get("/readyz")
        assert answer.status == 200
        assert re.match(r"the oldest event waits for 1[56]\d s: .* queue deposits\?", answer["checks"]["deposits"])
        assert answer["checks"]["stripe"] == "ok"

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
    def test_are_only_read(self, api: Api, path: str) -> None:
        answer = Api("").post(path, {})
        assert answer.is_problem
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


class TestMetrics:
    def test_count_events_by_how_they_ended(self, api: Api) -> None:
        def count(result: str) -> float:
            lines = Api("").get("/metrics").body.decode().splitlines()
            return sum(float(line.split()[-1]) for line in lines if line.startswith(f'meterdesk_events_total{{result="{result}"}}'))

        before = count("charged"), count("insufficient_credits")
        api.post("/events", an_event("k1"))
        api.post("/events", an_event("k2", quantity="99"))
        assert (count("charged"), count("insufficient_credits")) == (before[0] + 1, before[1] + 1)

    def test_are_for_this_machine_only(self, api: Api) -> None:
        assert Api("", address="10.1.2.3").get("/metrics").status == 404
        assert Api("", address="10.1.2.3").get("/metrics").is_problem
        assert Api("").get("/metrics", X_Forwarded_For="10.1.2.3").status == 404
        assert Api("", address="::1").get("/metrics").status == 200

    def test_are_for_whoever_holds_the_token(self, api: Api, settings: Any) -> None:
        settings.METRICS_TOKEN = "t0ken"
        assert Api("t0ken", address="10.1.2.3").get("/metrics").status == 200
        for token in ("", "other", "é"):
            assert Api(token).get("/metrics").status == 404
