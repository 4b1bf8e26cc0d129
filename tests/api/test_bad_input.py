"""Ten thousand requests that nobody should send: each is refused as a problem, and none leaves a trace.

A failure names the number of its request in the corpus.
"""

from collections import Counter
from typing import Any

import pytest

from tests.api.bad_requests import COUNT, corpus
from tests.api.client import Answer, Api, call
from tests.api.conftest import counts
from tests.api.test_access import CALLS


@pytest.mark.parametrize("count", [1_000, pytest.param(COUNT, marks=pytest.mark.slow)])
def test_nothing_bad_comes_through(api: Api, count: int) -> None:
    before, wallet = counts(), api.get("/wallets/user_42").body
    seen: Counter[str] = Counter()
    failures = []
    for number, bad in enumerate(corpus(api.token, count=count)):
        answer = call(bad.method, f"/api/v1{bad.path}", bad.body, bad.headers, length=bad.length)
        if not _is_refused(answer):
            failures.append(
                f"{number}: {bad.method} {bad.path[:80]} {bad.headers} {bad.body[:200]!r} -> {answer.status} {answer.body[:300]!r}"
            )
        else:
            seen[answer["code"]] += 1
    assert not failures, f"{len(failures)} of {count}:\n" + "\n".join(failures[:20])
    assert seen.keys() >= {"invalid_request", "malformed_body", "unauthorized", "not_found", "too_large", "unsupported_media_type"}
    assert counts() == before
    assert api.get("/wallets/user_42").body == wallet


@pytest.mark.parametrize("body", [[], 7, "x", [{}]])
def test_a_body_that_is_no_object_is_told_so_without_our_names_for_it(api: Api, body: Any) -> None:
    for (method, path), (_, sent) in CALLS.items():
        if sent is None:
            continue
        answer = api.send(method, path, body=body)
        assert answer.status == 422, (method, path, answer)
        assert [one["message"] for one in answer["errors"]] == ["must be a JSON object"], (method, path, answer)


def _is_refused(answer: Answer) -> bool:
    return 400 <= answer.status < 500 and answer.is_problem and "<html" not in answer.body.decode().lower()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_corpus_can_be_made_again(number: int) -> None:
    first, again = (list(corpus("t", count=50))[number] for _ in range(2))
    assert first == again
