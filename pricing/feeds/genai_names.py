"""How genai-prices says which names mean a model, turned into the literal names and patterns of our catalogue."""

import re
from itertools import product
from typing import Final

from genai_prices import types as feed

# One piece of the regular expressions that can be said as a pattern: digits, an escaped sign, a choice of signs, text.
_PIECE: Final = re.compile(
    r"""
      \\d\{(?P<count>\d+)\}
    | (?P<digit>\\d)
    | \\(?P<sign>[^\w\s])
    | \[(?P<choice>-?[^\]\\^-]+)\]   # a leading - is itself; anywhere else it would be a range
    | (?P<text>[\w/@=:-])
    """,
    re.VERBOSE,
)


def aliases(match: feed.MatchLogic, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the other names of the model called `name`, and the rules that no pattern can express."""
    names, odd = _read(match)
    others = dict.fromkeys(alias for alias in names if alias.lower() != name.lower())
    return tuple(others), tuple(odd)


def _read(match: feed.MatchLogic) -> tuple[list[str], list[str]]:
    if isinstance(match, feed.ClauseOr):
        read = [_read(clause) for clause in match.or_]
        return [name for names, _ in read for name in names], [rule for _, odd in read for rule in odd]
    names: list[str] | None = None
    if isinstance(match, feed.ClauseEquals):
        names = [match.equals]
    elif isinstance(match, feed.ClauseStartsWith):
        names = [f"{match.starts_with}*"]
    elif isinstance(match, feed.ClauseEndsWith):
        names = [f"*{match.ends_with}"]
    elif isinstance(match, feed.ClauseContains):
        names = [f"*{match.contains}*"]
    elif isinstance(match, feed.ClauseRegex):
        names = from_regex(match.regex)
    return (names, []) if names is not None else ([], [str(match)])


def from_regex(regex: str) -> list[str] | None:
    r"""Return `regex` as patterns (`^gpt-5-\d{4}$` is `gpt-5-####`), or None where it says more than they can."""
    body = regex.removeprefix("^").removesuffix("$")
    pieces: list[list[str]] = [] if regex.startswith("^") else [["*"]]
    position = 0
    while position < len(body):
        found = _PIECE.match(body, position)
        if found is None:
            return None
        if found["count"]:
            pieces.append(["#" * int(found["count"])])
        elif found["digit"]:
            pieces.append(["#"])
        elif found["choice"]:
            pieces.append(list(found["choice"]))
        else:
            pieces.append([found["sign"] or found["text"]])
        position = found.end()
    if not regex.endswith("$"):
        pieces.append(["*"])
    return ["".join(choice) for choice in product(*pieces)]
