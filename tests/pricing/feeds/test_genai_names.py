import pytest
from genai_prices import types as feed

from pricing.feeds.genai_names import aliases, from_regex


@pytest.mark.parametrize(
    ("regex", "patterns"),
    [
        (r"^gpt-5\.4-mini-\d{4}-\d{2}-\d{2}$", ["gpt-5.4-mini-####-##-##"]),
        (r"^claude-opus-5[-@]\d{8}$", ["claude-opus-5-########", "claude-opus-5@########"]),
        (r"^gemini-3\.5-flash-\d", ["gemini-3.5-flash-#*"]),
        (r"^grok-4\.5\[fast=true\]$", ["grok-4.5[fast=true]"]),
        (r"haiku$", ["*haiku"]),
        (r"^(typesafe/)?jev-\d{8}$", None),
        (r"^(?!.*-tts)", None),
        (r"^gpt-[a-z]$", None),
        (r"^gpt-5.4$", None),
        (r"^gpt-\w+$", None),
    ],
)
def test_regular_expressions(regex: str, patterns: list[str] | None) -> None:
    assert from_regex(regex) == patterns


def test_clauses() -> None:
    match = feed.ClauseOr(
        or_=[
            feed.ClauseEquals(equals="m-1"),
            feed.ClauseEquals(equals="M"),
            feed.ClauseStartsWith(starts_with="m-2"),
            feed.ClauseEndsWith(ends_with="-m"),
            feed.ClauseContains(contains="mm"),
            feed.ClauseContains(contains="mm"),
        ]
    )
    assert aliases(match, "m") == (("m-1", "m-2*", "*-m", "*mm*"), ())


def test_what_no_pattern_can_say_is_listed() -> None:
    match = feed.ClauseOr(or_=[feed.ClauseEquals(equals="m-1"), feed.ClauseAnd(and_=[feed.ClauseRegex(regex="^(?!x)")])])
    names, odd = aliases(match, "m")
    assert names == ("m-1",)
    assert [text.partition("(")[0] for text in odd] == ["ClauseAnd"]
