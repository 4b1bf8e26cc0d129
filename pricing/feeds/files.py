"""A feed by its name or its file: which format it is, what it holds, and its fingerprint."""

import dataclasses
import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from pricing.feeds import genai, litellm
from pricing.feeds.statement import STATED_TWICE, FeedError, Reading, Skipped

MOST_BYTES: Final = 50_000_000


@dataclass(frozen=True, slots=True)
class Feed:
    """A release of a feed, read."""

    reading: Reading
    name: str  # of the file, or of the installed package with its version
    sha256: str


def installed(*, only_providers: Collection[str] = ()) -> Feed:
    """Read the prices inside the installed package genai-prices. Raises FeedError for an unknown provider."""
    reading = genai.read(only_providers=only_providers)
    stated = sorted(f"{c.key!r} {c.figure!r} {c.effective_from} {c.effective_to}" for c in reading.candidates)
    names = sorted(f"{model!r} {aliases!r}" for model, aliases in reading.names.items())
    return Feed(reading, genai.RELEASE, hashlib.sha256("\n".join(stated + names).encode()).hexdigest())


def from_file(path: Path, *, only_providers: Collection[str] = (), source: str = "") -> Feed:
    """Read a file of genai-prices (`data.json`) or in LiteLLM's format. `source` names it otherwise.

    Raises FeedError, also for a file that cannot be opened.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise FeedError(f"{path.name} has more than {MOST_BYTES:,} bytes: this is no price list.")
        content = path.read_bytes()
    except OSError as error:
        raise FeedError(f"{path} cannot be read: {error.strerror}.") from error
    raw, twice = _parsed(path.name, content)
    if isinstance(raw, list) and twice:
        raise FeedError(f"{path.name} states {_few(twice)} twice in one place, differently: nothing was compared.")
    try:
        reading = _reading(path.name, raw, only_providers)
    except FeedError:
        raise
    except (ArithmeticError, TypeError, ValueError) as error:
        raise FeedError(f"{path.name} holds something that is no price ({error!r:.200}): nothing was compared.") from error
    if not reading.candidates:
        raise FeedError(f"{path.name} states no price that the catalogue could express: nothing was compared.")
    if source:
        reading = dataclasses.replace(reading, source=source)
    return Feed(_with_names_that_fit(reading), path.name, hashlib.sha256(content).hexdigest())


def _reading(name: str, raw: Any, only_providers: Collection[str]) -> Reading:
    if isinstance(raw, list):
        return genai.read_json(raw, release=f"{genai.SOURCE}, {name}", only_providers=only_providers)
    if litellm.is_format(raw):
        return litellm.read(raw, release=name, only_providers=only_providers)
    raise FeedError(f"{name} is neither a data.json of genai-prices nor a price list in LiteLLM's format.")


def _with_names_that_fit(reading: Reading) -> Reading:
    """Leave out models whose names cannot be kept or shown."""
    odd = {
        model
        for model, aliases in reading.names.items()
        if not (_fits(model.provider, 64) and all(_fits(n, 200) for n in (model.name, *aliases)))
    }
    left_out = [
        Skipped(ascii(model.provider)[:60], ascii(model.name)[:60], "every price", "a name too long or unprintable") for model in odd
    ]
    return dataclasses.replace(
        reading,
        names={model: aliases for model, aliases in reading.names.items() if model not in odd},
        candidates=[c for c in reading.candidates if c.key.owner not in odd],
        skipped=[*reading.skipped, *left_out],
    )


def _fits(name: str, most: int) -> bool:
    return 0 < len(name) <= most and name.isprintable()


def _parsed(name: str, content: bytes) -> tuple[Any, list[str]]:
    """Return the JSON, and the keys that one of its objects states twice, differently; their value is `STATED_TWICE`."""
    twice: list[str] = []

    def put_together(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Do what JSON does by default, but let no later value of a key replace an earlier one unseen."""
        found: dict[str, Any] = {}
        for key, value in pairs:
            if found.setdefault(key, value) != value:
                found[key] = STATED_TWICE
                twice.append(key)
        return found

    try:
        return json.loads(content, parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=put_together), twice
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise FeedError(f"{name} is not JSON: {error}.") from error


def _few(names: list[str]) -> str:
    some = list(dict.fromkeys(ascii(name)[:60] for name in names))
    return ", ".join(some[:5]) + (f" and {len(some) - 5:,} more" if len(some) > 5 else "")


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not a number")
