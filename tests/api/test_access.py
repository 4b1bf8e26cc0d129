"""Who may call what: scopes, environments' keys, their end, their networks, their rate."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing.models import ApiKey, Project, Scope
from billing.services import keys, rate_limits
from tests.api.client import Answer, Api
from tests.api.conftest import an_event
from tests.api.test_events import refused
from tests.api.test_holds import settle
from tests.api.test_wallets import a_deposit_of

CALLS: dict[tuple[str, str], tuple[Scope, Any]] = {
    ("POST", "/events"): (Scope.METER, an_event("k1")),
    ("POST", "/events/batch"): (Scope.METER, {"events": [an_event("k2")]}),
    ("POST", "/estimate"): (Scope.METER, an_event("k3")),
    ("POST", "/events/evt_1/refund"): (Scope.METER, {"idempotency_key": "r1"}),
    ("POST", "/holds"): (Scope.METER, an_event("h1")),
    ("POST", "/holds/hold_1/capture"): (Scope.METER, {"event": "chat.reply", "idempotency_key": "k4"}),
    ("POST", "/holds/hold_1/release"): (Scope.METER, None),
    ("POST", "/holds/hold_1/extend"): (Scope.METER, {}),
    ("PUT", "/customers/ada"): (Scope.WALLETS, {}),
    ("GET", "/customers"): (Scope.WALLETS, None),
    ("GET", "/customers/user_42"): (Scope.WALLETS, None),
    ("GET", "/wallets/user_42"): (Scope.WALLETS, None),
    ("GET", "/wallets/user_42/entries"): (Scope.WALLETS, None),
    ("GET", "/wallets/user_42/lots"): (Scope.WALLETS, None),
    ("POST", "/wallets/user_42/deposit"): (Scope.WALLETS, a_deposit_of("pay_1")),
    ("POST", "/topups"): (
        Scope.TOPUPS,
        {"customer": "user_42", "pack": "nothing", "success_url": "https://example.com/thanks", "idempotency_key": "t1"},
    ),
    ("GET", "/topups/topup_1"): (Scope.TOPUPS, None),
    ("PUT", "/runs/run_1"): (Scope.METER, {}),
    ("PUT", "/jobs/job_1"): (Scope.METER, {}),
    ("PUT", "/ai-cost/budget-limit"): (Scope.BUDGETS, {"project_id": "another", "limit_dollars": "10"}),
    ("GET", "/budgets"): (Scope.BUDGETS, None),
    ("GET", "/budgets/bud_1"): (Scope.BUDGETS, None),
}
# What a right call may be told of things that are not there.
UNKNOWN = {"unknown_event", "unknown_hold", "unknown_pack", "unknown_topup", "unknown_project", "unknown_budget"}


class TestScopes:
    @pytest.mark.parametrize("scope", list(Scope))
    def test_each_call_needs_its_own(self, api: Api, key_for: Callable[..., Api], scope: Scope) -> None:
        narrow = key_for(scope)
        for (method, path), (needed, body) in CALLS.items():
            answer = narrow.send(method, path, body=body)
            if scope == needed:
                assert answer.status in {200, 201, 404}, (method, path, answer)
                assert answer.status < 400 or answer["code"] in UNKNOWN
            else:
                assert refused(answer, 403, "forbidden"), (method, path)
                assert needed in answer["detail"]

    def test_cover_every_documented_call(self, api: Api) -> None:
        from config.api import api as metering_api

        documented = {
            (method.upper(), path.removeprefix("/api/v1"), tuple(operation["security"][0]["KeyAuth"]))
            for path, operations in metering_api.get_openapi_schema()["paths"].items()
            for method, operation in operations.items()
        }
        names = {"evt_1": "{event_id}", "hold_1": "{hold_id}", "ada": "{customer}", "user_42": "{customer}"}
        names |= {"run_1": "{run_id}", "job_1": "{job_id}", "topup_1": "{topup_id}", "bud_1": "{budget_id}"}
        ours = {
            (method, "/".join(names.get(part, part) for part in path.split("/")), (str(scope),))
            for (method, path), (scope, _) in CALLS.items()
        }
        assert ours <= documented
        assert {call for call in documented if call[2] in {("meter",), ("wallets",), ("topups",), ("budgets",)}} <= ours


class TestAKey:
    @pytest.mark.parametrize(
        "authorization",
        [
            *("", "Bearer", "Bearer ", "Bearer x", "Basic dXNlcjpwYXNz", "Bearer md_live_", "Bearer md_live_a_b", "Bearer md_live_a_b_c"),
            *("Bearer md_live_\x00_b", "Bearer md_live_é_ü", "Bearer " + "x" * 9000, "Token md_live_a_b"),
        ],
    )
    def test_must_be_a_live_one(self, api: Api, authorization: str) -> None:
        answer = Api("").get("/wallets/user_42", **({"Authorization": authorization} if authorization else {}))
        assert refused(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    def test_must_be_whole(self, api: Api) -> None:
        assert refused(Api(api.token[:-1]).get("/wallets/user_42"), 401, "unauthorized")
        assert refused(Api(api.token + "x").post("/events", an_event("k1")), 401, "unauthorized")

    def test_may_be_named_in_any_case_of_the_scheme(self, api: Api) -> None:
        assert Api("").get("/wallets/user_42", Authorization=f"bearer {api.token}").status == 200

    def test_is_refused_in_the_call_after_it_was_revoked(self, api: Api, project: Project) -> None:
        assert api.post("/events", an_event("k1")).status == 201
        keys.revoke(key_id=project.api_keys.get().pk, reason="leaked", now=timezone.now())
        for answer in every_call(api, "k2"):
            assert refused(answer, 401, "unauthorized")

    def test_ends_when_it_expires(self, api: Api, project: Project) -> None:
        assert api.post("/events", an_event("k1")).status == 201
        ApiKey.objects.filter(project=project).update(expires_at=timezone.now())
        for answer in every_call(api, "k2"):
            assert refused(answer, 401, "unauthorized")

    def test_lives_beside_its_successor_as_long_as_the_rotation_says(self, api: Api, project: Project) -> None:
        key = project.api_keys.get()
        successor = Api(keys.rotate(key_id=key.pk, overlap=timedelta(hours=1), now=timezone.now()).token)
        assert (api.post("/events", an_event("k1")).status, successor.post("/events", an_event("k1")).status) == (201, 200)
        ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())
        assert refused(api.post("/events", an_event("k2")), 401, "unauthorized")
        assert successor.post("/events", an_event("k2")).status == 201

    def test_loses_a_scope_in_the_next_call(self, api: Api, project: Project) -> None:
        assert api.post("/events", an_event("k1")).status == 201
        ApiKey.objects.filter(project=project).update(scopes=["wallets"])
        assert refused(api.post("/events", an_event("k2")), 403, "forbidden")
        assert refused(api.post("/events/batch", {"events": [an_event("k3")]}), 403, "forbidden")
        assert api.get("/wallets/user_42")["balance"] == "96"

    def test_may_be_bound_to_networks(self, api: Api, key_for: Callable[..., Api]) -> None:
        bound = key_for(cidrs=["10.1.0.0/16", "2001:db8::/32"])
        for address, status in {"10.1.2.3": 201, "10.2.0.1": 403, "2001:db8::7": 200, "::1": 403, "": 403, "junk": 403}.items():
            bound.address = address
            answer = bound.post("/events", an_event("k1"))
            assert answer.status == status
            assert status < 400 or answer.is_problem
        bound.address = "10.2.0.1"
        assert refused(bound.get("/wallets/user_42", X_Forwarded_For="10.1.2.3"), 403, "forbidden")


def every_call(api: Api, key: str) -> list[Answer]:
    return [
        api.post("/events", an_event(key)),
        api.post("/events/batch", {"events": [an_event(key)]}),
        api.post("/estimate", an_event(key)),
        settle(api, "hold_1", key),
        api.get("/wallets/user_42"),
        api.put("/customers/ada", {}),
    ]


class TestTheRateLimit:
    def test_says_how_long_to_wait(self, api: Api, key_for: Callable[..., Api]) -> None:
        limited = key_for(rate_limit_per_minute=3)
        assert [limited.post("/events", an_event(f"k{number}")).status for number in range(3)] == [201] * 3
        for answer in (limited.post("/events", an_event("k4")), limited.get("/wallets/user_42")):
            assert refused(answer, 429, "rate_limited")
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert "retry_after" not in answer.json()
        assert api.get("/wallets/user_42")["balance"] == "88"

    def test_is_off_while_redis_is_away(
        self, api: Api, key_for: Callable[..., Api], settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.REDIS_URL = "redis://127.0.0.1:1/0"  # where nothing listens
        monkeypatch.setattr(rate_limits, "_asked_again_at", 0.0)
        rate_limits._limiter.cache_clear()
        try:
            limited = key_for(rate_limit_per_minute=1)
            assert [limited.post("/events", an_event(f"k{number}")).status for number in range(3)] == [201] * 3
        finally:
            rate_limits._limiter.cache_clear()
