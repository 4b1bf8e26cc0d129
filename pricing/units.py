"""Units: what a model call consumes, counted so that nothing is counted twice.

Providers report wholes with parts inside them: `input_tokens` includes what was read from and written to the cache and
audio; `output_tokens` includes reasoning and audio. A price or a provider rate applies to one kind of token, so a usage
is first taken apart into quantities that do not overlap and that add up to the wholes.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from config.base.exact import ZERO


class UnitKind(StrEnum):
    """One kind of thing that is consumed; the quantities of one usage do not overlap."""

    INPUT = "input"  # input tokens that are none of the three input kinds below
    CACHE_READ = "cache_read"  # input tokens served from the provider's cache
    CACHE_WRITE = "cache_write"  # input tokens stored in it
    OUTPUT = "output"  # output tokens that are neither reasoning nor audio
    REASONING = "reasoning"
    AUDIO_INPUT = "audio_input"
    AUDIO_OUTPUT = "audio_output"
    IMAGE = "image"
    VIDEO_SECOND = "video_second"
    REQUEST = "request"  # one call to the provider, retries counted


# A kind without a price of its own is charged as this one. Audio, images and video are never guessed from tokens.
FALLBACK: Final[Mapping[UnitKind, UnitKind]] = {
    UnitKind.CACHE_READ: UnitKind.INPUT,
    UnitKind.CACHE_WRITE: UnitKind.INPUT,
    UnitKind.REASONING: UnitKind.OUTPUT,
}


class Usage(NamedTuple):
    """What one event consumed, in the provider's own counting: wholes include their parts."""

    provider: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    images: int = 0
    video_seconds: Decimal = ZERO
    requests: int = 1


_COUNTS = Usage._fields[2:]  # without provider and model


def check(usage: Usage) -> list[tuple[str, str]]:
    """Return what is wrong with `usage` as (field, message); empty when it can be taken apart."""
    problems = [(field, "must not be negative") for field in _COUNTS if getattr(usage, field) < 0]
    if usage.cache_read_tokens + usage.cache_write_tokens + usage.audio_input_tokens > usage.input_tokens:
        problems.append(
            (
                "input_tokens",
                "must include cache_read_tokens, cache_write_tokens and audio_input_tokens, and is less than their sum",
            )
        )
    if usage.reasoning_tokens + usage.audio_output_tokens > usage.output_tokens:
        problems.append(("output_tokens", "must include reasoning_tokens and audio_output_tokens, and is less than their sum"))
    return problems


def normalise(usage: Usage) -> dict[UnitKind, Decimal | int]:
    """Take `usage` apart into disjoint quantities; kinds that were not used are left out.

    Raises ValueError for a usage that `check` finds wrong: a part larger than its whole has no honest split.
    """
    input_parts = usage.cache_read_tokens + usage.cache_write_tokens + usage.audio_input_tokens
    quantities: dict[UnitKind, Decimal | int] = {
        UnitKind.INPUT: usage.input_tokens - input_parts,
        UnitKind.CACHE_READ: usage.cache_read_tokens,
        UnitKind.CACHE_WRITE: usage.cache_write_tokens,
        UnitKind.OUTPUT: usage.output_tokens - usage.reasoning_tokens - usage.audio_output_tokens,
        UnitKind.REASONING: usage.reasoning_tokens,
        UnitKind.AUDIO_INPUT: usage.audio_input_tokens,
        UnitKind.AUDIO_OUTPUT: usage.audio_output_tokens,
        UnitKind.IMAGE: usage.images,
        UnitKind.VIDEO_SECOND: usage.video_seconds,
        UnitKind.REQUEST: usage.requests,
    }
    used = {kind: quantity for kind, quantity in quantities.items() if quantity}
    if used and min(used.values()) < 0:
        raise ValueError("a part of the usage is larger than its whole, or negative; call check() first")
    return used
