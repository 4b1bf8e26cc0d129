"""`/customers`: made and changed by the app's own pseudonymous id."""

from collections.abc import Callable

import pytest

from billing.models import Environment
from tests.api.client import Api
from tests.api.test_events import refused
from tests.api.test_wallets import WALLET, pages

CUSTOMER = {"customer", "environment", "name", "plan", "email", "metadata", "created_at", "wallet"}


class TestACustomer:
    def test_is_made_with_an_empty_wallet(self, api: Api) -> None:
        facts = {"name": "Ada", "plan": "pro", "email": "ada@example.com", "metadata": {"crm": "17"}}
        answer = api.put("/customers/ada", facts)
        assert answer.status == 201
        assert set(answer.json()) == CUSTOMER
        assert set(answer["wallet"]) == WALLET
        assert {name: answer[name] for name in facts} == facts
        assert (answer["customer"], answer["environment"], answer["wallet"]["balance"]) == ("ada", "production", "0")
        assert api.get("/customers/ada").json() == answer.json()

    def test_keeps_what_is_left_out(self, api: Api) -> None:
        api.put("/customers/ada", {"name": "Ada", "plan": "pro"})
        answer = api.put("/customers/ada", {"plan": "team", "name": None})
        assert (answer.status, answer["name"], answer["plan"]) == (200, "Ada", "team")
        assert api.put("/customers/ada", {}).json() == answer.json()
        assert api.put("/customers/ada", {"name": ""})["name"] == ""

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("name", "x" * 201), ("name", "a\u0000b"), ("name", 7), ("plan", "é"), ("email", "no address"), ("email", "a@b")),
            *(("metadata", {"prompt": "x"}), ("metadata", {"a": [1]}), ("metadata", {f"k{n}": n for n in range(21)}), ("balance", "1")),
        ],
    )
    def test_refuses_a_wrong_field_by_name(self, api: Api, field: str, value: object) -> None:
        answer = api.put("/customers/ada", {field: value})
        assert refused(answer, 422, "invalid_request")
        assert answer["errors"][0]["field"] == field
        assert refused(api.get("/customers/ada"), 404, "unknown_customer")

    @pytest.mark.parametrize("customer", ["a b", "%C3%A9", "x" * 129, "%00"])
    def test_has_an_id_of_printable_ascii(self, api: Api, customer: str) -> None:
        answer = api.put(f"/customers/{customer.replace(' ', '%20')}", {})
        assert refused(answer, 422, "invalid_request")
        assert answer["errors"][0]["field"] == "customer"

    def test_is_another_one_in_another_environment(self, api: Api, key_for: Callable[..., Api]) -> None:
        staging = key_for(environment=Environment.STAGING)
        assert refused(staging.get("/customers/user_42"), 404, "unknown_customer")
        assert staging.get("/customers").json() == {"data": [], "next_cursor": None}
        assert staging.put("/customers/user_42", {}).status == 201
        assert staging.get("/wallets/user_42")["balance"] == "0"
        assert api.get("/wallets/user_42")["balance"] == "100"

    def test_is_listed_once_newest_first(self, api: Api) -> None:
        for number in range(5):
            api.put(f"/customers/c{number}", {})
        names = ["c4", "c3", "c2", "c1", "c0", "user_42"]
        for limit in (1, 2, 3, 6, 200):
            rows = pages(api, "/customers", limit)
            assert [row["customer"] for row in rows] == names
            assert all(set(row) == CUSTOMER for row in rows)
