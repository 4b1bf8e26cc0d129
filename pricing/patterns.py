"""Model names and the patterns that stand for many of them: `claude-opus-*`, `*haiku*`, `gpt-5-mini-####-##-##`.

`*` is any text, `#` is one digit (providers date their snapshots); all else is meant literally. Names compare without
regard to case, as providers do.
"""

import re
from functools import lru_cache


def is_pattern(text: str) -> bool:
    """Say whether `text` stands for many names."""
    return "*" in text or "#" in text


def fixes_something(text: str) -> bool:
    """Say whether a name or pattern has a letter or a digit of its own: `*` and `*-*` are nearly every name, `####` none."""
    return any(char.isalnum() for char in text)


def weight(pattern: str) -> int:
    """Return how much of a name `pattern` fixes; of two patterns that match, the heavier one is meant."""
    return len(pattern.replace("*", ""))


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern).replace(r"\*", ".*").replace(r"\#", "[0-9]")
    return re.compile(text, re.IGNORECASE | re.DOTALL)


@lru_cache(maxsize=16384)
def matches(pattern: str, name: str) -> bool:
    """Say whether `name` is one of those that `pattern` stands for."""
    return _compiled(pattern).fullmatch(name) is not None
