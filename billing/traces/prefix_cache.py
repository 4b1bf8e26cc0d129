"""The cache that a session's prompts imply; the rule and its reason are told in `billing.traces`."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

# The provider keeps a prefix for so long after its last use, at the price that the catalogue has for writing one.
LIFETIME_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Prompt:
    """The leading blocks of one request and when it ran, in seconds since the session began."""

    model: str
    starts: float
    ends: float
    blocks: tuple[int, ...]


@dataclass(slots=True)
class Split:
    """Leading blocks read from the cache, and blocks after them written to it."""

    read: int = 0
    written: int = 0


def split(prompts: Sequence[Prompt]) -> list[Split]:
    """Return one split per prompt, in their order; the prompts may be in any."""
    splits = [Split() for _ in prompts]
    earlier: dict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(prompts)), key=lambda i: prompts[i].starts):
        prompt, own = prompts[index], splits[index]
        source = None
        for candidate in earlier[prompt.model]:
            other = prompts[candidate]
            if other.ends <= prompt.starts <= other.ends + LIFETIME_SECONDS:
                shared = _shared(prompt.blocks, other.blocks)
                # Of equal ones the later: it has read the same prefix itself, unless it ran beside the earlier one.
                if shared and shared >= own.read:
                    own.read, source = shared, candidate
        if source is not None:
            splits[source].written = max(splits[source].written, own.read - splits[source].read)
        earlier[prompt.model].append(index)
    return splits


def _shared(blocks: Sequence[int], others: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(blocks, others, strict=False)))
