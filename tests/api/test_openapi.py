"""The API describes itself, in full, and the page that shows it needs nothing from elsewhere."""

import json
import re
from typing import Any

import pytest

from tests.api.client import Api, call


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    answer = Api("").get("/openapi.json")
    assert answer.status == 200
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{method.upper()} {path}", it) for path, its in document["paths"].items() for method, it in its.items()]


class TestTheDocument:
    def test_declares_every_refusal_as_a_problem(self, document: dict[str, Any]) -> None:
        for name, operation in operations(document):
            statuses = set(operation["responses"])
            assert {"401", "403", "422", "429", "500", "503"} <= statuses, name
            assert statuses & {"200", "201"}, name
            if "requestBody" in operation:
                assert {"400", "411", "413", "415"} <= statuses, name
            for status, answer in operation["responses"].items():
                assert "X-Request-ID" in answer["headers"], name
                kind = "application/json" if status < "400" else "application/problem+json"
                assert list(answer["content"]) == [kind], (name, status)
                assert "$ref" in answer["content"][kind]["schema"], (name, status)
            assert "Retry-After" in operation["responses"]["503"]["headers"]

    def test_says_what_each_call_is_and_needs(self, document: dict[str, Any]) -> None:
        assert document["components"]["securitySchemes"]["KeyAuth"]["scheme"] == "bearer"
        for name, operation in operations(document):
            assert operation["summary"], name
            assert operation["description"], name
            assert operation["security"][0]["KeyAuth"], name

    def test_shows_an_example_of_every_body(self, document: dict[str, Any]) -> None:
        for name, operation in operations(document):
            if "requestBody" in operation:
                assert operation["requestBody"]["content"]["application/json"]["example"], name

    def test_names_the_key_that_makes_a_call_repeatable(self, document: dict[str, Any]) -> None:
        with_header = {name for name, it in operations(document) if any(p["name"] == "Idempotency-Key" for p in it["parameters"])}
        root = "POST /api/v1"
        assert with_header >= {f"{root}/events", f"{root}/events/{{event_id}}/refund", f"{root}/holds", f"{root}/holds/{{hold_id}}/capture"}
        assert f"{root}/events/batch" not in with_header

    def test_resolves_every_reference(self, document: dict[str, Any]) -> None:
        for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
            assert name in document["components"]["schemas"]

    def test_says_that_input_tokens_include_cached_ones(self, document: dict[str, Any]) -> None:
        assert "including" in document["components"]["schemas"]["UsageIn"]["properties"]["input_tokens"]["description"]


class TestThePage:
    def test_loads_only_our_own_files(self, api: Api) -> None:
        answer = Api("").get("/docs")
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/html")
        page = answer.body.decode()
        addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(addresses) >= 3
        for address in addresses:
            assert address.startswith("/static/")
            assert call("GET", address, b"", {"Host": "localhost"}).status == 200
        assert "<script>" not in page
        assert "style=" not in page

    def test_has_a_policy_of_its_own(self, api: Api) -> None:
        policy = Api("").get("/docs").headers["Content-Security-Policy"]
        assert "script-src 'self';" in policy
        assert "connect-src 'self'" in policy
        assert "unsafe-eval" not in policy
