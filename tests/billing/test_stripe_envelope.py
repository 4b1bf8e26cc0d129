"""What is let in at the webhook, and what is told to whoever sent something else."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.stripe_envelope import MAX_BYTES, InvalidSignature, NotAnEvent, TooLarge, read, verify
from tests.stripe_objects import SECRET, body_of, charge, event, signature

NOW = datetime(2026, 5, 4, 10, tzinfo=UTC)
BODY = body_of(event("charge.updated", charge()))


def at(seconds: int) -> int:
    return int((NOW + timedelta(seconds=seconds)).timestamp())


class TestASignature:
    def test_is_that_of_the_bytes_under_one_of_the_secrets(self) -> None:
        verify(BODY, signature(BODY, at=at(0)), secrets=["whsec_new", SECRET], now=NOW)

    def test_may_stand_beside_those_of_other_secrets_and_schemes(self) -> None:
        stamp, _, right = signature(BODY, at=at(0)).partition(",")
        verify(BODY, f"{stamp}, v0=abc, v1={'0' * 64}, {right}", secrets=[SECRET], now=NOW)

    @pytest.mark.parametrize("seconds", [-300, 300])
    def test_may_be_five_minutes_off(self, seconds: int) -> None:
        verify(BODY, signature(BODY, at=at(seconds)), secrets=[SECRET], now=NOW)

    @pytest.mark.parametrize("seconds", [-301, 301, 86_400])
    def test_is_refused_when_it_is_older_or_from_the_future(self, seconds: int) -> None:
        with pytest.raises(InvalidSignature, match="more than 300 seconds"):
            verify(BODY, signature(BODY, at=at(seconds)), secrets=[SECRET], now=NOW)

    def test_is_refused_for_other_bytes_another_second_or_another_secret(self) -> None:
        right = signature(BODY, at=at(0))
        for body, header, secret in [
            (BODY + b" ", right, SECRET),
            (BODY, right.replace(f"t={at(0)}", f"t={at(1)}"), SECRET),
            (BODY, right, "whsec_other"),
            (BODY, right.replace("v1=", "v0="), SECRET),
            (BODY, right[:-1], SECRET),
        ]:
            with pytest.raises(InvalidSignature):
                verify(body, header, secrets=[secret], now=NOW)

    @pytest.mark.parametrize(
        "header", ["", "t=", "t=1", "v1=abc", "t=x,v1=a", "t=-1,v1=a", f"t={'9' * 5000},v1=a", "t=\u0661,v1=a", "é", "t=1,v1=é", ",,,="]
    )
    def test_that_is_none_is_told_as_such(self, header: str) -> None:
        with pytest.raises(InvalidSignature):
            verify(BODY, header, secrets=[SECRET], now=NOW)

    def test_opens_nothing_without_a_secret(self) -> None:
        with pytest.raises(InvalidSignature):
            verify(BODY, signature(BODY, at=at(0)), secrets=[], now=NOW)


class TestAnEnvelope:
    def test_tells_what_the_event_says_of_itself(self) -> None:
        about = charge()
        found = read(body_of(event("charge.updated", about, id="evt_1", created=at(0), livemode=True)))
        assert (found.event_id, found.type, found.is_live, found.object_id, found.happened_at) == (
            *("evt_1", "charge.updated", True, about["id"], NOW),
        )

    def test_of_something_without_an_id_has_no_object(self) -> None:
        assert read(body_of(event("balance.available", {"object": "balance"}))).object_id == ""

    def test_of_another_version_of_the_api_is_read_as_well(self) -> None:
        assert read(body_of(event("charge.updated", charge(), api_version="2019-02-19"))).api_version == "2019-02-19"
        assert read(body_of(event("charge.updated", charge(), api_version=None))).api_version == ""

    @pytest.mark.parametrize(
        "body",
        [
            *(b"", b"\xff", b"\x1f\x8b\x08\x00", b"{", b"[]", b"null", b"1", b'"x"', b"{}", b"\xef\xbb\xbf" + BODY, BODY + b"x"),
            *(BODY.replace(b'"usd"', b'"\\ud800"'), BODY.replace(b'"usd"', b"NaN"), BODY.replace(b'"usd"', b"9" * 5000)),
            *(BODY.replace(b'"usd"', b"[" * 900 + b"]" * 900), BODY.replace(b'"usd"', b'"a\x00b"'), b"[" * 100_000),
            BODY.decode().encode("utf-16"),
        ],
    )
    def test_of_what_is_no_event_is_refused(self, body: bytes) -> None:
        with pytest.raises(NotAnEvent):
            read(body)

    @pytest.mark.parametrize(
        "wrong",
        [
            *({"object": "v2.core.event"}, {"id": None}, {"id": ""}, {"id": "e" * 10_000}, {"id": "evt 1"}, {"id": "évt"}, {"id": 1}),
            *({"type": None}, {"type": "x" * 101}, {"type": "a\x00b"}, {"type": []}, {"livemode": None}, {"livemode": "false"}),
            *({"created": None}, {"created": True}, {"created": 1.5}, {"created": -1}, {"created": 10**40}, {"created": "1"}),
            *({"data": None}, {"data": []}, {"data": {}}, {"data": {"object": "ch_1"}}, {"data": {"object": {"id": "x" * 300}}}),
            *({"data": {"object": {"id": {}}}}, {"api_version": 1}, {"api_version": "x" * 41}),
        ],
    )
    def test_of_an_event_with_something_wrong_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(NotAnEvent):
            read(json.dumps({**event("charge.updated", charge()), **wrong}).encode())

    def test_has_room_for_half_a_megabyte(self) -> None:
        big = event("charge.updated", charge(), data={"object": {"id": "ch_1", "description": "x" * (MAX_BYTES - 500)}})
        assert read(json.dumps(big).encode()).object_id == "ch_1"
        with pytest.raises(TooLarge):
            read(json.dumps(big).encode() + b" " * 500)
