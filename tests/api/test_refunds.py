"""`POST /events/{id}/refund`: whole or in part, to the lots that the credits came from."""

from collections.abc import Callable

from billing.models import Environment, Wallet
from tests.api.client import Api
from tests.api.conftest import an_event
from tests.api.test_events import refused
from tests.api.test_wallets import ENTRY


class TestARefund:
    def test_gives_back_what_is_left_of_the_charge(self, api: Api, wallet: Wallet) -> None:
        event = api.post("/events", an_event("k1"))["id"]
        answer = api.post(f"/events/{event}/refund", {"idempotency_key": "r1", "credits": "1.5", "reason": "Slow answer"})
        assert answer.status == 201
        assert set(answer.json()) == {"entries", "balance", "available", "replayed"}
        assert (answer["balance"], answer["available"], answer["replayed"]) == ("97.5", "97.5", False)
        [entry] = answer["entries"]
        assert set(entry) == ENTRY
        facts = ("kind", "credits", "lot", "event", "event_id", "reason", "balance_after")
        lot = f"lot_{wallet.lots.get().pk}"
        assert [entry[name] for name in facts] == ["refund", "1.5", lot, "chat.reply", event, "Slow answer", "97.5"]
        rest = api.post(f"/events/{event}/refund", {"idempotency_key": "r2"})
        assert (rest["entries"][0]["credits"], rest["balance"]) == ("2.5", "100")
        answer = api.post(f"/events/{event}/refund", {"idempotency_key": "r3"})
        assert refused(answer, 422, "refund_exceeds_charge")
        assert answer["refundable"] == "0"

    def test_again_is_the_same_refund(self, api: Api) -> None:
        event = api.post("/events", an_event("k1"))["id"]
        body = {"idempotency_key": "r1", "credits": "1"}
        first, again = api.post(f"/events/{event}/refund", body), api.post(f"/events/{event}/refund", body)
        assert (first.status, again.status, again.headers["Idempotent-Replayed"]) == (201, 200, "true")
        assert again.body == first.body.replace(b'"replayed":false', b'"replayed":true')
        assert refused(api.post(f"/events/{event}/refund", body | {"credits": "2"}), 422, "idempotency_mismatch")
        assert refused(api.post("/events", an_event("r1")), 422, "idempotency_mismatch")

    def test_of_nothing_is_refused(self, api: Api, key_for: Callable[..., Api]) -> None:
        event = api.post("/events", an_event("k1"))["id"]
        for wrong in ("evt_1", "evt_999999999999999999", "evt_9999999999999999999", "lot_1", "evt_٣", "evt_-1"):
            assert refused(api.post(f"/events/{wrong}/refund", {"idempotency_key": "r1"}), 404, "unknown_event")
        staging = key_for(environment=Environment.STAGING)
        assert refused(staging.post(f"/events/{event}/refund", {"idempotency_key": "r1"}), 404, "unknown_event")
        answer = api.post(f"/events/{event}/refund", {"idempotency_key": "r1", "credits": "5"})
        assert refused(answer, 422, "refund_exceeds_charge")
        assert refused(api.post(f"/events/{event}/refund", {}), 422, "invalid_request")
