import pytest

from pricing.patterns import is_pattern, matches, weight


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("claude-opus-*", "claude-opus-4-1-20250805"),
        ("claude-opus-*", "claude-opus-"),
        ("*-mini", "gpt-5-mini"),
        ("*haiku*", "anthropic.claude-haiku-4-5"),
        ("gpt-5-mini-####-##-##", "gpt-5-mini-2026-01-31"),
        ("claude-sonnet-4-5", "Claude-Sonnet-4-5"),
        ("grok-4.5[fast=true]", "grok-4.5[fast=true]"),
    ],
)
def test_names_that_a_pattern_stands_for(pattern: str, name: str) -> None:
    assert matches(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("claude-opus-*", "my-claude-opus-4"),
        ("*-mini", "gpt-5-mini-2026"),
        ("gpt-4.1", "gpt-4x1"),
        ("gpt-5-####", "gpt-5-mini"),
        ("gpt-5-####", "gpt-5-٤٤٤٤"),
        ("gpt-?", "gpt-4"),
        ("grok-4.5[fast=true]", "grok-4.5f"),
    ],
)
def test_names_that_it_does_not_stand_for(pattern: str, name: str) -> None:
    assert not matches(pattern, name)


def test_only_stars_and_digits_make_a_pattern() -> None:
    assert is_pattern("a*")
    assert is_pattern("a-####")
    assert not is_pattern("a?[b]")


def test_weight_counts_what_is_fixed() -> None:
    assert weight("claude-opus-5-1*") > weight("claude-opus-5*")
    assert weight("ab-##") == len("ab-##")
