"""A corpus of requests that nobody should send. Seeded: the number of a request makes the same request again."""

import gzip
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.api.conftest import an_event
from tests.api.test_access import CALLS

SEED = 20261120
COUNT = 10_000

NASTY_TEXT = [
    *("\x00", "a\x00b", "\ud800", "\udfff\ud800", "\u202e", "\ufeff", "é" * 65, "x" * 129, "x" * 100_000, "", " ", "\n", "a\nb", "\x7f"),
    *(
        "'; DROP TABLE billing_wallet; --",
        "<script>alert(1)</script>",
        "{{7*7}}",
        "../../etc/passwd",
        "١٢٣",
        "\U0001d7d9",
        "½",
        "null",
        "None",
    ),
]
NASTY_NUMBERS = [
    *(-1, -(2**63), 2**63, 2**64, 10**40, 1.5, -0.0, 1e308, 1e-320, 10**15),
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e5",
        "1E+5",
        "0x10",
        "1_000",
        " 1",
        "1 ",
        "+1",
        "--1",
        ".5",
        "1.",
        "1,5",
        "0.0000000000001",
        "9" * 40,
    ),
]
NASTY_TIMES = [
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2014-12-31T23:59:59Z", "2100-01-01T00:00:00Z", "2026-02-30T00:00:00Z"),
    *(
        "2026-11-20T24:00:01Z",
        "2026-11-20T10:00:00",
        "2026-11-20",
        "10:00",
        "2026-11-20T10:00:00+99:00",
        "2026-W47-5",
        "٢٠٢٦-11-20T10:00:00Z",
    ),
]
NASTY_SHAPES: list[Any] = [None, True, False, [], {}, [[]], {"a": 1}, ["a"], 0, ""]
DECIMALS = {"quantity", "credits", "amount", "provider_cost", "video_seconds", "limit_dollars"}
TIMES = {"occurred_at", "expires_at", "started_at", "ended_at"}
# Right bodies: one thing in them is made wrong.
BODIES: dict[str, dict[str, Any]] = {
    "/events": an_event("bad", quantity="1", occurred_at="2026-11-20T10:00:00Z", provider_cost="1", trace_id="t"),
    "/estimate": an_event("bad", quantity="1", occurred_at="2026-11-20T10:00:00Z"),
    "/events/evt_1/refund": {"idempotency_key": "bad", "credits": "1", "reason": "x"},
    "/holds": an_event("bad", quantity="1", expires_in=60),
    "/holds/hold_1/capture": {"event": "chat.reply", "idempotency_key": "bad", "quantity": "1", "overage": "refuse"},
    "/holds/hold_1/extend": {"expires_in": 60},
    "/customers/ada": {"name": "Ada", "plan": "pro", "email": "ada@example.com", "metadata": {}},
    "/wallets/user_42/deposit": {
        "credits": "1",
        "amount": "1",
        "currency": "USD",
        "payment_id": "p",
        "idempotency_key": "bad",
        "expires_at": "2099-01-01T00:00:00Z",
        "promotional": True,
        "metadata": {},
    },
    "/topups": {
        "customer": "user_42",
        "amount": "1",
        "currency": "USD",
        "success_url": "https://example.com/thanks",
        "cancel_url": "https://example.com/credits",
        "idempotency_key": "bad",
    },
    "/runs/run_1": {"trigger": "push", "status": "running", "started_at": "2026-11-20T10:00:00Z", "ended_at": "2026-11-20T11:00:00Z"},
    "/jobs/job_1": {"run_id": "r", "agent_type": "x", "status": "queued", "started_at": "2026-11-20T10:00:00Z"},
    "/ai-cost/budget-limit": {"project_id": "another", "limit_dollars": "10"},
}
GROUPS = {
    "usage": ("input_tokens", "output_tokens", "cache_read_tokens", "images", "requests", "video_seconds", "provider", "model"),
    "route": ("endpoint", "batch", "fallbacks", "modality"),
    "outcome": ("status", "status_code", "latency_ms", "accepted"),
    "owner": ("workflow", "run_id", "user", "cost_center"),
}
# Free text, which takes most of NASTY_TEXT.
HARMLESS = {"name", "reason"}


@dataclass
class Bad:
    """One request that must be refused."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


def corpus(token: str, seed: int = SEED, count: int = COUNT) -> Iterator[Bad]:
    """Make `count` bad requests over all calls, of every kind in turn."""
    kinds = (
        _wrong_field,
        _wrong_group,
        _unknown_field,
        _missing_fields,
        _wrong_body,
        _wrong_path,
        _wrong_query,
        _wrong_key,
        _wrong_framing,
    )
    for number in range(count):
        pick = random.Random(f"{seed}-{number}")
        request = kinds[number % len(kinds)](pick)
        request.headers.setdefault("Authorization", f"Bearer {token}")
        if request.body:
            request.headers.setdefault("Content-Type", "application/json")
        if pick.random() < 0.1:
            request.headers["X-Request-ID"] = pick.choice(["\x00", "x" * 500, "\r\nSet-Cookie: a=b", "é"])
        yield request


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _target(pick: random.Random) -> tuple[str, str, dict[str, Any]]:
    path = pick.choice(list(BODIES))
    method = next(method for method, known in CALLS if known == path)
    return method, path, dict(BODIES[path])


def _wrong_field(pick: random.Random) -> Bad:
    method, path, body = _target(pick)
    name = pick.choice(list(body))
    body[name] = _wrong_value(pick, name)
    return Bad(method, path, _dump(body))


def _wrong_value(pick: random.Random, name: str) -> Any:  # noqa: PLR0911 - one answer per sort of field
    """A value that no field of this name takes."""
    if name in TIMES:
        return pick.choice([*NASTY_TIMES, *NASTY_TEXT, 0, 1.5, True, [], {}])
    if name in DECIMALS:
        return pick.choice([*NASTY_NUMBERS, *NASTY_TEXT, True, [], {}, "-1", "100000000000000"])
    if name == "promotional":
        return pick.choice([*NASTY_TEXT, *NASTY_NUMBERS, None, [], {}, 1, 0, "true"])
    if name == "expires_in":
        return pick.choice([*NASTY_TEXT, *NASTY_NUMBERS, None, [], {}, True, 0, 604801, "60"])
    if name == "metadata":
        deep: dict[str, Any] = {}
        for _ in range(pick.randint(1, 50)):
            deep = {"a": deep}
        return pick.choice(
            [
                *(
                    "",
                    "x",
                    1,
                    True,
                    [],
                    deep,
                    {"prompt": "x"},
                    {"a b": 1},
                    {"é": 1},
                    {"": 1},
                    {"a": "\x00"},
                    {"a": "\ud800"},
                    {"a": 10**20},
                ),
                {"a": [1]},
                {"a": "x" * 501},
                {f"k{n}": n for n in range(21)},
                {"x" * 41: 1},
            ]
        )
    if name in HARMLESS:
        return pick.choice(["\x00", "a\x00b", "\ud800", "x" * 501, "\x7f", 1, 1.5, True, [], {}, ["a"]])
    texts = [text for text in NASTY_TEXT if not text.isascii() or not text.isprintable() or len(text) > 128 or "\n" in text]
    return pick.choice([*texts, -1, 1.5, True, [], {}, ["a"], 2**64])


def _wrong_group(pick: random.Random) -> Bad:
    path = pick.choice(["/events", "/estimate", "/holds/hold_1/capture"])
    body = dict(BODIES[path])
    group = pick.choice(list(GROUPS))
    if pick.random() < 0.2:
        body[group] = pick.choice([1, "x", [], True, [{}]])
    else:
        name = pick.choice(GROUPS[group])
        counts = [-1, 1.5, "1", True, 2**63, 10**40, None, [], {}]
        body[group] = {
            name: _wrong_value(pick, name) if name in DECIMALS else pick.choice([[], {}, "\x00", "x" * 129, "é", -1.5, *counts[:2]])
        }
        if name == "input_tokens" and pick.random() < 0.5:
            body[group] = {"input_tokens": 5, pick.choice(["cache_read_tokens", "audio_input_tokens"]): 6}
    return Bad("POST", path, _dump(body))


def _unknown_field(pick: random.Random) -> Bad:
    method, path, body = _target(pick)
    name = pick.choice(
        ["prompt", "messages", "content", "completion", "__proto__", "constructor", "id", "balance", "price", "", "\x00", "é", "event "]
    )
    body[name] = pick.choice([*NASTY_TEXT[:10], *NASTY_SHAPES])
    return Bad(method, path, _dump(body))


def _missing_fields(pick: random.Random) -> Bad:
    path = pick.choice(["/events", "/holds", "/wallets/user_42/deposit", "/holds/hold_1/capture", "/topups"])
    body = dict(BODIES[path])
    needed = {"event", "customer", "idempotency_key", "credits", "amount", "currency", "payment_id", "success_url"}
    required = [name for name in body if name in needed]
    if path == "/events":
        required.remove("customer")  # internal usage has none
    for name in pick.sample(required, pick.randint(1, len(required))):
        if pick.random() < 0.5:
            del body[name]
        else:
            body[name] = None
    return Bad("POST", path, _dump(body))


def _wrong_body(pick: random.Random) -> Bad:
    method, path, body = _target(pick)
    whole = _dump(body)
    depth = pick.choice([10, 1_000, 100_000])
    return Bad(
        method,
        path,
        pick.choice(
            [
                *(
                    b"\xff",
                    b"\x00",
                    b"{",
                    b"}",
                    b"{}{}",
                    b"[]",
                    b"null",
                    b"1",
                    b'"x"',
                    b"{'event': 1}",
                    b"{,}",
                    b'{"a": 01}',
                    b'{"a": NaN}',
                ),
                *(whole[: pick.randint(1, len(whole) - 1)], whole + b"x", whole.replace(b'"', b"'"), whole.decode().encode("utf-16")),
                *(
                    b"\xef\xbb\xbf" + whole,
                    whole[:-1] + b', "x": "\xc3\x28"}',
                    whole[:-1] + b"," + whole[1:],
                    whole[:-1] + b', "x": Infinity}',
                ),
                *(b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth, b'{"a": ' + b"1" * 5_000 + b"}", b" " * 2_000_001),
            ]
        ),
    )


def _wrong_path(pick: random.Random) -> Bad:
    junk = pick.choice(
        [
            *(
                "..",
                "%2e%2e",
                "..%2f..%2fetc%2fpasswd",
                "%00",
                "%ff",
                "%c3%28",
                "é",
                "a b",
                "x" * 5_000,
                "%F0%9F%92%A9",
                "'",
                "<b>",
                "%0d%0aX-A:b",
            ),
            *("evt_", "evt_-1", "evt_1.5", "evt_99999999999999999999", "hold_٣", "9" * 30, "nobody", "*", "%2A", "\\"),
        ]
    )
    path = pick.choice(
        [
            "/customers/{}/x",
            "/wallets/{}",
            "/wallets/{}/entries",
            "/wallets/{}/lots",
            "/events/{}/refund",
            "/holds/{}/release",
            "/{}",
            "/holds/{}/capture",
            "/topups/{}",
        ]
    ).format(junk)
    method = "POST" if path.endswith(("refund", "release", "capture")) else "GET"
    body = {"idempotency_key": "bad"} | ({"event": "chat.reply"} if path.endswith("capture") else {})
    return Bad(method, path.encode().decode("latin-1"), _dump(body) if method == "POST" else b"")


def _wrong_query(pick: random.Random) -> Bad:
    path = pick.choice(["/customers", "/wallets/user_42/entries", "/wallets/user_42/lots", "/budgets"])
    name = pick.choice(["limit", "cursor", "offset", "", "limit[]", "cursor[$gt]", "__proto__"])
    value = pick.choice(["-1", "0", "201", "9" * 400, "1.5", "NaN", "%00", "%ff", "abc", "%F0%9F%92%A9", "1'", "ten", "LTE=", "%C3%28"])
    query = pick.choice(
        [f"{name}={value}", f"limit=1&limit=2&{name}={value}", f"{name}={value}&{name}={value}", "&".join(f"p{n}=1" for n in range(1500))]
    )
    return (
        Bad(pick.choice(["GET", "GET", "GET", "DELETE", "PATCH", "TRACE", "FOO"]), f"{path}?{query}", b"")
        if name or "p1" in query
        else _wrong_path(pick)
    )


def _wrong_key(pick: random.Random) -> Bad:
    method, path, body = _target(pick)
    authorization = pick.choice(
        [
            "",
            "Bearer",
            "Bearer \x00",
            "Bearer md_live_\x00_\x00",
            "Bearer " + "x" * 20000,
            "Basic e30=",
            "Bearer md_live_abc_def",
            "Bearer é",
            "ÿ",
            "Bearer md_live_' OR 1=1 --_x",
            "Digest a=b",
            "Bearer null",
            "bearer  md_live_a_b",
        ]
    )
    return Bad(method, path, _dump(body), {"Authorization": authorization})


def _wrong_framing(pick: random.Random) -> Bad:
    method, path, body = _target(pick)
    whole = _dump(body)
    choice = pick.randrange(5)
    if choice == 0:
        kinds = [
            "text/plain",
            "application/xml",
            "multipart/form-data; boundary=x",
            "application/json; charset=utf-16",
            "\x00",
            "é",
            "json",
        ]
        return Bad(method, path, whole, {"Content-Type": pick.choice(kinds)})
    if choice == 1:  # shorter than announced
        return Bad(method, path, whole, length=len(whole) + pick.randint(1, 10_000))
    if choice == 2:  # longer than announced
        return Bad(method, path, whole, length=pick.randint(1, len(whole) - 1))
    if choice == 3:
        return Bad(method, path, whole, length=pick.choice([2_000_001, 2**31, 2**63, 10**50]))
    if "idempotency_key" not in body or path == "/estimate":
        return _wrong_key(pick)
    return Bad(method, path, whole, {"Idempotency-Key": pick.choice(["\x00", "x" * 129, "a b", "é", "other"])})


def bad_stripe_posts(event: dict[str, Any], sign: Callable[[bytes], str], seed: int = SEED, count: int = 1_000) -> Iterator[Bad]:
    """Make `count` posts to `/stripe/webhook` that must be refused: whatever a right signature vouches for, and wrong ones."""
    kinds = (_wrong_stripe_field, _wrong_stripe_field, _wrong_stripe_body, _wrong_stripe_signature, _wrong_stripe_framing)
    for number in range(count):
        pick = random.Random(f"{seed}-stripe-{number}")
        post = kinds[number % len(kinds)](pick, event)
        post.headers = {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": sign(post.body)} | post.headers
        yield post


def _wrong_stripe_field(pick: random.Random, event: dict[str, Any]) -> Bad:
    wrong: dict[str, list[Any]] = {
        "id": [*(text for text in NASTY_TEXT if not re.fullmatch("[!-~]{1,255}", text)), *NASTY_SHAPES, 1, "e" * 10_000],
        "type": [*(text for text in NASTY_TEXT if not re.fullmatch("[!-~]{1,100}", text)), *NASTY_SHAPES, 1.5],
        "object": [*NASTY_TEXT, *NASTY_SHAPES, "v2.core.event", "charge"],
        "livemode": [*NASTY_TEXT, *NASTY_NUMBERS, None, [], {}, 0, 1],
        "created": [*NASTY_TEXT, *NASTY_TIMES, -1, 0, 1.5, 2**63, 10**40, True, None, [], {}],
        "data": [*NASTY_TEXT, *NASTY_SHAPES, {"object": None}, {"object": []}, {"object": "ch_1"}, {"object": {"id": "x" * 10_000}}],
        "api_version": ["x" * 10_000, 1, 1.5, [], {}, True, "a b", "\x00", "é"],
    }
    name = pick.choice(list(wrong))
    body = {**event, name: pick.choice(wrong[name])}
    if pick.random() < 0.2 and name != "api_version":
        del body[name]
    return Bad("POST", "/stripe/webhook", _dump(body))


def _wrong_stripe_body(pick: random.Random, event: dict[str, Any]) -> Bad:
    whole = _dump(event)
    depth = pick.choice([10, 1_000, 100_000])
    inner = b'"a": ' + b"[" * 900 + b"]" * 900
    bodies = [
        *(b"", b"\xff", b"\x00", b"{", b"[]", b"null", b"1", b'"x"', b"{}{}", b'{"object": "event"}', b" " * 600_000),
        *(
            whole[: pick.randint(1, len(whole) - 1)],
            whole + b"x",
            b"\xef\xbb\xbf" + whole,
            whole.decode().encode("utf-16"),
            gzip.compress(whole),
        ),
        *(
            b"[" * depth,
            b'{"a":' * depth,
            b"{" + inner + b"," + whole[1:],
            whole[:-1] + b', "x": NaN}',
            whole[:-1] + b', "x": ' + b"9" * 5_000 + b"}",
        ),
        *(whole[:-1] + b', "x": "\\ud800"}', whole[:-1] + b', "x": "\xed\xa0\x80"}', whole[:-1] + b', "x": "\xc3\x28"}'),
        whole[:-1] + b', "x": "' + b"x" * 600_000 + b'"}',
    ]
    return Bad("POST", "/stripe/webhook", pick.choice(bodies))


def _wrong_stripe_signature(pick: random.Random, event: dict[str, Any]) -> Bad:
    headers = [
        *("", "t=", "v1=", "t=1,v1=", "t=1,v1=abc", "t=abc,v1=abc", "é", "\x00", "t=1", ",,,", "=", "t=-1,v1=a", "t=1e9,v1=a"),
        *(f"t={'9' * 5_000},v1=a", f"t={2**63},v1={'0' * 64}", "v1=é,t=1", "x" * 20_000, "t=1," + ",".join(["v1=a"] * 2_000)),
    ]
    return Bad("POST", "/stripe/webhook", _dump(event), {"Stripe-Signature": pick.choice(headers)})


def _wrong_stripe_framing(pick: random.Random, event: dict[str, Any]) -> Bad:
    whole = _dump(event)
    choice = pick.randrange(4)
    if choice == 0:
        return Bad(pick.choice(["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "BREW"]), "/stripe/webhook", whole)
    if choice == 1:
        kinds = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json; charset=utf-16"]
        return Bad("POST", "/stripe/webhook", whole, {"Content-Type": pick.choice(kinds)})
    if choice == 2:
        return Bad("POST", "/stripe/webhook", whole, length=pick.choice([len(whole) - 1, 2_000_001, 2**63, 10**50]))
    return Bad("POST", pick.choice(["/stripe", "/stripe/", "/stripe/webhook/", "/stripe/webhook/x", "/Stripe/webhook"]), whole)
